"""LoRA: of a transformer with peft's adapters an update holds the adapters, and nothing else moves.

Without the extra `lora` these fail: `make test-extras` installs it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.lessons import QUICK, start
from zkmarket.errors import InputError
from zkmarket.learning import Dataset, Training, evaluate, train

pytestmark = [pytest.mark.unit, pytest.mark.extras]

WIDTH, WORDS, RANK, BLOCKS = 16, 300, 4, 2


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.o(nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)))


class Transformer(nn.Module):
    """Token ids (n, T) → two classes, with random weights."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.Sequential(*(Attention() for _ in range(BLOCKS)))
        self.head = nn.Linear(WIDTH, 2)
        self.seen: list[torch.Tensor] = []
        self.to(dtype)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.seen.append(ids)
        return self.head(self.blocks(self.words(ids)).mean(1))


def adapted(dtype: torch.dtype = torch.float32) -> nn.Module:
    import peft

    torch.manual_seed(2)
    return peft.get_peft_model(Transformer(dtype), peft.LoraConfig(r=RANK, target_modules=["q", "v"]))


def sentences(rows: int = 64) -> Dataset:
    """Whether a sentence of six words has more of the rarer half of the words."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, WORDS, (rows, 6))
    return Dataset(ids, (2 * (ids >= WORDS // 2).sum(1) > 6).astype(np.int64))


def test_an_update_holds_the_adapters_alone_and_training_moves_nothing_else() -> None:
    model = adapted()
    layout, theta = start(model)
    assert layout.size == BLOCKS * 2 * RANK * (WIDTH + WIDTH) == 512  # D: q and v of each block, A and B of each
    assert all("lora_A" in name or "lora_B" in name for name in layout.names) and len(layout.names) == 8
    frozen = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    assert len(frozen) == 1 + 8 * BLOCKS + 2
    before = evaluate(model, layout, theta, sentences())
    update = train(model, layout, theta, sentences(), Training(epochs=30, optimiser="adam", rate=0.02), 1)
    after = evaluate(model, layout, theta + update, sentences())
    assert update.shape == (512,) and after.loss < 0.9 * before.loss
    assert all(torch.equal(weight, frozen[name]) for name, weight in model.named_parameters() if name in frozen)


def test_token_ids_reach_a_model_of_bfloat16_as_they_are() -> None:
    """As bfloat16 257 is 256: another word."""
    model = adapted(torch.bfloat16)
    layout, theta = start(model)
    data = Dataset(np.full((2, 3), 257), np.array([0, 1]))
    train(model, layout, theta, data, QUICK, 1)
    (seen,) = model.base_model.model.seen
    assert seen.dtype == torch.int64 and seen.unique().tolist() == [257]


def test_the_base_model_under_the_adapters_is_not_the_projects() -> None:
    layout, theta = start(adapted())
    with pytest.raises(InputError, match="the model is not the project's"):
        train(Transformer(), layout, theta, sentences(), QUICK, 1)
