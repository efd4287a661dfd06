"""`3d_adapter`: SAM that sees neighbouring slices, by adapters inside the frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta
from torch import Tensor, nn

from samunet.networks.adapted_sam import AdaptedSam
from samunet.networks.adapter_3d import AdaptedEncoder
from samunet.networks.progressive_decoder import ProgressiveDecoder
from samunet.planning.adapter_memory import RANK
from samunet.variants.base import VariantContext
from samunet.variants.kinds import ImageStackVariant
from samunet.variants.losses import dice_and_cross_entropy
from samunet.variants.partly_trained import PartlyTrained
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

# For images of 256 pixels and more; smaller ones get more in proportion to their pixels, up to MOST_ITERATIONS. About
# ten minutes of one core for `mini`. Hippocampus at 128 pixels, fold 1, 16 cases, 13 validation cases: Dice 0.804 after
# 690, 0.823 after 2150.
ITERATIONS, MOST_ITERATIONS, SIDE = 600, 2400, 256


@dataclass(frozen=True)
class Adapter3dSettings(TrainingSettings):
    """Settings of `3d_adapter`."""

    learning_rate: LearningRate = 8e-4
    weight_decay: WeightDecay = 0.1
    rank: Annotated[int, Meta(ge=1, le=256,
                              description="rank of FacT's updates; the plan's memory counts with its default")] = RANK
    dropout: Annotated[float,
                       Meta(ge=0, lt=1, description="chance with which a value of FacT's updates is dropped")] = 0.1
    dice_share: Annotated[float,
                          Meta(ge=0, le=1, description="weight of the Dice loss; the cross entropy has the rest")] = 0.8


class Adapter3dVariant(PartlyTrained, ImageStackVariant):
    """MA-SAM (Chen et al., arXiv 2309.08842; Medical Image Analysis 98, 103310), automatic segmentation.

    FacT of rank 32 on queries and values, dropped out by 0.1, two 3D adapters in every block, SAM's decoder with
    progressive upsampling; AdamW with weight decay 0.1 and a linear warm-up; 0.8 parts of Dice and 0.2 of cross
    entropy, over all N slices; prediction from a stack at each slice, up to N votes each, unless a step is named, which
    lays the stacks as far apart. Deviations, beside those of
    `networks`:

    - N, input size and the picture's three channels are the plan's: neighbouring slices where they are near, where the
      paper has one slice three times. Sizes of patients are the plan's, too: resampled, in tiles that are scaled to the
      input.
    - Intensities are normalised once for a case or dataset and as for the encoder's family. The authors' code scales
      each stack by its own extremes, which gives the same slice other values in another stack.
    - Batches have 2 stacks, not 24, and a run has hundreds of iterations, not tens of thousands. So the warm-up is the
      first twentieth, not 250 iterations, and the published rate of 8e-4 falls with the house's power of 0.9, not 7 in
      a run that is stopped after three quarters: of two made stacks that are learned in 50 iterations, power 7 learned
      a third (loss 0.03 and 0.59, from 0.87). Gradients are clipped as in all variants.
    - Where memory asks for it, stacks go through the network one after the other, to the gradient of the whole batch.
    - Dice is taken over foreground and without squares, as in all variants, on the tile's voxels.
    - Votes are averaged as logits, not as probabilities. Those of the authors' padded stacks beyond the ends are left
      out.
    """

    settings_type = Adapter3dSettings
    settings: Adapter3dSettings

    warmup_share: ClassVar[float] = 0.05

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Stacks of one iteration: the plan's."""
        return context.encoder_plan.adapters.batch_size

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """More where images are small; see ITERATIONS."""
        cheaper = SIDE**2 / context.encoder_plan.input_size**2
        return min(MOST_ITERATIONS, round(ITERATIONS * max(1.0, cheaper)))

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context = self.context
        assert context.encoder is not None
        encoder = AdaptedEncoder(context.encoder.module, self.settings.rank, self.settings.dropout,
                                 checkpointed=context.encoder_plan.adapters.checkpointed)
        return AdaptedSam(encoder,
                          ProgressiveDecoder(context.embedding_channels, self.labels.channels, context.sam_state))

    @property
    def micro_batch(self) -> int:
        """The plan's."""
        return self.context.encoder_plan.adapters.micro_batch

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Dice and cross entropy over all slices, weighted by `dice_share`."""
        assert isinstance(outputs, Tensor)
        return dice_and_cross_entropy(outputs, segmentation, self.labels, self.settings.dice_share)
