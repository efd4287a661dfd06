"""All that a variant may know when it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan, UnetPlan
from samunet.variants.settings import VariantSettings


@dataclass(frozen=True)
class VariantContext:
    """All that a variant may know when it is built.

    `sam_state` is the encoder's whole SAM checkpoint (segment-anything's key names) to start a decoder from; it is
    empty when a trained model is loaded, whose own weights follow through `load_state`. `encoder` is there for variants
    that have it in the loop. `votes` is the folder of `Paths.votes`, for variants that register.
    `unet_plan` is None in plans without that section. `settings` are the variant's own; None takes its defaults.
    """

    labels: LabelSpace
    dataset_plan: DatasetPlan
    encoder_plan: EncoderPlan
    sam_state: Mapping[str, Tensor]
    encoder: Encoder | None = None
    votes: Path | None = None
    unet_plan: UnetPlan | None = None
    settings: VariantSettings | None = None

    @property
    def embedding_channels(self) -> int:
        """Channels of one cached embedding: 256 for each image channel that is encoded alone."""
        alone = 1 if self.encoder_plan.composition == "rgb" else len(self.dataset_plan.channel_names)
        return 256 * alone
