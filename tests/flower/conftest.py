"""A desk with a past; modules that tests write are forgotten."""

from tests.learning.conftest import _modules_are_forgotten
from tests.support.desks import past

__all__ = ["_modules_are_forgotten", "past"]
