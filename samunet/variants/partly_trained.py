"""Checkpoints of networks that are frozen in parts: what was trained, and nothing that the encoder's own file holds."""

from __future__ import annotations

from torch import Tensor

from samunet.variants.base import TrainedVariant


class PartlyTrained(TrainedVariant):
    """A variant whose network has frozen parameters, which are the encoder's.

    Prediction loads those by the encoder's name.
    """

    def state(self) -> dict[str, Tensor]:
        """What is not frozen: trained parameters, those that several parts share once, and buffers."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self._unfrozen().items()}

    def _unfrozen(self) -> dict[str, Tensor]:
        parameters = {name for name, _ in self.network.named_parameters(remove_duplicate=False)}
        trained = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
        return {name: tensor for name, tensor in self.network.state_dict().items()
                if name in trained or name not in parameters}
