"""An aggregate of committed updates that no homomorphism gives: and the one that it does give, as a reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from . import NOISE


class Aggregation(torch.nn.Module):
    """Weighted sum, coordinate-wise median or trimmed sum of N committed updates of D parameters.

    Relation:   for every coordinate k < D, in integers, with u_(1)k <= … <= u_(N)k the sorted values:
                mean: a_k = Σ_i w_i u_ik; median: a_k = u_(⌈N/2⌉)k, the lower one where N is even;
                trimmed: a_k = Σ_{t < j <= N − t} u_(j)k, the sum without the t smallest and t largest.
                Opened: a_0..a_{D−1} are public. Committed: equal = the number of rows k < C in which the
                committed column holds a_k, or 0 for k >= D; the verifier requires equal = C.
    Domain:     −T <= u_ik < T for all k < D, T = 2^(K−1) − 4, each by one lookup in a table of one column: nothing
                else proves a bound of these values, and field elements have no order. T is the table's bound, not
                the project's Q. Sorted: a difference of two values, plus 1, is below base^digits.
    Public:     mean: w_1..w_N, then equal or a_0..a_{D−1}. Others: equal or a_0..a_{D−1}.
    Private:    the N columns and their salts; with `committed`, the result's column; noise ‖ salts.
    Not proven: that the weights are small: they are public, the verifier looks. What stands in an update's column
                past D: it takes no part.

    Inputs: N columns (C values ‖ S salts); with `committed`, the result's column, likewise; then for the mean
    w_1..w_N, for the others 128 noise values, and for all of them noise of the table ‖ S salts.

    Values are sorted coordinate by coordinate: ezkl proves a permutation and N − 1 comparisons, each in the
    direction that holds, so that the counts of signs do not depend on data. The digits of the differences
    do: what is said of noise in circuits/settlement.py holds here too, and it holds for one block of columns.
    Hence the order: the table's lookups in the first rows of the first block (inputs take no rows of the blocks),
    then the noise, then the sorts. zkmarket/round/direct asserts that all of the sorts fit that block. The table's
    lookups of a mean may fill many: `sequence` says in which order, with 128 noise values in each.
    """

    def __init__(
        self,
        n: int,
        params: int,
        chunk: int,
        salts: int,
        rule: str,
        trim: int,
        committed: bool,
        sorted_noise: int,
        sequence: Sequence[tuple[str, int, int]],
    ):
        super().__init__()
        self.n, self.params, self.chunk, self.salts = n, params, chunk, salts
        self.rule, self.trim, self.committed = rule, trim, committed
        self.sorted_noise, self.sequence = sorted_noise, sequence
        self.head = n if rule == "mean" else NOISE

    def example(self) -> tuple[torch.Tensor, ...]:
        columns = self.n + (1 if self.committed else 0)
        last = self.head + sum(count for kind, _, count in self.sequence if kind == "noise") + self.salts
        return (*(torch.zeros(1, self.chunk + self.salts) for _ in range(columns)), torch.zeros(1, last))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        everything = torch.cat(inputs, 1)
        column = self.chunk + self.salts
        last = column * (len(inputs) - 1)
        places = looked_up(self.sequence, self.params, column, last + self.head)
        nothing = in_table(take(everything, places))

        if self.rule == "mean":
            weights = take(everything, range(last, last + self.n))
            values = take(everything, [i * column + k for i in range(self.n) for k in range(self.params)])
            result = torch.einsum("bi,ij->bj", weights, values.reshape(self.n, self.params))
            return torch.cat([weights + nothing, self.output(everything, result)], 1)

        noise = take(everything, range(last, last + NOISE))
        nothing = nothing + decomposed(noise) + decomposed(smallest(take(noise, range(self.sorted_noise)), 1))
        values = take(everything, [i * column + k for k in range(self.params) for i in range(self.n)])
        ordered = smallest(values.reshape(self.params, self.n), self.n)
        output = self.output(everything, self.middle(ordered))
        first = nothing + take(output, [0])
        if self.committed:
            return first
        return torch.cat([first, take(output, range(1, self.params))], 1)

    def middle(self, ordered: torch.Tensor) -> torch.Tensor:
        """From (D, N) sorted rows to the result (1, D)."""
        if self.rule == "median":
            return take(ordered, [(self.n - 1) // 2]).reshape(1, self.params)
        return take(ordered, range(self.trim, self.n - self.trim)).sum(1).reshape(1, self.params)

    def output(self, everything: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        """The result itself, or in how many of its C rows the committed column holds it (and 0 past D)."""
        if not self.committed:
            return result
        start = self.n * (self.chunk + self.salts)
        held = take(everything, range(start, start + self.chunk))
        wanted = result
        if self.params < self.chunk:
            wanted = torch.cat([result, 0 * take(held, range(self.params, self.chunk))], 1)
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


def equal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 where two field elements are the same, else 0: by the inverse of the difference, without a lookup."""
    return torch.eq(a, b).to(a.dtype)


def decomposed(noise: torch.Tensor) -> torch.Tensor:
    """Decompose every noise value into digits and a sign; returns 0 (s³ = s), or the optimiser drops it."""
    one = take(torch.sign(noise), [0])
    return one * one * one - one
