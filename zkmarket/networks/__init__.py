"""A model as layers, and as integer arithmetic that a circuit can check."""

from .evaluation import evaluate
from .layers import Network
from .layout import check_plan, make_plan, rows_of, sizes_of
from .plan import LOSSES, Sizes, Tensor, exponentials, root
from .planner import Planner
from .reader import network_of, network_of_module, read_network
from .refusals import SUPPORTED

__all__ = [
    "LOSSES",
    "Network",
    "Planner",
    "SUPPORTED",
    "Sizes",
    "Tensor",
    "check_plan",
    "evaluate",
    "exponentials",
    "make_plan",
    "network_of",
    "network_of_module",
    "read_network",
    "root",
    "rows_of",
    "sizes_of",
]
