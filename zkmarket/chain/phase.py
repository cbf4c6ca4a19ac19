"""The phases of a project, as the contract numbers them."""

from __future__ import annotations

from enum import IntEnum

NOBODY = "0x" + "00" * 20


class Phase(IntEnum):
    """States of a project; ADMIT is SUBMIT after its deadline with enough seats taken, or with all of them taken.

    Only a project that pays by the model's loss comes to SCORE.
    """

    CREATED = 0
    OPEN = 1
    SUBMIT = 2
    ADMIT = 3
    PROVE = 4
    SCORE = 5
    SETTLED = 6
    VACANT = 7
    ENDED = 8

    @property
    def in_round(self) -> bool:
        """Whether a round is under way, or settled and not closed."""
        return Phase.SUBMIT <= self <= Phase.SETTLED
