"""PROJECT.toml: what an owner posts, and what it will cost."""

from .complaints import FILE_LIMIT, lines_of
from .estimate import estimate_cost
from .estimate_text import estimate_words
from .gas import (
    ADMIT_GAS,
    CREATE_MODEL_GAS,
    CREATE_PLAN_GAS,
    CREATE_RATES_GAS,
    GAS,
    LOCK_SEAT_GAS,
    POINT_AGAIN_GAS,
    RECEIPT_GAS,
    ROOT_GAS,
    SECOND_GAS,
    SLOT_AGAIN_GAS,
    RoundShape,
    admit_gas,
    create_gas,
    fits_one,
    lock_gas,
    settle_gas,
)
from .project_file import DEVELOPMENT_WINDOWS, EXAMPLE, ProjectFile, development_penalty, example
from .values import load_project_file

__all__ = [
    "ADMIT_GAS",
    "CREATE_MODEL_GAS",
    "CREATE_PLAN_GAS",
    "CREATE_RATES_GAS",
    "DEVELOPMENT_WINDOWS",
    "EXAMPLE",
    "FILE_LIMIT",
    "GAS",
    "LOCK_SEAT_GAS",
    "POINT_AGAIN_GAS",
    "ProjectFile",
    "RECEIPT_GAS",
    "ROOT_GAS",
    "RoundShape",
    "SECOND_GAS",
    "SLOT_AGAIN_GAS",
    "admit_gas",
    "create_gas",
    "development_penalty",
    "estimate_cost",
    "estimate_words",
    "example",
    "fits_one",
    "lines_of",
    "load_project_file",
    "lock_gas",
    "settle_gas",
]
