"""SimCLR pretraining of a U-Net's encoder: what `unet_simclr` does before it sees a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samunet.inputs.batches import Batches
from samunet.inputs.patches import PairSamples, PatchSampler
from samunet.networks.simclr import Projected, contrastive_loss
from samunet.variants.base import VariantContext
from samunet.variants.kinds import PatchVariant
from samunet.variants.run_data import RunData
from samunet.variants.unet import UnetVariant


class SimclrPretraining(PatchVariant):
    """Trains the encoder of `unet` on pairs of augmentations of one patch, without labels.

    Arguments:
        unet: whose encoder is trained in place.
    """

    learning_rate: ClassVar[float] = 3e-4
    weight_decay: ClassVar[float] = 1e-5

    def __init__(self, unet: UnetVariant) -> None:
        self._unet = unet
        super().__init__(unet.context)

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """As many patches as the U-Net's own batches have; each is augmented twice."""
        return UnetVariant.batch_size(context)

    @property
    def patch(self) -> tuple[int, int]:
        """The U-Net's."""
        return self._unet.patch

    def batches(self, run: RunData) -> Batches[Any]:
        """Pairs of augmented patches of the run's unlabelled cases."""
        names = run.unlabelled_cases
        shapes = [run.arrays.properties(name).shape for name in names]
        sampler = PatchSampler(shapes, self.patch, run.batch_size, run.seed)
        return Batches(names, sampler, PairSamples(names, run.arrays, self.augmentation))

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        network = self._unet.network
        assert isinstance(network.encoder, nn.Module)
        return Projected(network.encoder, self._unet.plan.widths[-1])

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """AutoSAM's: Adam."""
        return torch.optim.Adam(parameters, self.learning_rate, weight_decay=self.weight_decay)

    def logits(self, inputs: Tensor) -> Tensor:
        """Patches (2B, C, rows, columns) -> projections (2B, 256)."""
        return self.network(inputs)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Never looks at `segmentation`."""
        assert isinstance(outputs, Tensor)
        return contrastive_loss(outputs)
