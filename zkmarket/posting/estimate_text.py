"""An estimate in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ..units import amount_text, duration_text

# ---------------------------------------------------------------- text


def rounded(wei: int) -> str:
    """About: four digits are enough of what is estimated."""
    return f"{wei / 10**18:.4g} ether"


def estimate_words(estimate: Mapping[str, Any]) -> str:
    """`plan` for people."""
    least, most = estimate["trainers"]["least"], estimate["trainers"]["most"]
    values, seconds, gas, cost = estimate["values"], estimate["seconds"], estimate["gas"], estimate["cost"]
    money, deadlines = estimate["money"], estimate["deadlines"]
    native = int(money["token"], 16) == 0

    def coin(name: str) -> str:
        return wei(name) if native else f"{int(money[name]):,} units of {money['token']}"

    def lasts(name: str) -> str:
        return duration_text(deadlines[name])

    def wei(name: str) -> str:
        return amount_text(int(money[name]))

    def span(of: Mapping[str, int | float]) -> str:
        return " to ".join(dict.fromkeys(f"{of[name]:,}" for name in ("least", "most")))

    def paragraph(text: str) -> str:
        return textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)

    steps = {name: used for name, used in gas.items() if name not in ("market", "verifiers")}
    work = {role: {n: seconds[n][role] for n in ("least", "most")} for role in ("aggregator", "verifier")}
    filters = list(dict.fromkeys(estimate["filters"].values()))
    in_two = [f"{estimate['trainers'][name]}" for name, count in estimate["transactions"].items() if count == 2]
    lines = [
        f"{estimate['project']}: {estimate['params']:,} parameters, {least} to {most} trainers,"
        f" {estimate['rounds']} rounds",
        f"  {', '.join(filters)}; score {estimate['score']}",
        f"  K = {estimate['logrows']}: {estimate['chunks']} chunk{'s' * (estimate['chunks'] > 1)}"
        f" of {estimate['chunk']:,} values in {estimate['rows'] - 1} rows;"
        f" {values['value_bits']} bits a value in steps of 2^-{values['scale_bits']}, within ±{values['largest']:.6g}",
        f"  ρ = {values['theta_bits']}: the model is kept in steps of 2^-{values['scale_bits'] + values['theta_bits']};"
        f" rounding changes a learning rate by at most {values['rate_error']:.2%}",
        "",
        f"Keys to build, about {seconds['keys']:g} s where none is cached",
        *(f"  {key['name']:<20} 2^{key['logrows']} rows" for key in estimate["keys"]),
        "",
        "Seconds, about, on two cores, without training",
        f"  trainer      {seconds['trainer']:g} a round",
        *(f"  {role:<12} {span(needed)} a round" for role, needed in work.items()),
        "",
        "Gas, about",
        *(f"  deploy {name:<28} {used:>12,}  (once a chain)" for name, used in gas["market"].items()),
        *(f"  deploy verifier {name:<19} {used:>12,}" for name, used in gas["verifiers"].items()),
        *(f"  {name:<35} {span(u) if isinstance(u, Mapping) else f'{u:,}':>12}" for name, u in steps.items()),
        *(f"  a round of {n} trainers is settled in two transactions" for n in dict.fromkeys(in_two)),
        "",
        "Gas by who pays it" + (f", at {amount_text(int(cost['gas_price_wei']))} a unit" if cost["wei"] else ""),
    ]
    for name, used in cost["gas"].items():
        price = f"  {rounded(int(cost['wei'][name]))}" if cost["wei"] else ""
        lines.append(f"  {name:<35} {used:>12,}{price}")
    lines += [
        "",
        "Money",
        f"  the owner pays in   {coin('pool')}: {estimate['rounds']} × ({coin('reward')} + {coin('fee')})",
        f"  aggregator's bond   {wei('bond_wei')} (at least {wei('least_bond_wei')})",
        f"  a trainer's stake   {wei('stake_wei')}, penalty {wei('penalty_wei')}",
        *map(paragraph, estimate["worst"]),
        "",
        "Time, if every time-out is called at once",
        paragraph(
            f"a round takes from {lasts('round_at_least')} to {lasts('round_at_most')}, and up to"
            f" {lasts('round_claimed_at_most')} if its aggregate is said not to be served"
        ),
        f"  the project takes from {lasts('project_at_least')} to {lasts('project_at_most')}, failures included",
        f"  a stake is bound for {lasts('stake_bound_at_most')} after a round's start at most",
        *(f"  {row['until']}  {row['what']}, at the latest" for row in deadlines["dates"]),
    ]
    if estimate["warnings"]:
        lines += ["", "Note", *map(paragraph, estimate["warnings"])]
    return "\n".join(lines)
