"""Optimisers whose state can be put away and taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

OPTIMISERS = ("sgd", "adam")


class Optimiser(Protocol):
    def step(self) -> object: ...

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> object: ...


class Sgd:
    """torch.optim.SGD, bit for bit. The first use of torch.optim loads torch's compiler: seconds in each process."""

    def __init__(self, weights: list[torch.nn.Parameter], rate: float, momentum: float):
        import torch

        self.weights, self.rate, self.momentum = weights, rate, momentum
        self.velocities = [torch.zeros_like(weight) for weight in weights]

    def step(self) -> None:
        import torch

        with torch.no_grad():
            for weight, velocity in zip(self.weights, self.velocities, strict=True):
                if weight.grad is not None:
                    velocity.mul_(self.momentum).add_(weight.grad)
                    weight.add_(velocity, alpha=-self.rate)

    def state_dict(self) -> list[torch.Tensor]:
        return self.velocities

    def load_state_dict(self, state: list[torch.Tensor]) -> None:
        for velocity, kept in zip(self.velocities, state, strict=True):
            velocity.copy_(kept)


def optimiser_of(name: str, weights: list[torch.nn.Parameter], rate: float, momentum: float) -> Optimiser:
    if name == "sgd":
        return Sgd(weights, rate, momentum)
    import torch

    return torch.optim.Adam(weights, lr=rate)
