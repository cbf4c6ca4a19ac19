"""From the committed Gram matrix to the round's decision."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from . import NOISE


class Settlement(torch.nn.Module):
    """Filter, scores and median squared norm of N updates, from their Gram matrix and that of the references.

    Relation:   q = Σ_ij r_i r_j G_ij over all slots: 0 (mask), 1..N (trainers), then references R (root), P (last);
                and for slots 1..N, in integers:
                inside_i = (G_ii <= β); with m > 0 score_i = krum_f(i) + (1 − inside_i)·penalty and
                mask_i = inside_i and (score_i <= m-th smallest score), with m = 0 mask_i = inside_i;
                three-sigma a/b: c = Σ_j mask_j, w_i = c² where mask_i, else (c − 1)²,
                x_i = inside_i·w_i·(c²G_ii − 2c Σ_j mask_j G_ij + Σ_jk mask_j mask_k G_jk),
                S1 = Σ_j mask_j x_j, S2 = Σ_j mask_j x_j², and from there on
                mask_i = inside_i and (c·x_i <= S1 or b²(c·x_i − S1)² <= a²(c·S2 − S1²));
                cosine a/b: and G_iR >= 0, and b²G_iR² >= a²G_ii G_RR;
                φ_i = Σ_j mask_j G_ij; contribution_i = mask_i · max(0, φ_i), or of 2φ_i − G_ii, or 1, or of G_iR, or
                of φ_i·G' − G_iP·Σ_j mask_j G_jP with G' = G_PP + (G_PP = 0), or for cosine-shapley the s_i with
                s_i²·G'_i <= (2^16·mask_i·max(0, φ_i))² < (s_i + 1)²·G'_i, G'_i = G_ii + (G_ii = 0);
                ν = lower median of G_ii. zkmarket/rules says the same in integers.
                And no G_ii, nor G_RR of a root, is beyond `longest`: otherwise the mask is none.
    Domain:     every compared value is below base^digits in absolute value; others are unprovable.
    Public:     q, r of every slot, β, mask_1..N, contribution_1..N, ν, in this order. A mask entry that is
                neither 0 nor 1 says that an s_i is wrong, or a squared norm too long: the verifier refuses it.
    Private:    the upper triangle of G with slot 0, row by row, ‖ salts; s_1..s_N; noise ‖ salts.
    Not proven: that G is the Gram matrix of anything (zkmarket/round/gram.py ties q to the vectors), or
                that its entries are integers of updates (zkmarket/round/projection.py does).

    Inputs: ``gram`` (T + S), T = M(M+1)/2 with M = 1 + N + references; ``public_noise`` = r ‖ β ‖ 128 noise ‖ S salts,
    for cosine-shapley with s_1..s_N after β.

    What the lookups would leak, and what stops it:

    - The multiplicities of digits and signs are committed without blinding. The noise is uniform over
      all digits and drowns the first. Counts of signs are independent of the data: every comparison
      that the data decide is made on an odd number x and on −x, which gives one positive sign, one
      negative and no zero; sorting only ever compares in the direction that holds, and so do the checks of s_i
      and of the longest.
    - The running sums of all lookup arguments share their blinding, so differences of two of them are
      bare. Noise is therefore in each: in the digits, in the signs (the noise is signed), and in the
      sorts (`sorted_noise` of it is sorted along).

    All of it holds for one block of columns; a second block would be arguments of its own, without noise.

    Args: ``longest`` is D·Q² (`rules.norm_bound`), from which the domain's bounds follow by Cauchy and Schwarz, and
    without which who is longer than the ranking's penalty would take the selection; ``m`` is 0 without Multi-Krum;
    ``sigma`` and ``tau`` are (numerator, denominator) or None; ``references`` are of "root", "last", in this order;
    ``cap`` is what no s_i exceeds, ``root_bits`` the 16 above.
    """

    def __init__(
        self,
        n: int,
        f: int,
        m: int,
        penalty: int,
        longest: int,
        score: str,
        salts: int,
        sorted_noise: int,
        sigma: tuple[int, int] | None = None,
        tau: tuple[int, int] | None = None,
        references: tuple[str, ...] = (),
        cap: int = 0,
        root_bits: int = 0,
    ):
        super().__init__()
        self.sorted_noise = sorted_noise
        self.n, self.f, self.m, self.salts = n, f, m, salts
        self.penalty, self.longest = float(penalty), float(longest)
        self.score = score
        self.sigma, self.tau = sigma, tau
        self.cap, self.scale = float(cap), float(1 << 2 * root_bits)
        self.slots = 1 + n + len(references)
        self.reference = {name: 1 + n + at for at, name in enumerate(references)}
        self.roots = n if score == "cosine-shapley" else 0
        upper = [(i, j) for i in range(self.slots) for j in range(i, self.slots)]
        self.entries = len(upper)
        self.index = {pair: at for at, (i, j) in enumerate(upper) for pair in ((i, j), (j, i))}

    def example(self) -> tuple[torch.Tensor, ...]:
        known = self.slots + 1 + self.roots
        return torch.zeros(1, self.entries + self.salts), torch.zeros(1, known + NOISE + self.salts)

    def forward(self, gram: torch.Tensor, public_noise: torch.Tensor) -> torch.Tensor:
        n = self.n
        slots = range(self.slots)
        trainers = range(1, n + 1)
        r = take(public_noise, slots)
        beta = take(public_noise, [self.slots])
        known = self.slots + 1 + self.roots
        noise = take(public_noise, range(known, known + NOISE))

        full = self.entries_of(gram, [(i, j) for i in slots for j in slots]).reshape(self.slots, self.slots)
        rows = torch.einsum("ij,bj->bi", full, r)
        q = torch.einsum("bi,bi->b", rows, r).reshape(1, 1) + decomposed(noise)
        q = q + decomposed(smallest(take(noise, range(self.sorted_noise)), 1))

        norms = self.entries_of(gram, [(i, i) for i in trainers])
        inside = at_least_zero(beta - norms)
        mask = inside
        if self.m:
            krum = self.distance_sums(gram) + (1 - inside) * self.penalty
            threshold = take(smallest(krum, self.m), [self.m - 1])
            mask = at_least_zero(threshold - krum) * inside

        square = self.entries_of(gram, [(i, j) for i in trainers for j in trainers]).reshape(n, n)
        if self.sigma:
            mask = self.three_sigma(square, norms, inside, mask)
        if self.tau:
            mask = mask * self.cosine(gram, norms, inside)

        ordered = smallest(norms, n)
        contribution, broken = self.contribution(gram, square, norms, mask), self.too_long(gram, ordered)
        if self.roots:
            claimed = take(public_noise, range(self.slots + 1, known))
            contribution, broken = claimed, broken + self.not_the_root(claimed, contribution, norms)
        median = take(ordered, [(n - 1) // 2])
        return torch.cat([q, r, beta, mask + broken, contribution, median], 1)

    def too_long(self, gram: torch.Tensor, ordered: torch.Tensor) -> torch.Tensor:
        """0 where the longest of the trainers' updates, and the root, are within the domain; else at least 2."""
        norms = [take(ordered, [self.n - 1])]
        if "root" in self.reference:
            norms.append(self.along(gram, "root")[1])
        within = torch.sign(2 * (self.longest - torch.cat(norms, 1)) + 1)
        return 2 * (1 - within).sum(1).reshape(1, 1)

    def three_sigma(
        self, square: torch.Tensor, norms: torch.Tensor, inside: torch.Tensor, selected: torch.Tensor
    ) -> torch.Tensor:
        """Who is inside and not farther from the centre of the selected than mean + sigma deviations. Shape (1, n)."""
        assert self.sigma is not None
        a, b = self.sigma
        count = selected.sum(1).reshape(1, 1)
        near = torch.einsum("ij,bj->bi", square, selected)
        total = torch.einsum("bi,bi->b", near, selected).reshape(1, 1)
        weight = (count - 1) * (count - 1) + (2 * count - 1) * selected  # from the mean of the others selected
        far = (count * count * norms - 2 * count * near + total) * weight * inside
        first = torch.einsum("bi,bi->b", far, selected).reshape(1, 1)
        second = torch.einsum("bi,bi->b", far * far, selected).reshape(1, 1)
        beyond = count * far - first
        spread = count * second - first * first
        below = at_least_zero(-beyond)
        near_enough = at_least_zero(float(a * a) * spread - float(b * b) * (beyond * beyond))
        return inside * (1 - (1 - below) * (1 - near_enough))

    def cosine(self, gram: torch.Tensor, norms: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Whose cosine with the root update is at least tau; of those outside only the sign is right. Shape (1, n)."""
        assert self.tau is not None
        a, b = self.tau
        inner, norm = self.along(gram, "root")
        against = (float(b * b) * (inner * inner) - float(a * a) * (norms * norm)) * inside
        return at_least_zero(inner) * at_least_zero(against)

    def contribution(
        self, gram: torch.Tensor, square: torch.Tensor, norms: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """The scores, clipped at 0; for cosine-shapley what their squares are compared with. Shape (1, n)."""
        if self.score == "equal":
            return mask
        if self.score == "root":
            phi, _ = self.along(gram, "root")
        else:
            phi = torch.einsum("ij,bj->bi", square, mask)
        if self.score == "leave-one-out":
            phi = 2 * phi - norms
        if self.score == "novel":
            inner, norm = self.along(gram, "last")
            common = torch.einsum("bi,bi->b", inner, mask).reshape(1, 1)
            phi = (phi * (norm + is_zero(norm)) - inner * common) * mask
        return phi * at_least_zero(phi) * mask

    def not_the_root(self, claimed: torch.Tensor, phi: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """0 where s² G' <= scale·φ² < (s + 1)² G' for 0 <= s <= cap, which makes it one s; else at least 2.

        Nothing here is decided by the data: every difference of a true s is at least 0. So it is for integers s:
        twice a difference and 1 is odd then, and its sign is not 0. Of halves that is not so, but s is an output, and
        the verifier takes no score that is not an integer below 2^64 (and its shift).
        """
        length = norms + is_zero(norms)
        square = self.scale * (phi * phi)
        below = square - claimed * claimed * length
        above = (claimed + 1) * (claimed + 1) * length - square - 1
        differences = torch.cat([claimed, self.cap - claimed, below, above], 1)
        return (1 - torch.sign(2 * differences + 1)).reshape(4, self.n).sum(0).reshape(1, self.n)

    def along(self, gram: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Inner products of the trainers' updates with a reference, and its squared norm."""
        slot = self.reference[name]
        return self.entries_of(gram, [(i, slot) for i in range(1, self.n + 1)]), self.entries_of(gram, [(slot, slot)])

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


def take(tensor: torch.Tensor, indices: Iterable[int]) -> torch.Tensor:
    """Columns by constant index."""
    return torch.index_select(tensor, 1, torch.tensor(list(indices)))


def smallest(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` smallest of each row, ascending. ezkl proves a permutation and N − 1 comparisons."""
    return torch.topk(tensor, count, dim=1, largest=False, sorted=True)[0]


def at_least_zero(x: torch.Tensor) -> torch.Tensor:
    """1 where x >= 0, else 0, with a sign count that does not depend on x (see `Settlement`)."""
    odd = 2 * x + 1
    return take(torch.gt(torch.cat([odd, -odd], 1), 0).to(x.dtype), range(x.shape[1]))


def is_zero(x: torch.Tensor) -> torch.Tensor:
    """1 where a field element is 0, else 0: by its inverse, without a lookup."""
    return torch.eq(x, torch.zeros(x.shape)).to(x.dtype)


def decomposed(noise: torch.Tensor) -> torch.Tensor:
    """Decompose every noise value into digits and a sign; returns 0 (s³ = s), or the optimiser drops it."""
    one = take(torch.sign(noise), [0])
    return one * one * one - one
