"""The programs of a market: owner, trainer, aggregator, auditor."""

from .admission import Admission, Awaited
from .auditor import Auditor
from .delivery import Delivery
from .deployment import DEPLOYED_FILE, PROSPECTUS_FILE, create, pay_in
from .desk import UNAVAILABLE, Desk, at_desk, withdraw
from .settings import Settings
from .update import HAND_OVER_AGAIN, learner, seal_for_round

__all__ = [
    "Admission",
    "Auditor",
    "Awaited",
    "DEPLOYED_FILE",
    "Delivery",
    "Desk",
    "HAND_OVER_AGAIN",
    "PROSPECTUS_FILE",
    "Settings",
    "UNAVAILABLE",
    "at_desk",
    "create",
    "learner",
    "pay_in",
    "seal_for_round",
    "withdraw",
]
