"""How hypothesis runs here: no deadline and no check of its own speed, since a slow machine is not a false law."""

from hypothesis import HealthCheck, settings

# data_too_large: a few numbers of 254 bits are already much to hypothesis
settings.register_profile(
    "zkmarket",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("zkmarket")
