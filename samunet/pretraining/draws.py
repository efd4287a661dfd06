"""Random numbers of the synthesis, drawn on the generator's device."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    """Float `shape` in [low, high); without a shape, a scalar."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Float `shape` of mean 0 and deviation 1."""
    return torch.randn(shape, generator=generator, device=generator.device)


def integer(low: int, high: int, generator: torch.Generator) -> int:
    """From `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))
