"""What is known of chains by their ids."""

from __future__ import annotations

from collections.abc import Mapping

from ..units import DAY, duration_text

DEVELOPMENT_CHAINS = (31337, 1337)
"""Chain ids that no public chain has. Time can be moved there, and insecure SRS files are accepted."""

LAYER_ONES = {
    1: "Ethereum",
    11155111: "Sepolia",
    17000: "Holesky",
    560048: "Hoodi",
    61: "Ethereum Classic",
    100: "Gnosis",
    10200: "Chiado",
    56: "BNB Smart Chain",
    97: "BNB Smart Chain's testnet",
    43114: "Avalanche C-Chain",
    43113: "Fuji",
}
"""Chains whose blocks are made by many validators of their own. Every other chain counts as one that is not."""


def outage_warning(chain: int | None, windows: Mapping[str, int]) -> str | None:
    """What windows shorter than a day mean where one sequencer makes the blocks; None if there is nothing to say.

    Args:
        chain: its id; None: it is not known yet.
        windows: seconds by name.
    """
    if chain in DEVELOPMENT_CHAINS or chain in LAYER_ONES:
        return None
    short = [f"{name} ({duration_text(seconds)})" for name, seconds in windows.items() if seconds < DAY]
    if not short:
        return None
    where = f"chain {chain} is not known to be a layer 1" if chain is not None else "if the chain is not a layer 1"
    return (
        f"{where}: a sequencer that stops can eat a window shorter than 24h whole, and whoever cannot send in it pays"
        f" the penalty or the bond: {', '.join(short)}"
    )
