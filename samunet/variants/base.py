"""What every variant is: a few class attributes, a way to fit, and logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.case import PreparedCase
from samunet.variants.losses import dice_and_cross_entropy


@dataclass(frozen=True)
class VariantContext:
    """All that a variant may know when it is built.

    `sam_state` is the encoder's whole SAM checkpoint (segment-anything's key names) to start a decoder from; it is empty
    when a trained model is loaded, whose own weights follow through `load_state`.
    """

    labels: LabelSpace
    dataset_plan: DatasetPlan
    encoder_plan: EncoderPlan
    sam_state: Mapping[str, Tensor]

    @property
    def embedding_channels(self) -> int:
        """Channels of one cached embedding: 256 for each image channel that is encoded alone."""
        alone = 1 if self.encoder_plan.composition == "rgb" else len(self.dataset_plan.channel_names)
        return 256 * alone


class Variant(ABC):
    """A named way to segment. Subclasses are `EmbeddingVariant` (trained by gradient) or `Comparator` (fitted at once)."""

    def __init__(self, context: VariantContext) -> None:
        self.context = context
        self.labels = context.labels

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What was trained, as CPU tensors: the content of the checkpoint."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""


class EmbeddingVariant(Variant):
    """A head on a frozen encoder's embeddings of single slices, trained by the trainer's loop.

    A subclass sets `network` in `build_network`; the network maps embeddings float32 (B, D, S/16, S/16) to class logits
    (B, K, s, s) over the encoder's square input. `logits` brings them to the tile's voxels.
    """

    learning_rate: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 1e-2

    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        self.network = self.build_network()

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The network, initialised under torch's current seed."""

    def logits(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, rows, columns) on the voxels of the plan's tile."""
        rows, columns = self.context.encoder_plan.tile_shape
        side = max(rows, columns)
        square = nn.functional.interpolate(self.network(embeddings), (side, side), mode="bilinear", align_corners=False)
        return square[..., :rows, :columns]

    def loss(self, logits: Tensor, segmentation: Tensor) -> Tensor:
        """Scalar loss of logits (B, K, rows, columns) against label values (B, rows, columns)."""
        return dice_and_cross_entropy(logits, segmentation, self.labels)

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.network.load_state_dict(dict(state))


class Comparator(Variant):
    """Something that a network must beat: fitted in one call on the training cases, no gradient, no embeddings."""

    @abstractmethod
    def fit(self, cases: Sequence[PreparedCase]) -> None:
        """Learn from the training cases (all labelled)."""

    @abstractmethod
    def predict(self, case: PreparedCase) -> Tensor:
        """Logits float32 (K, Z, Y, X) on the case's plan grid; never reads `case.segmentation`."""


def device_of(variant: EmbeddingVariant) -> torch.device:
    """Where the variant's network lives."""
    return next(variant.network.parameters()).device
