"""Random numbers of the synthesis, on the generator's device."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    """Float `shape` in [low, high); without a shape, a scalar."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Float `shape` with mean 0 and standard deviation 1."""
    return torch.randn(shape, generator=generator, device=generator.device)


def integer(low: int, high: int, generator: torch.Generator) -> int:
    """An integer from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))
