"""What a network may read: a base class of variants for each kind of inputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.inputs.batches import Batches, Samples
from samunet.inputs.embeddings import LiveEmbeddings
from samunet.inputs.encoder_input import EncoderInput
from samunet.inputs.image_crops import CaseImageCrops
from samunet.inputs.image_stacks import CaseImageStacks, ImageStackAugmentation, ImageStackSamples
from samunet.inputs.patches import CasePatches, PatchAugmentation, PatchSamples
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.recent import Recent, RecentImages
from samunet.inputs.sampling import FOREGROUND_SHARE, LabelSlices, Pick
from samunet.inputs.tiles import TileSamples
from samunet.inputs.volumes import CaseVolumes, VolumeAugmentation, Volumes, VolumeSamples, without_embeddings
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.encoder_rules import TILE_STEP, canvas_for
from samunet.planning.plans import EncoderPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.planning.volume_rules import VolumePlan, plan_volume
from samunet.preprocessing.case import PreparedCase
from samunet.variants.base import TrainedVariant, VariantContext
from samunet.variants.run_data import RunData


class EmbeddingVariant(TrainedVariant):
    """A head on a frozen encoder's embeddings of single slices.

    The network maps embeddings float32 (B, D, S/16, S/16) to class logits (B, K, s, s) over the encoder's square input.
    """

    needs: ClassVar[str] = "embeddings"

    def batches(self, run: RunData) -> Batches[Any]:
        """Whole tiles of the training cases and their views."""
        return tile_batches(run, run.embeddings(run.cases_and_views()))

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        return embeddings_of(case, plans, encoder, mirror, step, cached)

    def logits(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, rows, columns) on the voxels of the plan's tile."""
        return tile_logits(self.network(inputs), self.context.encoder_plan)


class ImageCropVariant(TrainedVariant):
    """A network that holds the encoder and trains it, or parts in it: images in, class logits out.

    The network maps images float32 (B, n, 3, S, S), n those of a tile that are encoded alone, to class logits (B, K, s,
    s) over the encoder's square input.
    """

    needs: ClassVar[str] = "image_crops"

    def batches(self, run: RunData) -> Batches[Pick]:
        """Whole tiles of the training cases and their views."""
        return tile_batches(run, run.image_crops(run.cases_and_views()))

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        assert encoder is not None
        source = EncoderInput(case, plans.dataset, self.context.encoder_plan, encoder.spec.family, step)
        return CaseImageCrops(source, mirror)

    def logits(self, inputs: Tensor) -> Tensor:
        """Images (B, n, 3, S, S) -> logits (B, K, rows, columns) on the voxels of the plan's tile."""
        return tile_logits(self.network(inputs), self.context.encoder_plan)


class ImageStackVariant(TrainedVariant):
    """A network whose encoder sees neighbouring slices: stacks of images in, class logits of each slice out.

    The network maps float32 (B, N, n, 3, H, W), N slices and n images of each that are encoded alone, to class logits
    (B, K, N, H, W). H and W are what the plan's tile covers of the encoder's square input, N is the plan's
    `adapters.slices`.
    """

    needs: ClassVar[str] = "image_stacks"

    foreground_share: ClassVar[float] = FOREGROUND_SHARE  # of a batch, at least

    @property
    def slices(self) -> int:
        """N."""
        return self.context.encoder_plan.adapters.slices

    @property
    def uniform_weights(self) -> bool:
        """A stack at each slice, unless a step is named."""
        return True

    def batches(self, run: RunData) -> Batches[Any]:
        """Stacks of the training cases and their views, augmented as they are read."""
        images = run.image_crops(run.cases_and_views())
        slices, plan = run.label_slices(images), self.context.encoder_plan
        stacks = [CaseImageStacks(source, self.slices, self._canvas) for source in images.values()]
        samples = ImageStackSamples(stacks, slices, self.slices, ImageStackAugmentation(plan))
        return Batches(list(images), run.sampler(slices, self.foreground_share), self.samples(samples))

    def samples(self, stacks: ImageStackSamples) -> Samples[Pick]:
        """What the network reads, made from stacks; the stacks, unless a subclass adds something."""
        return stacks

    @property
    def _canvas(self) -> tuple[int, int]:
        return canvas_for(self.context.encoder_plan.tile_shape, self.context.encoder_plan.input_size)

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        assert encoder is not None
        source = EncoderInput(case, plans.dataset, self.context.encoder_plan, encoder.spec.family, step)
        return CaseImageStacks(CaseImageCrops(source, mirror), self.slices, self._canvas)

    def logits(self, inputs: Tensor) -> Tensor:
        """Stacks of images (B, N, n, 3, H, W) -> logits (B, K, N, rows, columns) on the voxels of the plan's tile."""
        shown = self.network(inputs).transpose(1, 2)
        return tile_logits(shown.flatten(0, 1), self.context.encoder_plan).unflatten(0, shown.shape[:2]).transpose(1, 2)


class VolumeVariant(TrainedVariant):
    """A 3D network on volumes of slices of the plan's tiles, joined with the embeddings of those slices.

    See `Volumes`.
    """

    needs: ClassVar[str] = "volumes"

    @property
    def volume(self) -> VolumePlan:
        """Shape and poolings."""
        return plan_volume(self.context.dataset_plan, self.context.encoder_plan)

    @property
    def slices(self) -> int:
        """Slices of a volume."""
        return self.volume.depth

    def tiles_of(self, shape: Sequence[int], step: float | None = None) -> CaseInputs:
        """The tiles of a case of `shape` (Z, Y, X) voxels, without embeddings; `step` None takes the plan's."""
        return without_embeddings(shape, self.volume, self.context.encoder_plan.tile_step if step is None else step)

    def flat(self, plans: Plans) -> bool:
        """Whether slices must not be tilted or moved against each other."""
        return plans.dataset.anisotropic or self.volume.depth == 1

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of the training cases and their views, augmented as they are read."""
        embeddings = run.embeddings(run.cases_and_views())
        return self.volume_batches(run, embeddings, RecentImages(run.arrays), run.segmentation)

    def volume_batches(
        self, run: RunData, embeddings: Mapping[str, CaseInputs], images: Recent[np.ndarray],
        segmentation: Callable[[str], np.ndarray], misplaced_voxels: float = 0.0,
    ) -> Batches[Pick]:
        """Batches of volumes of all cases and views of `embeddings`.

        Arguments:
            images: float32 (C, Z, Y, X) by name. segmentation: label values int16 (Z, Y, X) by name.
            misplaced_voxels: see `VolumeAugmentation`.
        """
        slices = run.label_slices(embeddings, segmentation)
        volumes = [CaseVolumes(partial(images.get, name), source, self.volume) for name, source in embeddings.items()]
        augmentation = VolumeAugmentation(self.volume, len(run.plans.dataset.channel_names), flat=self.flat(run.plans),
                                          misplaced_voxels=misplaced_voxels)
        return Batches(list(embeddings), run.sampler(slices), VolumeSamples(volumes, slices, self.volume, augmentation))

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        embeddings = embeddings_of(case, plans, encoder, mirror, step, cached)
        return CaseVolumes(lambda: case.image, embeddings, self.volume, mirror)


class VoxelVariant(VolumeVariant):
    """A 3D network without SAM, on volumes of slices of the plan's tiles.

    The network maps the normalised channels float32 (B, C, N, rows, columns) to class logits (B, K, N, rows, columns).
    N, rows and columns are those of `volume.shape`, and need not be divisible by its strides.
    """

    needs: ClassVar[str] = "voxels"

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Volumes of one iteration."""
        return 2

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of the training cases, augmented as they are read."""
        sources = {name: self.tiles_of(run.arrays.properties(name).shape) for name in run.train_cases}
        return self.volume_batches(run, sources, RecentImages(run.arrays), run.segmentation)

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        return CaseVolumes(lambda: case.image, self.tiles_of(case.image.shape[1:], step), self.volume, mirror)

    def logits(self, inputs: Volumes) -> Tensor:
        """Volumes -> logits (B, K, N, rows, columns)."""
        return self.network(inputs.image)


class PatchVariant(TrainedVariant):
    """A network without SAM, on in-plane patches of the normalised channels float32 (B, C, rows, columns)."""

    needs: ClassVar[str] = "patches"

    @property
    @abstractmethod
    def patch(self) -> tuple[int, int]:
        """(rows, columns)."""

    def batches(self, run: RunData) -> Batches[Any]:
        """Augmented patches of the training cases."""
        segmentations = map(run.segmentation, run.train_cases)
        slices = [LabelSlices.build(each, TileFrame(each.shape[1:], each.shape[1:], step=1.0), self.labels)
                  for each in segmentations]
        samples = PatchSamples(run.train_cases, run.arrays, slices, self.labels, self.augmentation)
        return Batches(run.train_cases, run.sampler(slices), samples)

    @property
    def augmentation(self) -> PatchAugmentation:
        """Of patches in training."""
        return PatchAugmentation(self.patch, self.context.dataset_plan.use_mask_for_norm)

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        return CasePatches(case.image, self.patch, TILE_STEP if step is None else step, mirror)


def tile_batches(run: RunData, inputs: Mapping[str, CaseInputs]) -> Batches[Pick]:
    """Batches of whole tiles of all cases and views of `inputs`, as they are."""
    slices = run.label_slices(inputs)
    return Batches(list(inputs), run.sampler(slices), TileSamples(list(inputs.values()), slices))


def embeddings_of(
    case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int], step: float | None,
    cached: CaseInputs | None,
) -> CaseInputs:
    """The cached embeddings where they will do, else ones that are encoded when they are read.

    See `TrainedVariant.inputs_of`.

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

    Of the square, what is below or on the right of the tile may be left out.
    """
    rows, columns = plan.tile_shape
    side, pixels = max(rows, columns), max(shown.shape[-2:])
    square = nn.functional.pad(shown, (0, pixels - shown.shape[-1], 0, pixels - shown.shape[-2]))
    return nn.functional.interpolate(square, (side, side), mode="bilinear", align_corners=False)[..., :rows, :columns]
