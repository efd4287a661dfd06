"""The sections of a plans file as typed data, by what they serve; bounds of single values are stated here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from samunet.planning.encoder_spec import PATCH_SIZE, SMALLEST_STEP

LARGEST_INPUT = 4096  # pixels; SAM's own is 1024
HYBRID_STAGES = 6  # of `networks.hybrid`, at most

Axis = Annotated[int, Meta(ge=0, le=2)]
Voxels = Annotated[int, Meta(ge=1, le=2**20)]
Pixels = Annotated[int, Meta(ge=PATCH_SIZE, le=LARGEST_INPUT, multiple_of=PATCH_SIZE)]
Step = Annotated[float, Meta(ge=SMALLEST_STEP, le=1)]
Batch = Annotated[int, Meta(ge=1, le=4096)]
Iterations = Annotated[int, Meta(ge=1, le=10**7)]
Slices = Annotated[int, Meta(ge=1, le=255)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Stride = Annotated[int, Meta(ge=1, le=8)]
Kernel = Annotated[int, Meta(ge=1, le=15)]
Width = Annotated[int, Meta(ge=1, le=4096)]
TokenSide = Annotated[int, Meta(ge=1, le=PATCH_SIZE)]


@dataclass(frozen=True)
class DatasetPlan:
    """Decisions about the arrays. Axes are (z, y, x) after `transpose_forward`; spacings in mm."""

    reader: str
    transpose_forward: tuple[Axis, Axis, Axis]
    transpose_backward: tuple[Axis, Axis, Axis]
    spacing_mm: tuple[float, float, float]
    median_shape: tuple[Voxels, Voxels, Voxels]
    anisotropic: bool
    channel_names: tuple[str, ...]
    normalization: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    foreground_intensity: tuple[dict[str, float], ...]
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EmbeddingsPlan:
    """Decisions about one encoder's inputs, the cache of its embeddings, and the heads on them.

    Sizes are in voxels of the plan's grid.

    `tile_shape` (rows, columns) is the in-plane window that is encoded at once; its longer side is scaled to
    `input_size` pixels and the shorter is zero-padded. `composition` is `neighbours` (slices z-1, z, z+1 as the three
    input channels), `repeat` (one slice three times) or `rgb` (the image's own three channels). `cache_dtype` is
    `float16` or `int8`. `view_pictures` is how many encoder images of augmented views may be encoded for one run.
    """

    encoder: str
    input_size: Pixels
    tile_shape: tuple[Voxels, Voxels]
    tile_step: Step
    composition: str
    batch_size: Batch
    cache_dtype: str
    cache_bytes: Count
    head_iterations: Iterations
    view_pictures: Count = 0
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VoxelsPlan:
    """Decisions about `hybrid`'s 3D network where it reads voxels alone; axes (z, y, x).

    `shape` is a volume in voxels, of which `place` are one place of the first stage. `strides` and `kernels` have an
    entry for each stage, the first stride all 1.
    """

    shape: tuple[Voxels, Voxels, Voxels]
    place: tuple[Stride, Stride, Stride]
    strides: tuple[tuple[Stride, Stride, Stride], ...]
    kernels: tuple[tuple[Kernel, Kernel, Kernel], ...]
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HybridPlan:
    """Decisions about `hybrid`'s 3D network on volumes of `depth` slices of the encoder's tile.

    `strides` and `kernels` have an entry for each stage of the network, axes (z, y, x), the first stride all 1.
    `embeddings` is whether the network reads the encoder's embeddings unless a setting says otherwise; it does in plans
    that were written before this was decided. `voxels` is what it reads without embeddings; None: the same volumes.
    """

    depth: Voxels
    strides: tuple[tuple[Stride, Stride, Stride], ...]
    kernels: tuple[tuple[Kernel, Kernel, Kernel], ...]
    reasons: dict[str, str] = field(default_factory=dict)
    embeddings: bool = True
    voxels: VoxelsPlan | None = None


@dataclass(frozen=True)
class AdapterPlan:
    """Decisions about 3D adapters inside the encoder.

    `slices` are those of an image stack, `input_size` is the side in pixels of the adapters' own encoder input. A batch
    has `batch_size` stacks, of which `micro_batch` go through the network at once; `checkpointed` is whether each block
    is computed twice; `training_bytes` is the memory that training is expected to take.
    """

    slices: Slices
    input_size: Pixels = 256
    batch_size: Batch = 2
    micro_batch: Batch = 2
    checkpointed: bool = False
    training_bytes: Count = 0
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Patch3dPlan:
    """Decisions about 3D patches that the encoder reads as a whole; axes (z, y, x), sizes in voxels of the plan's grid.

    `shape` is a patch, `token` what one token of the encoder covers; tokens divide the patch. A batch has `batch_size`
    patches; `checkpointed` is whether each block is computed twice; `training_bytes` is the memory that training is
    expected to take.
    """

    shape: tuple[Voxels, Voxels, Voxels]
    token: tuple[TokenSide, TokenSide, TokenSide]
    batch_size: Batch
    checkpointed: bool
    training_bytes: Count
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderPlan(EmbeddingsPlan):
    """All sections of one encoder: the values of its embeddings, and the sections `hybrid`, `adapters`, `patches_3d`.

    `hybrid` is None in plans that were written before it was a section; `volume_rules.plan_volume` then applies the
    rule. So is `patches_3d`; `Plans.of_patches_3d` then applies its rule.
    """

    hybrid: HybridPlan | None = None
    adapters: AdapterPlan = field(default_factory=lambda: AdapterPlan(1))
    patches_3d: Patch3dPlan | None = None

    def channels_alone(self, dataset_plan: DatasetPlan) -> int:
        """How many encoder images a tile becomes: one, or one for each channel, whose embeddings are concatenated."""
        return 1 if self.composition == "rgb" else len(dataset_plan.channel_names)


@dataclass(frozen=True)
class UnetPlan:
    """A plain U-Net and its patches; axes as the patch's, (rows, columns) or (slices, rows, columns).

    `strides` has one entry for each stage, the first all 1; `kernels` and `widths` as many. `classes` is the number of
    output channels that the batch was computed for.
    """

    patch: tuple[Voxels, ...]
    strides: tuple[tuple[Stride, ...], ...]
    kernels: tuple[tuple[Kernel, ...], ...]
    widths: tuple[Width, ...]
    batch_size: Batch
    classes: Batch = 1
    reasons: dict[str, str] = field(default_factory=dict)
