"""From the committed Gram matrix to the round's decision."""

from __future__ import annotations

import torch

from . import NOISE


class Settlement(torch.nn.Module):
    """Norm bound, Multi-Krum(f, m), scores and median squared norm of N updates, from their Gram matrix.

    Relation:   q = Σ_ij r_i r_j G_ij over slots 0..N; and for slots 1..N, in integers:
                inside_i = (G_ii <= β); score_i = krum_f(i) + (1 − inside_i)·penalty;
                mask_i = inside_i and (score_i <= m-th smallest score);
                φ_i = Σ_j mask_j G_ij; contribution_i = mask_i · max(0, φ_i), or of 2φ_i − G_ii;
                ν = lower median of G_ii. zkmarket/rules.py and contribution.py say the same in integers.
    Domain:     every compared value is below base^digits in absolute value; others are unprovable.
    Public:     q, r_0..r_N, β, mask_1..N, contribution_1..N, ν, in this order.
    Private:    the upper triangle of G with slot 0, row by row, ‖ salts; noise ‖ salts.
    Not proven: that G is the Gram matrix of anything (zkmarket/gram.py ties q to the updates), or
                that its entries are integers of updates (the range proofs do).

    Inputs: ``gram`` (T + S), T = (N+1)(N+2)/2; ``public_noise`` = r_0..r_N ‖ β ‖ 128 noise ‖ S salts.

    What the lookups would leak, and what stops it:

    - The multiplicities of digits and signs are committed without blinding. The noise is uniform over
      all digits and drowns the first. Counts of signs are independent of the data: every comparison
      that the data decide is made on an odd number x and on −x, which gives one positive sign, one
      negative and no zero; sorting only ever compares in the direction that holds.
    - The running sums of all lookup arguments share their blinding, so differences of two of them are
      bare. Noise is therefore in each: in the digits, in the signs (the noise is signed), and in the
      sorts (`sorted_noise` of it is sorted along).

    All of it holds for one block of columns; a second block would be arguments of its own, without noise.
    """

    def __init__(self, n: int, f: int, m: int, penalty: int, score: str, salts: int, sorted_noise: int):
        super().__init__()
        self.sorted_noise = sorted_noise
        self.n, self.f, self.m, self.salts = n, f, m, salts
        self.penalty = float(penalty)
        self.score = score
        slots = n + 1
        upper = [(i, j) for i in range(slots) for j in range(i, slots)]
        self.entries = len(upper)
        self.index = {pair: at for at, (i, j) in enumerate(upper) for pair in ((i, j), (j, i))}

    def example(self) -> tuple[torch.Tensor, ...]:
        return torch.zeros(1, self.entries + self.salts), torch.zeros(1, self.n + 2 + NOISE + self.salts)

    def forward(self, gram: torch.Tensor, public_noise: torch.Tensor) -> torch.Tensor:
        n = self.n
        slots = range(n + 1)
        trainers = range(1, n + 1)
        r = take(public_noise, slots)
        beta = take(public_noise, [n + 1])
        noise = take(public_noise, range(n + 2, n + 2 + NOISE))

        full = self.entries_of(gram, [(i, j) for i in slots for j in slots]).reshape(n + 1, n + 1)
        rows = torch.einsum("ij,bj->bi", full, r)
        q = torch.einsum("bi,bi->b", rows, r).reshape(1, 1) + decomposed(noise)
        q = q + decomposed(smallest(take(noise, range(self.sorted_noise)), 1))

        norms = self.entries_of(gram, [(i, i) for i in trainers])
        inside = at_least_zero(beta - norms)
        krum = self.distance_sums(gram) + (1 - inside) * self.penalty
        threshold = take(smallest(krum, self.m), [self.m - 1])
        mask = at_least_zero(threshold - krum) * inside

        square = self.entries_of(gram, [(i, j) for i in trainers for j in trainers]).reshape(n, n)
        phi = torch.einsum("ij,bj->bi", square, mask)
        if self.score == "leave-one-out":
            phi = 2 * phi - norms
        contribution = phi * at_least_zero(phi) * mask
        median = take(smallest(norms, (n - 1) // 2 + 1), [(n - 1) // 2])
        return torch.cat([q, r, beta, mask, contribution, median], 1)

    def entries_of(self, gram: torch.Tensor, pairs: list[tuple[int, int]]) -> torch.Tensor:
        """G_ij by constant index, so that the matrix is symmetric by construction."""
        return take(gram, [self.index[pair] for pair in pairs])

    def distance_sums(self, gram: torch.Tensor) -> torch.Tensor:
        """Krum scores: for each i the sum of the n − f − 2 smallest distances to others. Shape (1, n)."""
        n = self.n
        pairs = [(i, j) for i in range(1, n + 1) for j in range(1, n + 1) if i != j]
        own = self.entries_of(gram, [(i, i) for i, _ in pairs])
        other = self.entries_of(gram, [(j, j) for _, j in pairs])
        inner = self.entries_of(gram, pairs)
        distance = (own + other - 2 * inner).reshape(n, n - 1)
        return smallest(distance, n - self.f - 2).sum(1).reshape(1, n)


def take(tensor: torch.Tensor, indices) -> torch.Tensor:
    """Columns by constant index."""
    return torch.index_select(tensor, 1, torch.tensor(list(indices)))


def smallest(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` smallest of each row, ascending. ezkl proves a permutation and N − 1 comparisons."""
    return torch.topk(tensor, count, dim=1, largest=False, sorted=True)[0]


def at_least_zero(x: torch.Tensor) -> torch.Tensor:
    """1 where x >= 0, else 0, with a sign count that does not depend on x (see `Settlement`)."""
    odd = 2 * x + 1
    return take(torch.gt(torch.cat([odd, -odd], 1), 0).to(x.dtype), range(x.shape[1]))


def decomposed(noise: torch.Tensor) -> torch.Tensor:
    """Decompose every noise value into digits and a sign; returns 0 (s³ = s), or the optimiser drops it."""
    one = take(torch.sign(noise), [0])
    return one * one * one - one
