"""What every variant is: a few class attributes, a way to fit, and logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inputs.embeddings import LiveEmbeddings
from samunet.inputs.encoder_input import EncoderInput
from samunet.inputs.image_crops import CaseImageCrops
from samunet.inputs.image_stacks import CaseImageStacks
from samunet.inputs.patches import CasePatches
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.volumes import CaseVolumes
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.encoder_rules import TILE_STEP, canvas_for
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.planning.volume_rules import VolumePlan, plan_volume
from samunet.preprocessing.case import PreparedCase
from samunet.variants.losses import dice_and_cross_entropy
from samunet.variants.states import require_same


@dataclass(frozen=True)
class VariantContext:
    """All that a variant may know when it is built.

    `sam_state` is the encoder's whole SAM checkpoint (segment-anything's key names) to start a decoder from; it is empty
    when a trained model is loaded, whose own weights follow through `load_state`. `encoder` is there for variants that have
    it in the loop. `votes` is the folder of `Paths.votes`, for variants that register.
    """

    labels: LabelSpace
    dataset_plan: DatasetPlan
    encoder_plan: EncoderPlan
    sam_state: Mapping[str, Tensor]
    encoder: Encoder | None = None
    votes: Path | None = None

    @property
    def embedding_channels(self) -> int:
        """Channels of one cached embedding: 256 for each image channel that is encoded alone."""
        alone = 1 if self.encoder_plan.composition == "rgb" else len(self.dataset_plan.channel_names)
        return 256 * alone


class Variant(ABC):
    """A named way to segment: a `TrainedVariant` (by gradient), a `Baseline` (fitted at once) or a `PromptedVariant`."""

    def __init__(self, context: VariantContext) -> None:
        self.context = context
        self.labels = context.labels

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What was trained, as CPU tensors: the content of the checkpoint."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned.

        Raises:
            ValueError: a tensor is missing, unknown, or of another shape or number type.
        """


class TrainedVariant(Variant):
    """A network that the trainer's loop trains, on whatever `inputs_of` reads of a case.

    A subclass builds `network` in `build_network`, and says in `logits` how its inputs become class logits.
    """

    learning_rate: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 1e-2
    inputs_depend_on_model: ClassVar[bool] = False  # whether what is read of a case depends on what was trained on
    unlabelled: ClassVar[bool] = False  # whether it learns from the run's unlabelled images, too
    warmup_share: ClassVar[float] = 0.0  # of the iterations, over which the rate rises from next to nothing

    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        self.network = self.build_network()

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The network, initialised under torch's current seed."""

    @abstractmethod
    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """What the network reads of a case that is in memory.

        Arguments:
            plans: those that `case` was preprocessed with.
            encoder: for those that need one.
            cached: embeddings of the case as they are, without mirroring; their own tiles are used, whatever `step` says.
            mirror: in-plane axes (0 rows, 1 columns) along which each tile is flipped; the caller flips the logits back.
            step: fraction of a tile between neighbours; None takes the plan's.
        """

    @abstractmethod
    def logits(self, inputs: Any) -> Tensor:
        """A batch of inputs -> logits (B, K, rows, columns) on the voxels of its tiles, (B, K, N, rows, columns) of stacks."""

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Samples of one iteration."""
        return context.encoder_plan.batch_size

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """How long to train where nobody says."""
        return context.encoder_plan.head_iterations

    def pretraining(self) -> PatchVariant | None:
        """What trains parts of `network` on unlabelled images in the first half of the iterations; None: nothing does."""
        return None

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW, unless a subclass has another."""
        return torch.optim.AdamW(parameters, self.learning_rate, weight_decay=self.weight_decay)

    @property
    def stack_depth(self) -> int:
        """Slices that an input holds."""
        return 1

    @property
    def micro_batch(self) -> int | None:
        """Samples of a batch that go through the network together, where memory asks for fewer than all; see the trainer."""
        return None

    @property
    def uniform_weights(self) -> bool:
        """Whether prediction takes a stack at each slice and their plain mean; see `inference.sliding_window`."""
        return False

    def outputs(self, inputs: Any) -> Tensor | list[Tensor]:
        """What the loss is taken of; the logits, unless a subclass has more to say in training."""
        return self.logits(inputs)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Scalar loss of `outputs` against label values (B, rows, columns)."""
        assert isinstance(outputs, Tensor)
        return dice_and_cross_entropy(outputs, segmentation, self.labels)

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        require_same(state, self.state())
        self.network.load_state_dict(dict(state), strict=False)


class EmbeddingVariant(TrainedVariant):
    """A head on a frozen encoder's embeddings of single slices.

    The network maps embeddings float32 (B, D, S/16, S/16) to class logits (B, K, s, s) over the encoder's square input.
    """

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        return embeddings_of(case, plans, encoder, mirror, step, cached)

    def logits(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, rows, columns) on the voxels of the plan's tile."""
        return tile_logits(self.network(inputs), self.context.encoder_plan)


class ImageCropVariant(TrainedVariant):
    """A network that holds the encoder and trains it, or parts in it: pictures in, class logits out.

    The network maps pictures float32 (B, n, 3, S, S), n those of a tile that are encoded alone, to class logits (B, K, s, s)
    over the encoder's square input.
    """

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        assert encoder is not None
        source = EncoderInput(case, plans.dataset, self.context.encoder_plan, encoder.spec.family, step)
        return CaseImageCrops(source, mirror)

    def logits(self, inputs: Tensor) -> Tensor:
        """Pictures (B, n, 3, S, S) -> logits (B, K, rows, columns) on the voxels of the plan's tile."""
        return tile_logits(self.network(inputs), self.context.encoder_plan)


class ImageStackVariant(TrainedVariant):
    """A network that holds an encoder which sees neighbouring slices: stacks of pictures in, class logits of each slice out.

    The network maps float32 (B, N, n, 3, H, W), N slices and n pictures of each that are encoded alone, to class logits
    (B, K, N, H, W). H and W are what the plan's tile covers of the encoder's square input, N is the plan's `stack_depth`.
    """

    @property
    def stack_depth(self) -> int:
        return self.context.encoder_plan.stack_depth

    @property
    def uniform_weights(self) -> bool:
        return True

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        assert encoder is not None
        source = EncoderInput(case, plans.dataset, self.context.encoder_plan, encoder.spec.family, step)
        plan = self.context.encoder_plan
        return CaseImageStacks(CaseImageCrops(source, mirror), self.stack_depth, canvas_for(plan.tile_shape, plan.input_size))

    def logits(self, inputs: Tensor) -> Tensor:
        """Volumes of pictures (B, N, n, 3, H, W) -> logits (B, K, N, rows, columns) on the voxels of the plan's tile."""
        shown = self.network(inputs).transpose(1, 2)
        return tile_logits(shown.flatten(0, 1), self.context.encoder_plan).unflatten(0, shown.shape[:2]).transpose(1, 2)


class VolumeVariant(TrainedVariant):
    """A 3D network on stacks of slices of the plan's tiles, joined with the embeddings of those slices; see `Volumes`."""

    @property
    def stack(self) -> VolumePlan:
        """Shape and poolings."""
        return plan_volume(self.context.dataset_plan, self.context.encoder_plan)

    @property
    def stack_depth(self) -> int:
        return self.stack.depth

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        embeddings = embeddings_of(case, plans, encoder, mirror, step, cached)
        return CaseVolumes(lambda: case.image, embeddings, self.stack, mirror)


class PatchVariant(TrainedVariant):
    """A network without SAM, on in-plane patches of the normalised channels float32 (B, C, rows, columns)."""

    @property
    @abstractmethod
    def patch(self) -> tuple[int, int]:
        """(rows, columns)."""

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        return CasePatches(case.image, self.patch, TILE_STEP if step is None else step, mirror)


def embeddings_of(
    case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int], step: float | None,
    cached: CaseInputs | None,
) -> CaseInputs:
    """The cached embeddings where they will do, else ones that are encoded when they are read; see `TrainedVariant.inputs_of`.

    Raises:
        UserError: they must be encoded, and there is no encoder.
    """
    if cached is not None and not mirror:
        return cached
    if encoder is None:
        raise UserError("An encoder is needed where embeddings are not cached.", where=case.properties.name)
    return LiveEmbeddings(case, plans, encoder, mirror=mirror, step=step)


def tile_logits(shown: Tensor, plan: EncoderPlan) -> Tensor:
    """Logits (B, K, s, s) over the encoder's square input -> (B, K, rows, columns) on the voxels of the plan's tile.

    Of the square, what lies below or on the right of the tile may be left out.
    """
    rows, columns = plan.tile_shape
    side, pixels = max(rows, columns), max(shown.shape[-2:])
    square = nn.functional.pad(shown, (0, pixels - shown.shape[-1], 0, pixels - shown.shape[-2]))
    return nn.functional.interpolate(square, (side, side), mode="bilinear", align_corners=False)[..., :rows, :columns]


class Baseline(Variant):
    """Something that a network must beat: fitted in one call on the training cases, no gradient, no embeddings."""

    @abstractmethod
    def fit(self, cases: Sequence[PreparedCase]) -> None:
        """Learn from the training cases (all labelled)."""

    @abstractmethod
    def predict(self, case: PreparedCase) -> Tensor:
        """Logits float32 (K, Z, Y, X) on the case's plan grid; never reads `case.segmentation`."""


def device_of(variant: TrainedVariant) -> torch.device:
    """Where the variant's network lives."""
    return next(variant.network.parameters()).device
