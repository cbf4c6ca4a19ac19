"""The base case of the folded Gram argument."""

from __future__ import annotations

import torch


class InnerProduct(torch.nn.Module):
    """One self inner product over the field.

    Relation:   y = Σ_{k < C} W_k², where W ‖ salts is the committed column.
    Domain:     all of F_p; no range, no lookup (the argument's zero knowledge depends on that).
    Public:     y.
    Private:    W (C values), S salts, which take no part.
    Not proven: anything about the size of W's entries, or how W was made: zkmarket/gram.py does that.
    """

    def __init__(self, chunk: int, salts: int):
        super().__init__()
        self.chunk = chunk
        self.salts = salts

    def example(self) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(1, self.chunk + self.salts),)

    def forward(self, column: torch.Tensor) -> torch.Tensor:
        values = column[:, : self.chunk]
        return torch.einsum("bi,bi->b", values, values)
