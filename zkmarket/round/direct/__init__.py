"""A round without folding: the whole update inside a circuit, for small models."""

from .keys import Direct, aggregation_keys, round_keys
from .prove import noise_of_table, prove_aggregation, prove_direct_round
from .rules import MAX_WEIGHT, OUTPUTS, Rule, check_weights, combine_updates, decide
from .statements import (
    aggregation_statement,
    noise,
    pad_of,
    product_end,
    round_domain,
    round_lookup_rows,
    round_statement,
    value_domain,
)
from .verify import check_result, verify_aggregation, verify_direct_round

__all__ = [
    "Direct",
    "MAX_WEIGHT",
    "OUTPUTS",
    "Rule",
    "aggregation_keys",
    "aggregation_statement",
    "check_result",
    "check_weights",
    "combine_updates",
    "decide",
    "noise",
    "noise_of_table",
    "pad_of",
    "product_end",
    "prove_aggregation",
    "prove_direct_round",
    "round_domain",
    "round_keys",
    "round_lookup_rows",
    "round_statement",
    "value_domain",
    "verify_aggregation",
    "verify_direct_round",
]
