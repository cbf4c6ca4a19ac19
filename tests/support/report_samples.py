"""Results of a demo, as `zkmarket demo` hands them to the report: a usual one, and what may be odd about one."""

from __future__ import annotations

import hashlib
from typing import Any

from zkmarket.storage import cid_of

REWARD = 10**18
ATTACKERS = (6, 7)
ACCURACY = ((0.741, 0.522, 0.802), (0.881, 0.467, 0.909), (0.918, 0.391, 0.942))


def digest(name: str, length: int = 32) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[: 2 * length]


def address(name: str) -> str:
    return f"0x{digest(name, 20)}"


def cid(name: str) -> str:
    return cid_of(name.encode())


def sample(trainers: int = 8, rounds: int = 3, attackers: tuple[int, ...] = ATTACKERS) -> dict[str, Any]:
    """Sign-flipping attackers: rejected, but for the second's last round, where its opening never came."""
    people = [_trainer(i, i not in attackers, trainers, rounds) for i in range(trainers)]
    for round_index in range(rounds):
        _pay([person["rounds"][round_index] for person in people])
    for person in people:
        person["paid_wei"] = person["pay_withdrawn_wei"] = sum(row["pay_wei"] for row in person["rounds"])
        refused = any(not row["admitted"] for row in person["rounds"])
        person |= {"stake_wei": REWARD, "stake_burnt_wei": refused * REWARD // 8}
        person["stake_back_wei"] = person["stake_wei"] - person["stake_burnt_wei"]
    paid = sum(person["paid_wei"] for person in people)
    return {
        "data": "digits (1,797 scans of 8 × 8 pixels)",
        "params": 2410,
        "filter": "multi-krum(f=2, m=4)",
        "score": "shapley",
        "attack": "sign-flip",
        "seed": 7,
        "date": "2026-11-30 20:26:00 UTC",
        "chain_id": 31337,
        "insecure": True,
        "accuracy_at_start": 0.098,
        "reward_wei": REWARD,
        "fee_wei": REWARD // 10,
        "trainers": people,
        "rounds": [_round(i, people) for i in range(rounds)],
        "money": {
            "paid_in_wei": 3 * REWARD * 11 // 10,
            "paid_to_trainers_wei": paid,
            "aggregator_wei": 3 * REWARD // 10,
            "owner_back_wei": 0,
            "burnt_wei": 0,
            "left_in_contract_wei": 3 * REWARD - paid,
        },
        "gas": {
            "deploy": 7_843_507, "verifiers": 19_182_000, "create": 812_345, "join": 143_210, "start": 98_765,
            "submit": 231_004, "admit": 71_239, "lock": 61_002, "settle": 1_662_961, "withdraw": 45_863,
        },
        "seconds": {
            "build": 61.22, "train": 3.41, "commit": 24.8, "seal": 0.31, "prove": 41.07, "settle": 2.2, "audit": 9.94,
            "total": 142.86,
        },
        "addresses": {
            "factory": address("factory"),
            "project": address("project"),
            "owner": address("owner"),
            "aggregator": address("aggregator"),
            "verifiers": {name: address(name) for name in ("base", *(f"settlement-{n}" for n in (6, 7, 8)))},
        },
        "cids": {"prospectus": cid("prospectus")},
        "undefeated": [
            "A trainer may resend the last aggregate as its own update: it is accepted and paid like an honest one.",
            "Clones of one update, more than f of them, support each other and are accepted.",
        ],
        "versions": {"zkmarket": "0.1.0", "ezkl": "23.0.5", "anvil": "1.4.4"},
    }  # fmt: skip


def hostile(text: str) -> dict[str, Any]:
    """The usual result with this text in every place where text can be."""

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return text
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        return [replaced(item) for item in value] if isinstance(value, list) else value

    result = replaced(sample())
    for part in ("gas", "seconds", "cids", "versions"):
        result[part][text] = next(iter(result[part].values()))
    result["addresses"]["verifiers"][text] = text
    return result


def _trainer(index: int, honest: bool, trainers: int, rounds: int) -> dict[str, Any]:
    rows = []
    for i in range(rounds):
        admitted = honest or not (index == trainers - 1 and i == rounds - 1)
        rows.append(
            {
                "round": i + 1,
                "submitted": True,
                "admitted": admitted,
                "accepted": honest,
                "score": (1 + (index * 7 + i * 3) % 5) * 10**13 + index if honest else 0,
                "pay_wei": 0,
                "reason": None if admitted else "the sealed update does not open with the round's key",
            }
        )
    return {"name": f"trainer-{index}", "address": address(f"trainer-{index}"), "honest": honest, "rounds": rows}


def _pay(rows: list[dict[str, Any]]) -> None:
    total = sum(row["score"] for row in rows)
    for row in rows:
        row["pay_wei"] = REWARD * row["score"] // total if total else 0


def _round(index: int, people: list[dict[str, Any]]) -> dict[str, Any]:
    accuracy, unfiltered, centralised = ACCURACY[min(index, len(ACCURACY) - 1)]
    return {
        "round": index + 1,
        "beta": 10**9 >> index,
        "nu": 243_412_009 >> index,
        "accepted": sum(person["rounds"][index]["accepted"] for person in people),
        "withheld": False,
        "accuracy": accuracy,
        "accuracy_unfiltered": unfiltered,
        "accuracy_centralised": centralised,
        "theta": digest(f"theta-{index}"),
        "cid": cid(f"aggregate-{index}"),
        "transaction": f"0x{digest(f'settle-{index}')}",
        "audited": True,
    }


def earning(rounds: int = 3) -> dict[str, Any]:
    """Free riders that were accepted and paid; the second round is withheld, the last one not audited."""
    result = sample(rounds=rounds)
    for person in result["trainers"]:
        for row in person["rounds"]:
            if not person["honest"]:
                row |= {"submitted": True, "admitted": True, "accepted": True, "score": 10**13, "reason": None}
    for i in range(rounds):
        _pay([person["rounds"][i] for person in result["trainers"]])
    for person in result["trainers"]:
        person["paid_wei"] = sum(row["pay_wei"] for row in person["rounds"])
        person["pay_withdrawn_wei"] = person["paid_wei"] if person["name"] != "trainer-5" else 0
    result["attack"] = "free-ride"
    result["rounds"][1] |= {
        "withheld": True, "accepted": 2, "cid": None, "nu": None, "accuracy": result["rounds"][0]["accuracy"],
    }  # fmt: skip
    result["rounds"][-1]["audited"] = False
    return result
