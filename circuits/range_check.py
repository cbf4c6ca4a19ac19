"""A chunk of an update is made of small integers."""

from __future__ import annotations

import torch

from . import NOISE


class RangeCheck(torch.nn.Module):
    """Every value of a chunk lies in the table; the proof carries its owner's tag.

    Relation:   −Q <= v_k < Q for the C values of the chunk and 2·128 noise values, each by one lookup;
                tag is echoed; with `used` set, z = Σ_{used <= k < C} v_k².
    Domain:     Q = 2^(K−1) − 4, so that the table is exactly one column of 2^K − 8 rows.
    Public:     tag; and z, which the verifier requires to be 0 (no energy in the padding).
    Private:    the chunk and its salts; the noise and its salts.
    Not proven: that the values come from training.

    Inputs: ``column`` = chunk ‖ salts; ``tagged`` = tag ‖ 128 noise ‖ 128 noise ‖ salts.

    The noise is there because the proof system publishes an unblinded commitment to the multiplicity of
    each table row, which is the histogram of what is looked up; and it does so *for every block of columns
    apart*. Noise ‖ chunk ‖ noise takes two blocks, so each block's histogram holds 128 noise values.

    The optimiser drops what no output depends on, checks included, and it pushes slices through
    element-wise functions; it leaves `index_select` (ONNX Gather) alone. So one looked-up value,
    s ∈ {0, 1}, is taken with it and s² − s = 0 is added to the tag. The lookup itself holds for the
    whole tensor. zkmarket/statements.py asserts that it is in the compiled circuit, and where.
    """

    def __init__(self, chunk: int, salts: int, used: int | None = None):
        super().__init__()
        self.chunk = chunk
        self.salts = salts
        self.used = used

    def example(self) -> tuple[torch.Tensor, ...]:
        return torch.zeros(1, self.chunk + self.salts), torch.zeros(1, 1 + 2 * NOISE + self.salts)

    def forward(self, column: torch.Tensor, tagged: torch.Tensor) -> torch.Tensor:
        values = torch.index_select(column, 1, torch.arange(self.chunk))
        before = torch.index_select(tagged, 1, torch.arange(1, 1 + NOISE))
        after = torch.index_select(tagged, 1, torch.arange(1 + NOISE, 1 + 2 * NOISE))
        tag = torch.index_select(tagged, 1, torch.tensor([0]))
        public = tag + self.looked_up(torch.cat([before, values, after], 1))
        if self.used is None:
            return public
        padding = torch.index_select(column, 1, torch.arange(self.used, self.chunk))
        return torch.cat([public, torch.einsum("bi,bi->b", padding, padding).reshape(1, 1)], 1)

    @staticmethod
    def looked_up(values: torch.Tensor) -> torch.Tensor:
        """Look every value up in the table of the sigmoid, which is 0 or 1 at scale 1; returns 0."""
        one = torch.index_select(torch.sigmoid(values), 1, torch.tensor([0]))
        return one * one - one
