"""The phases of a project, as the contract numbers them."""

from __future__ import annotations

from enum import IntEnum

NOBODY = "0x" + "00" * 20


class Phase(IntEnum):
    """States of a project; ADMIT is SUBMIT after its deadline with enough seats taken, or with all of them taken."""

    CREATED = 0
    OPEN = 1
    SUBMIT = 2
    ADMIT = 3
    PROVE = 4
    SETTLED = 5
    VACANT = 6
    ENDED = 7
