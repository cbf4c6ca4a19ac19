"""Utility games: which coalitions a score needs, and the score from their proven losses.

The players are the accepted updates A. A coalition S is worth what it takes off the loss of the model on the
owner's validation batch:

    v(S) = loss(∅) − loss(S),        loss in whole units, at most 2^56, v(∅) = 0.

Its model is Θ + w·Σ_{i in S} u_i with *one divisor for every coalition*: w has all who are accepted in it, not |S|.
Then A's model is the next round's, an update of zeros changes no loss and has value 0, and leave-one-out values add up
to about v(A). With the mean of the coalition, leave-one-out is to first order proportional to u_i − ū: its values add
up to about nothing, and who is paid is who differs from the others (benchmarks/bench_divisor.py has both).

A method decides which coalitions are *due* and what each player's value is. All is integers: a value is
raw / denominator with one denominator for all players, and score_i = max(0, raw_i), so that the shares of a
reward do not depend on the denominator. As losses are cut off at 2^56, scores of loo and shapley are below 2^63.

| method                     | value of i                                                        | denominator |
|----------------------------|-------------------------------------------------------------------|-------------|
| utility:loo                | v(A) − v(A∖i)                                                      | 1           |
| utility:shapley            | Σ_S |S|!(n−1−|S|)!/n! · (v(S∪i) − v(S)), all 2^n coalitions, n ≤ 5  | n!          |
| utility:permutations:R     | mean over R orders of v(those before i, and i) − v(those before i) | R           |
| utility:gtg:R,eps=E        | the same, truncated                                               | R           |

Shapley 1953; sampled orders: Castro, Gómez and Tejada 2009. The orders are *guided* as in GTG-Shapley (Liu, Chen,
Yu, Liu and Cui 2022, ACM TIST 13(4)): in each block of n orders every player leads once. Here the leaders of a
block are themselves in random order, so that every single order is uniform and the estimator has no bias
whatever R is. On each order the marginals sum to v(A).

GTG truncates twice. Between rounds: if |v(A)| < E the round changed nothing, and all values are 0 after two
proofs. Within an order: once |v(A) − v(prefix)| < E the players who are left get 0. Both are strict, so that E = 0
truncates nothing and is `permutations`. The paper stops at convergence; here R is fixed, because a prover
that may stop when it likes chooses the score. E counts loss units, and truncation follows from *proven* losses: a
verifier replays it, and a coalition that was not due is as wrong as a missing one.

Whoever chooses the orders chooses who is paid. They come from a seed that is fixed by the frozen set of
commitments and a beacon that nobody knew before the freeze (`utility_round.seed_of`): never from the mask, the salts or
anything else that the prover of the round can try again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import factorial

from ..crypto import digest_int, hash_words
from ..errors import RuleError
from ..rules import LARGEST_LOSS, due_losses, loss_values

PREFIX = "utility:"
MAX_EXACT = 5
"""Most trainers of a project that scores by the exact Shapley value: 32 coalitions."""

MAX_ORDERS = 1000
MAX_EPSILON = 1 << 64

Members = tuple[int, ...]
"""Players, in ascending order."""


@dataclass(frozen=True)
class Method:
    """How coalitions are chosen and combined: kind, number R of sampled orders, and ε in loss units."""

    kind: str
    orders: int = 0
    epsilon: int = 0

    @classmethod
    def parse(cls, text: str) -> Method:
        """Read `utility:…`; RuleError unless it is one of the four, in its one spelling."""
        number = r"(0|[1-9][0-9]{0,19})"
        patterns = {
            "loo": r"loo",
            "shapley": r"shapley",
            "permutations": rf"permutations:{number}",
            "gtg": rf"gtg:{number},eps={number}",
        }
        for kind, pattern in patterns.items():
            match = re.fullmatch(PREFIX + pattern, text, re.ASCII)
            if match:
                method = cls(kind, *map(int, match.groups()))
                if kind in ("permutations", "gtg") and not 1 <= method.orders <= MAX_ORDERS:
                    raise RuleError(f"a game samples from 1 to {MAX_ORDERS} orders: got {text!r}")
                if method.epsilon > MAX_EPSILON:
                    raise RuleError(f"eps is a number of loss units, at most 2^64: got {text!r}")
                return method
        raise RuleError(
            f"unknown utility score: got {text!r}, wanted utility:loo, utility:shapley, utility:permutations:R"
            " or utility:gtg:R,eps=E"
        )

    def __str__(self) -> str:
        rest = {"permutations": f":{self.orders}", "gtg": f":{self.orders},eps={self.epsilon}"}
        return PREFIX + self.kind + rest.get(self.kind, "")

    @property
    def exact(self) -> bool:
        """Whether no orders are drawn."""
        return self.kind in ("loo", "shapley")

    def check(self, trainers: int) -> None:
        """Refuse a method that rounds of so many trainers cannot use. All of them may be accepted."""
        if self.kind == "shapley" and trainers > MAX_EXACT:
            raise RuleError(
                f"the exact Shapley value of {trainers} trainers needs 2^{trainers} proofs: wanted at most"
                f" {MAX_EXACT} trainers; use utility:permutations:R or utility:gtg:R,eps=E"
            )


@dataclass(frozen=True)
class Game:
    """What is known of a game.

    Attributes:
        due: the coalitions that the method has asked for, by size and then by players.
        missing: those of them whose loss is not known. Once they are known more may be due.
        raw: each player's value times `denominator`; empty while anything is missing.
    """

    due: tuple[Members, ...]
    missing: tuple[Members, ...]
    raw: Mapping[int, int]
    denominator: int

    def value(self, player: int) -> Fraction:
        """The player's value, in loss units."""
        return Fraction(self.raw[player], self.denominator)

    def score(self, player: int) -> int:
        """max(0, value) · denominator; 0 for who was not accepted."""
        return max(0, self.raw.get(player, 0))


def play(method: Method, players: Sequence[int], seed: bytes, losses: Mapping[Members, int]) -> Game:
    """Play as far as the known losses go.

    A pure function: prover and verifier call it with the same arguments, the one to learn what to prove next, the
    other to see that what was proven is what was due.

    Args:
        players: the accepted, in the order that the sampled orders permute; no player twice.
        seed: 32 bytes that the sampled orders are drawn from.
        losses: of coalitions, in loss units.
    """
    if len(set(players)) != len(players):
        raise RuleError(f"a game has every player once: got {list(players)}")
    table = _Losses(losses)
    if not players:
        raw, denominator = {}, 1
    elif method.exact:
        method.check(len(players))
        raw = _exact(method.kind, players, table)
        denominator = factorial(len(players)) if method.kind == "shapley" else 1
    else:
        orders = [order_of(players, seed, index) for index in range(method.orders)]
        raw, denominator = _sampled(orders, method.epsilon, table), method.orders
    due = tuple(sorted(table.due, key=lambda s: (len(s), s)))
    missing = tuple(s for s in due if s not in losses)
    return Game(due, missing, {} if missing else raw, denominator)


@dataclass
class _Losses:
    """The known losses, and a record of which were asked for."""

    known: Mapping[Members, int]
    due: set[Members] = field(default_factory=set)

    def loss(self, coalition: Sequence[int]) -> int | None:
        key = tuple(sorted(coalition))
        self.due.add(key)
        loss = self.known.get(key)
        return None if loss is None else min(loss, LARGEST_LOSS)

    def marginal(self, before: Sequence[int], after: Sequence[int]) -> int:
        """v(after) − v(before); 0 while one is not known. Both are asked for."""
        left, right = self.loss(before), self.loss(after)
        return 0 if left is None or right is None else left - right


def _exact(kind: str, players: Sequence[int], table: _Losses) -> dict[int, int]:
    """The rule that a contract pays by; nothing while a loss is not known. All that are due are asked for."""
    everybody = [1] * len(players)
    known = {
        coalition: table.loss([player for place, player in enumerate(players) if coalition >> place & 1])
        for coalition in due_losses(kind, everybody)
    }
    losses = {coalition: loss for coalition, loss in known.items() if loss is not None}
    return dict(zip(players, loss_values(kind, everybody, losses), strict=True)) if len(losses) == len(known) else {}


def _sampled(orders: Sequence[Sequence[int]], epsilon: int, table: _Losses) -> dict[int, int]:
    """Sum of the marginals over the orders.

    With ε > 0 a prefix is asked for only when its predecessor is known not to end the order; the orders do not wait for
    each other, so that a step of all of them can be proven at once. A round that changed nothing ends them at ∅.
    """
    raw = dict.fromkeys(orders[0], 0)
    none, full = table.loss(()), table.loss(orders[0])
    if epsilon and (none is None or full is None):
        return raw
    for order in orders:
        for size, player in enumerate(order):
            known = table.loss(order[:size])
            if epsilon and (known is None or full is None or abs(known - full) < epsilon):
                break
            raw[player] += table.marginal(order[:size], order[: size + 1])
    return raw


# ---------------------------------------------------------------- orders


def order_of(players: Sequence[int], seed: bytes, index: int) -> list[int]:
    """Order number `index`: its leader is the next of its block's leaders, the others are shuffled behind it."""
    block, at = divmod(index, len(players))
    leader = shuffled(players, seed, "leaders", block)[at]
    return [leader, *shuffled([p for p in players if p != leader], seed, "order", index)]


def shuffled(items: Sequence[int], seed: bytes, label: str, index: int) -> list[int]:
    """Fisher–Yates on keccak(seed ‖ label ‖ index ‖ counter); a word that would bias a draw is rejected."""
    out, counter = list(items), 0
    for last in range(len(out) - 1, 0, -1):
        limit = (1 << 256) // (last + 1) * (last + 1)
        draw = limit
        while draw >= limit:
            draw = digest_int(hash_words(seed, label, index, counter))
            counter += 1
        at = draw % (last + 1)
        out[last], out[at] = out[at], out[last]
    return out


# ---------------------------------------------------------------- salts


def proofs_needed(method: Method, trainers: int) -> int:
    """Most proofs of one round: each spends a salt of the validation batch. All trainers accepted is the worst case."""
    method.check(trainers)
    if method.kind == "loo":
        return trainers + 1
    every = 1 << trainers
    return every if method.kind == "shapley" else min(every, 2 + method.orders * (trainers - 1))


def salts_needed(method: Method, trainers: int) -> int:
    """Salts of a chunk that the utility proofs of one round can spend: one for each coalition that a trainer is in.

    That later models have the same salts in them spends no more, as long as whoever takes part holds the aggregates
    that moved them: tests/utility/test_salts.py counts what is disclosed by its rank. So a round whose aggregate nobody
    has must move no model. The commitment's own salt is one of the other eight.

    The worst case over seeds and over how many of the trainers are accepted. It is not enough for a round that is
    proven again: that spends them again.
    """
    method.check(trainers)
    return max(_most_with_player(method, n) for n in range(1, trainers + 1))


def batch_proofs_needed(method: Method, trainers: int, rounds: int, voids: int) -> int:
    """Salts of the validation batch for a project's life: every round, and every one that has to be made again, proven
    twice."""
    return 2 * (rounds + voids) * proofs_needed(method, trainers)


def _most_with_player(method: Method, n: int) -> int:
    """Most coalitions with one player in them: A, and of each order the shorter prefixes from the player's place on.

    A player leads ⌈R/n⌉ orders at most, and is second at best in the others.
    """
    if method.kind == "loo":
        return n
    every = 1 << (n - 1)
    if method.kind == "shapley":
        return every
    led = -(-method.orders // n)
    return min(every, 1 + led * (n - 1) + (method.orders - led) * max(0, n - 2))
