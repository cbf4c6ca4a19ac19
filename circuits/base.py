"""The base case of the folded Gram argument and of the projection argument, in one circuit."""

from __future__ import annotations

import torch


class Base(torch.nn.Module):
    """Two inner products over the field, and a polynomial's value.

    Relation:   o_1 = Σ_d W_d² over all L = ℓ1·ℓ2 cells of a column, o_2 the same over its last row, the salts',
                o_3 = Σ_d U_d V_d over all L, and o_4 = Σ_d V_d y^d = αᵀ V β with V as an (ℓ1, ℓ2) matrix,
                β = (1, y, …, y^(ℓ2−1)) and α = (1, y^ℓ2, …), where the 2K powers of the point are what they should be.
    Domain:     all of F_p; no range, no lookup (the arguments' zero knowledge depends on that).
    Public:     o_1, o_2, o_3, the point as it is given, o_4, in this order.
    Private:    W, U, V (L cells each).
    Not proven: that the point is made of powers of y: whoever verifies compares all of its echo. Anything about the
                size of entries, or how W, U and V were made: gram.py and projection.py of zkmarket/round do that.

    Inputs: ``w``, ``u``, ``v``, (1, L) each, and ``point``, (1, 2K): the pairs (1, y^(2^k)), k = K−1 down to 0. α and β
    are tensor products of pairs; another way to make powers makes the optimiser split the product and add range
    checks. A slice of C of L cells would cost C rows, so the salts' part is subtracted by the verifier.

    Args: ``logrows`` is K, ``rows`` and ``width`` are ℓ1 and ℓ2, a power of two.
    """

    def __init__(self, logrows: int, rows: int, width: int):
        super().__init__()
        self.logrows, self.rows, self.width = logrows, rows, width
        self.high = logrows - (width.bit_length() - 1)

    def example(self) -> tuple[torch.Tensor, ...]:
        cells = self.rows * self.width
        return (*(torch.zeros(1, cells) for _ in range(3)), torch.zeros(1, 2 * self.logrows))

    def forward(self, w: torch.Tensor, u: torch.Tensor, v: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        salts = w[:, (self.rows - 1) * self.width :]
        pairs = [point[0, 2 * k : 2 * k + 2] for k in range(self.logrows)]
        alpha, beta = tensor_product(pairs[: self.high])[: self.rows], tensor_product(pairs[self.high :])
        along = torch.einsum("ij,j->i", v.reshape(self.rows, self.width), beta)
        value = torch.einsum("i,i->", along, alpha).reshape(1, 1)
        return torch.cat([inner(w, w), inner(salts, salts), inner(u, v), point, value], 1)


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bi,bi->b", a, b).reshape(1, 1)


def tensor_product(pairs: list[torch.Tensor]) -> torch.Tensor:
    """All products of one of each pair, the first pair's place the highest."""
    out = pairs[0]
    for pair in pairs[1:]:
        out = torch.einsum("i,j->ij", out, pair).reshape(-1)
    return out
