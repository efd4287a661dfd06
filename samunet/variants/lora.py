"""`lora`: low-rank increments inside the frozen encoder, and AutoSAM's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import nn

from samunet.networks.autosam_full import EncoderAndHead
from samunet.networks.autosam_head import AutoSamHead
from samunet.networks.lora import add_lora
from samunet.variants.kinds import ImageCropVariant
from samunet.variants.partly_trained import PartlyTrained
from samunet.variants.settings import TrainingSettings, WeightDecay


@dataclass(frozen=True)
class LoraSettings(TrainingSettings):
    """Settings of `lora`."""

    weight_decay: WeightDecay = 0.1
    rank: Annotated[int, Meta(ge=1, le=256, description="rank of the low-rank updates in the encoder")] = 4


class LoraVariant(PartlyTrained, ImageCropVariant):
    """After SAMed (Zhang and Liu, arXiv 2304.13785): increments of rank 4 in the encoder and the whole decoder are
    trained.

    Rank, AdamW with weight decay 0.1 and the schedule's power 0.9 are SAMed's. Deviations:

    - The decoder is `networks.autosam_head`: a learned token for each class, all in one sequence, and one hypernetwork
      that starts from SAM's, where SAMed has a mask token and a newly initialised hypernetwork for the background and
      for each class.
    - SAM's no-mask embedding is fixed; it is all that SAMed's trained prompt encoder adds where there is no prompt.
    - The loss is the mean of Dice and cross entropy on the tile's voxels; SAMed weighs them 0.8 and 0.2 on the
      decoder's grid.
    - The rate is the head's 1e-3. SAMed's 5e-3 comes after a warm-up of 250 iterations, over half of a run here; in a
      scratch run without one, four synthetic images were not learned in the 60 iterations that suffice at 1e-3.
    - Batch and length are the plan's.
    """

    settings_type = LoraSettings
    settings: LoraSettings

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context = self.context
        assert context.encoder is not None
        head = AutoSamHead(context.embedding_channels, self.labels.channels, context.encoder_plan.input_size,
                           context.sam_state)
        network = EncoderAndHead(context.encoder.module, head)
        add_lora(network.encoder, self.settings.rank)
        return network
