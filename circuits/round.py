"""A whole round in one circuit: filter, scores and sum of committed updates, without a challenge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from . import NOISE


class Round(torch.nn.Module):
    """Norm bound, Multi-Krum(f, m), scores, median squared norm and sum of the accepted of N committed updates.

    Relation:   G_ij = Σ_{k < D} u_ik u_jk, and for i = 1..N, in integers, what circuits/settlement.py says:
                inside_i = (G_ii <= β); score_i = krum_f(i) + (1 − inside_i)·penalty;
                mask_i = inside_i and (score_i <= m-th smallest score);
                φ_i = Σ_j mask_j G_ij; contribution_i = mask_i · max(0, φ_i), or of 2φ_i − G_ii;
                ν = lower median of G_ii; and a_k = Σ_i mask_i u_ik for k < D.
                Opened: a_0..a_{D−1} are public. Committed: equal = the number of rows k < C in which the
                committed column holds a_k, or 0 for k >= D; the verifier requires equal = C.
    Domain:     −T <= u_ik < T for all k < D, T = 2^(K−1) − 4, each by one lookup in a table of one column: nothing
                else proves a bound of these values, without which inner products are of field elements. T is the
                table's bound, not the project's Q. Every compared value is below base^digits in absolute value.
    Public:     β, mask_1..N, contribution_1..N, ν, then equal or a_0..a_{D−1}, in this order.
    Private:    the N columns and their salts; with `committed`, the aggregate's column; noise ‖ salts.
    Not proven: what stands in an update's column past D: it takes no part.

    Inputs: N columns (C values ‖ S salts); with `committed`, the aggregate's column, likewise; then
    β ‖ 128 noise ‖ noise of the table ‖ S salts.

    The plain reference of the folded path: no mask slot, no challenge, no transcript; N(N+1)/2 inner products of
    D rows each instead of one for all. What the lookups would leak, and what stops it, is said in
    circuits/settlement.py, with two differences that come of the many blocks of columns which N whole columns take:

    - What is said there holds for one block, so all comparisons stand together: first come the table's lookups and the
      Gram matrix, then by way of one concatenation the noise and all comparisons; the sum comes last. Where they would
      cross into another block, one more product, of `pad` rows, is computed with the Gram matrix: all that it does is
      to move them to the start of the next block. zkmarket/round/direct asserts that they fit. The table's lookups fill
      as many blocks as they need: `sequence` says in which order, with 128 noise values in each.
    - The blocks without lookups have running sums that everybody knows, and share the blinding of the others: the
      running sum of the signs is bare by itself. The order of signs must not depend on data either, not only their
      counts. So all comparisons are sorts, in which every sign is positive.
    """

    def __init__(
        self,
        n: int,
        params: int,
        chunk: int,
        salts: int,
        f: int,
        m: int,
        penalty: int,
        score: str,
        committed: bool,
        pad: int,
        sorted_noise: int,
        sequence: Sequence[tuple[str, int, int]],
    ):
        super().__init__()
        self.n, self.params, self.chunk, self.salts = n, params, chunk, salts
        self.f, self.m, self.score = f, m, score
        self.penalty = float(penalty)
        self.committed = committed
        self.pad, self.sorted_noise, self.sequence = pad, sorted_noise, sequence
        self.pairs = [(i, j) for i in range(n) for j in range(i, n)]
        self.index = {pair: at for at, (i, j) in enumerate(self.pairs, start=1) for pair in ((i, j), (j, i))}

    def example(self) -> tuple[torch.Tensor, ...]:
        columns = self.n + (1 if self.committed else 0)
        last = 1 + NOISE + sum(count for kind, _, count in self.sequence if kind == "noise") + self.salts
        return (*(torch.zeros(1, self.chunk + self.salts) for _ in range(columns)), torch.zeros(1, last))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        n = self.n
        everything = torch.cat(inputs, 1)
        column = self.chunk + self.salts
        last = column * (len(inputs) - 1)
        places = looked_up(self.sequence, self.params, column, last + 1 + NOISE)
        updates = [take(everything, range(i * column, i * column + self.params)) for i in range(n)]
        upper = [torch.einsum("bi,bi->b", updates[i], updates[j]).reshape(1, 1) for i, j in self.pairs]
        if self.pad:
            rows = take(everything, [last] * self.pad)
            upper.append(torch.einsum("bi,bi->b", rows, rows).reshape(1, 1))
        table = in_table(take(everything, places))
        known = torch.cat([table, *upper, take(everything, range(last, last + 1 + NOISE))], 1)

        start = 1 + len(upper)
        beta = take(known, [start])
        noise = take(known, range(start + 1, start + 1 + NOISE))
        nothing = take(known, [0]) + decomposed(noise) + decomposed(smallest(take(noise, range(self.sorted_noise)), 1))

        norms = self.entries_of(known, [(i, i) for i in range(n)])
        inside = at_least_zero(beta - norms)
        krum = self.distance_sums(known) + (1 - inside) * self.penalty
        threshold = take(smallest(krum, self.m), [self.m - 1])
        mask = at_least_zero(threshold - krum) * inside

        square = self.entries_of(known, [(i, j) for i in range(n) for j in range(n)]).reshape(n, n)
        phi = torch.einsum("ij,bj->bi", square, mask)
        if self.score == "leave-one-out":
            phi = 2 * phi - norms
        contribution = phi * at_least_zero(phi) * mask
        median = take(smallest(norms, (n - 1) // 2 + 1), [(n - 1) // 2])

        aggregate = torch.einsum("bi,ij->bj", mask, torch.cat(updates, 0))
        output = self.output(everything, aggregate)
        return torch.cat([beta + nothing, mask, contribution, median, output], 1)

    def entries_of(self, known: torch.Tensor, pairs: list[tuple[int, int]]) -> torch.Tensor:
        """G_ij by constant index, so that each inner product is computed once."""
        return take(known, [self.index[pair] for pair in pairs])

    def distance_sums(self, known: torch.Tensor) -> torch.Tensor:
        """Krum scores: for each i the sum of the n − f − 2 smallest distances to others. Shape (1, n)."""
        n = self.n
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        own = self.entries_of(known, [(i, i) for i, _ in pairs])
        other = self.entries_of(known, [(j, j) for _, j in pairs])
        inner = self.entries_of(known, pairs)
        distance = (own + other - 2 * inner).reshape(n, n - 1)
        return smallest(distance, n - self.f - 2).sum(1).reshape(1, n)

    def output(self, everything: torch.Tensor, aggregate: torch.Tensor) -> torch.Tensor:
        """The aggregate itself, or in how many of its C rows the committed column holds it (and 0 past D)."""
        if not self.committed:
            return aggregate
        start = self.n * (self.chunk + self.salts)
        held = take(everything, range(start, start + self.chunk))
        wanted = aggregate
        if self.params < self.chunk:
            wanted = torch.cat([aggregate, 0 * take(held, range(self.params, self.chunk))], 1)
        return equal(held, wanted).sum(1).reshape(1, 1)


def take(tensor: torch.Tensor, indices: Iterable[int]) -> torch.Tensor:
    """Columns by constant index."""
    return torch.index_select(tensor, 1, torch.tensor(list(indices)))


def looked_up(sequence: Sequence[tuple[str, int, int]], params: int, column: int, noise: int) -> list[int]:
    """Where the values and the noise that a sequence names lie among all inputs; value j is of update j // D."""
    places = []
    for kind, first, count in sequence:
        run = range(first, first + count)
        places += [noise + at if kind == "noise" else at // params * column + at % params for at in run]
    return places


def in_table(values: torch.Tensor) -> torch.Tensor:
    """Look every value up in the table of the sigmoid, which is 0 or 1 at scale 1; returns 0 (s² = s), or the optimiser
    drops it."""
    one = take(torch.sigmoid(values), [0])
    return one * one - one


def smallest(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` smallest of each row, ascending. ezkl proves a permutation and N − 1 comparisons."""
    return torch.topk(tensor, count, dim=1, largest=False, sorted=True)[0]


def at_least_zero(x: torch.Tensor) -> torch.Tensor:
    """1 where x >= 0, else 0: whether 2x + 1, which is odd, is the larger of itself and its opposite.

    Like every other comparison here this one is made in the direction that holds, so that its sign tells nothing.
    """
    odd = (2 * x + 1).reshape(-1, 1)
    larger = take(smallest(torch.cat([odd, -odd], 1), 2), [1])
    return equal(odd, larger).reshape(1, -1)


def equal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 where two field elements are the same, else 0: by the inverse of the difference, without a lookup."""
    return torch.eq(a, b).to(a.dtype)


def decomposed(noise: torch.Tensor) -> torch.Tensor:
    """Decompose every noise value into digits and a sign; returns 0 (s³ = s), or the optimiser drops it."""
    one = take(torch.sign(noise), [0])
    return one * one * one - one
