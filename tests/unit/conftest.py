"""The unit tests run hypothesis as the property tests do."""

import tests.property.conftest  # noqa: F401
