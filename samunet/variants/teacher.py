"""An average of a network's weights over its training, which labels what the network learns from next."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

MOST_MEMORY = 0.99  # of the average for what it was
_AGE = "age"


class Teacher:
    """An exponential moving average of the weights of `network`.

    Mean teacher (Tarvainen & Valpola, arXiv 1703.01780, section 2): the average errs less than the network at any one
    iteration. Its memory grows from a tenth at the first iteration to 0.99, so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._age = 0

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take up the weights that `network` has by now, on its device."""
        self._age += 1
        memory = min(MOST_MEMORY, self._age / (self._age + 9))
        for own, other in zip(self.network.parameters(), network.parameters(), strict=True):
            own.data = own.data.to(other.device)
            own.mul_(memory).add_(other, alpha=1 - memory)

    @torch.no_grad()
    def __call__(self, *inputs: Any) -> Any:
        """What the averaged network answers, in evaluation mode."""
        return self.network(*inputs)

    def state(self) -> dict[str, Tensor]:
        """The average and its age, as CPU tensors."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        return weights | {_AGE: torch.tensor(self._age)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._age = int(state[_AGE])
        self.network.load_state_dict({name: tensor for name, tensor in state.items() if name != _AGE})
