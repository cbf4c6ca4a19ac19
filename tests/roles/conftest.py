"""A desk, and its past, for every test of a role."""

from tests.support.desks import at, committing, full, past
from tests.support.past import commits

__all__ = ["at", "commits", "committing", "full", "past"]
