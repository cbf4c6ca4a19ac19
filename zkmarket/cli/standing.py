"""Where a role stands, in sentences: amounts in ether, deadlines as dates. With --json programs read the raw values."""

from __future__ import annotations

from typing import Any

from ..units import reward_text

Status = dict[str, Any]


def project_lines(result: Status) -> list[str]:
    """Of every role's status: phase and deadline."""
    from ..chain import PHASES, Phase  # Brownie takes a second to import
    from ..market import until_text

    if result["phase"] == "ENDED":
        return [f"project {result['project']} has ended after round {result['round']}"]
    at = f"round {result['round']}, " if Phase[result["phase"]].in_round else ""
    return [
        f"project {result['project']}: {at}phase {result['phase']}: {PHASES[result['phase']]},"
        f" {until_text(result['deadline'], result['now'])}"
    ]


def owed_line(result: Status, role: str) -> str:
    """What can be taken out."""
    native = result["token"] is None
    owed = [reward_text(result["credit"], native)] * bool(result["credit"] and not native)
    coin = result["refund_wei"] + (result["credit"] if native else 0)
    owed += [reward_text(coin)] * bool(coin)
    how = f"`zkmarket {role} withdraw` takes it out"
    return f"owed to this account: {' and '.join(owed)}; {how}" if owed else "nothing is owed to this account now"


def trainer_text(result: Status) -> str:
    native = result["token"] is None
    stake = f"has a stake of {reward_text(result['stake_wei'])}" if result["stake_wei"] else "is no trainer now"
    lines = [*project_lines(result), f"account {result['trainer']} {stake}", owed_line(result, "trainer")]
    for row in result["rounds"]:
        how = "accepted" if row["accepted"] else "rejected by the filter"
        lines.append(f"round {row['round']}: {how}, score {row['score']}, paid {reward_text(row['pay'], native)}")
    for number in result["refused"]:
        lines.append(f"round {number}: the aggregator gave no receipt for the update, which cost a penalty")
    for number, reason in result["zero_updates"].items():
        lines.append(f"round {number}: a zero update was committed to: {reason}")
    return "\n".join(lines)


def aggregator_text(result: Status) -> str:
    office = "holds the office" if result["in_office"] else "does not hold the office now"
    lines = [
        *project_lines(result),
        f"aggregator {result['aggregator']} {office}; the bond there is {reward_text(result['bond_wei'])}",
        f"{counted(result['settled'], 'round')} settled",
        owed_line(result, "aggregator"),
    ]
    for number, refusals in result["refusals"].items():
        lines += [f"round {int(number)}: refused {trainer}: {why}" for trainer, why in refusals.items()]
    for number, reason in result["without_root"].items():
        lines.append(f"round {int(number)}: without a root update: {reason}")
    return "\n".join(lines)


def owner_text(result: Status) -> str:
    from ..chain import NOBODY

    if result["phase"] == "not paid in":
        made = [f"{name} {value}" for name, value in result.items() if isinstance(value, str) and name != "phase"]
        made += [f"{len(result['verifiers'])} verifiers"] if "verifiers" in result else []
        return f"the project is not paid in: nobody can join it yet; made so far: {', '.join(made) or 'nothing'}"
    trainers = result["trainers"]
    lines = [
        *project_lines(result),
        f"{counted(result['settled'], 'round')} settled, {result['voids']} came to nothing",
        f"{counted(len(trainers), 'trainer')}: {', '.join(trainers)}" if trainers else "no trainer has joined",
        "it has no aggregator now" if result["aggregator"] == NOBODY else f"aggregator {result['aggregator']}",
        f"in escrow for rounds to come: {reward_text(result['pool'], result['token'] is None)}",
        owed_line(result, "owner"),
    ]
    if result["claimed"]:
        lines.append("the last aggregate counts as not served: fee and bond are held longer")
    if result["ending"]:
        lines.append("its end is announced: no further round opens")
    if result["members_keyring"]:
        lines.append(f"keyring for its members: {result['members_keyring']}")
    return "\n".join(lines)


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
