"""From a fingerprint to plans: each decision with the figures it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samunet.console import say
from samunet.dataset.io.readers import choose_reader
from samunet.errors import UserError
from samunet.planning import cache_rules
from samunet.planning import encoder_rules as rules
from samunet.planning.adapter_memory import STACKS, AdapterNumbers, plan_stack_training
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, EncoderSpec
from samunet.planning.fingerprint import Fingerprint
from samunet.planning.normalization_rules import MASKED_BELOW, masks_for, schemes_of
from samunet.planning.patch3d_rules import plan_patches_3d
from samunet.planning.plans import DEFAULT_MEMORY_TARGET_GB, Plans
from samunet.planning.sections import AdapterPlan, DatasetPlan, EncoderPlan, UnetPlan
from samunet.planning.spacing import (
    ANISOTROPY,
    Shape,
    checked_spacing,
    reordered,
    resampled_shape,
    slice_axis_first,
    target_spacing,
)
from samunet.planning.unet_rules import plan_unet
from samunet.planning.volume_rules import plan_hybrid

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawDataset

DEFAULT_PLANS_NAME = "samunetPlans"


def plan_experiment(
    dataset: RawDataset,
    fingerprint: Fingerprint,
    spec: EncoderSpec,
    path: Path,
    *,
    plans_name: str = DEFAULT_PLANS_NAME,
    memory_target_gb: float = DEFAULT_MEMORY_TARGET_GB,
    overwrite_spacing_mm: Sequence[float] | None = None,
    cache_dtype: str = cache_rules.DEFAULT_CACHE_DTYPE,
) -> Plans:
    """Plan for `spec` and write the plans file `path`.

    An existing file with the same dataset part keeps its sections for other encoders as they are. If the dataset part
    changed, or the file is not a valid plans file of this version, the whole file is new. The same input gives the same
    bytes.

    Arguments:
        overwrite_spacing_mm: target spacing (z, y, x) in the files' axis order instead of the planned one.
        cache_dtype: number type of cached embeddings, one of CACHE_DTYPES.

    Raises:
        UserError: unknown channel name, bad spacing or memory target, an output place that cannot be written.
    """
    dataset_plan = plan_dataset(dataset, fingerprint, overwrite_spacing_mm)
    section = plan_encoder(dataset_plan, fingerprint, spec, memory_target_gb, cache_dtype)
    old = _valid_still(path, dataset_plan)
    encoders = {**(old.encoders if old else {}), spec.id: section}
    plans = Plans(
        plans_name, dataset.name, dataset_plan, encoders, _unet(old, dataset_plan, fingerprint.label_channels)
    )
    plans.save(path)
    return plans


def plan_dataset(
    dataset: RawDataset, fingerprint: Fingerprint, overwrite_spacing_mm: Sequence[float] | None = None
) -> DatasetPlan:
    """Decide the grid and the intensities, by nnU-Net's rules for `3d_fullres`.

    Raises:
        UserError: unknown channel name, bad spacing.
    """
    if overwrite_spacing_mm is None:
        spacing_mm, spacing_reason = target_spacing(fingerprint.spacings_mm, fingerprint.shapes_after_crop)
    else:
        spacing_mm, spacing_reason = checked_spacing(overwrite_spacing_mm), "given by -overwrite_target_spacing"
    forward, backward = slice_axis_first(spacing_mm)
    new_shapes = [
        resampled_shape(shape, old, spacing_mm)
        for shape, old in zip(fingerprint.shapes_after_crop, fingerprint.spacings_mm, strict=True)
    ]
    median = np.median(new_shapes, axis=0)
    transposed_mm = reordered(spacing_mm, forward)
    ratio = transposed_mm[0] / max(transposed_mm[1:])
    schemes = schemes_of(dataset.channel_names)
    reader = choose_reader(dataset)
    relative = fingerprint.median_relative_size_after_cropping
    statistics = fingerprint.foreground_intensity_properties_per_channel
    return DatasetPlan(
        reader=reader,
        transpose_forward=forward,
        transpose_backward=backward,
        spacing_mm=transposed_mm,
        median_shape=reordered([round(size) for size in median], forward),
        anisotropic=ratio > ANISOTROPY,
        channel_names=tuple(dataset.channel_names),
        normalization=schemes,
        use_mask_for_norm=masks_for(schemes, relative),
        foreground_intensity=tuple(statistics.get(str(index), {}) for index in range(len(schemes))),
        reasons={
            "reader": f"dataset.json names {dataset.reader}"
            if dataset.reader
            else f"reads {dataset.file_ending} files",
            "transpose_forward": (
                f"axis {forward[0]} is the coarsest, or the first of equals, in the files' spacing of "
                f"{' x '.join(f'{value:g}' for value in spacing_mm)} mm, so it is the slice axis"
            ),
            "transpose_backward": f"the inverse of transpose_forward {forward}",
            "spacing_mm": spacing_reason,
            "median_shape": f"median of {len(new_shapes)} cases after crop and resampling",
            "anisotropic": f"slice spacing is {ratio:.3g} times the in-plane spacing; anisotropic above {ANISOTROPY:g}",
            "channel_names": f"the {len(schemes)} channel(s) of dataset.json",
            "normalization": "; ".join(
                f"channel '{name}' is {scheme}" for name, scheme in zip(dataset.channel_names, schemes, strict=True)
            ),
            "use_mask_for_norm": (
                f"the non-zero crop leaves {relative:.1%} of the median case; "
                f"z-score stays inside the mask below {MASKED_BELOW:.0%}"
            ),
            "foreground_intensity": _foreground_reason(schemes),
        },
    )


def plan_encoder(
    dataset_plan: DatasetPlan,
    fingerprint: Fingerprint,
    spec: EncoderSpec,
    memory_target_gb: float = DEFAULT_MEMORY_TARGET_GB,
    cache_dtype: str = cache_rules.DEFAULT_CACHE_DTYPE,
) -> EncoderPlan:
    """Decide one encoder's input, batch, cache and views, from image sizes and the encoder's own size alone.

    Raises:
        UserError: a memory target that is not above 0.
    """
    if not memory_target_gb > 0:
        raise UserError(
            "The memory target must be above 0 GB.", where="-gpu_memory_target", found=f"{memory_target_gb:g}"
        )
    embeddings = _plan_embeddings(dataset_plan, fingerprint, spec, memory_target_gb, cache_dtype)
    adapters = _plan_adapters(embeddings, dataset_plan, fingerprint, spec, memory_target_gb)
    patches = plan_patches_3d(dataset_plan, spec.size, fingerprint.label_channels, memory_target_gb)
    return replace(embeddings, hybrid=plan_hybrid(dataset_plan, embeddings), adapters=adapters, patches_3d=patches)


def _plan_embeddings(
    dataset_plan: DatasetPlan, fingerprint: Fingerprint, spec: EncoderSpec, memory_target_gb: float, cache_dtype: str
) -> EncoderPlan:
    """The section of embeddings; the others are left as they are by default."""
    shapes = plan_grid_shapes(dataset_plan, fingerprint)
    extent = rules.in_plane_extent(shapes)
    input_size, input_reason = rules.input_size_for(spec, extent)
    tile, tile_reason = rules.tile_for(extent, input_size)
    composition, composition_reason = rules.composition_for(
        dataset_plan.channel_names, dataset_plan.spacing_mm, dataset_plan.anisotropic, dataset_plan.median_shape[0]
    )
    alone = 1 if composition == "rgb" else len(dataset_plan.channel_names)
    memory = rules.head_memory(input_size, tile, EMBEDDING_CHANNELS * alone, fingerprint.label_channels)
    batch_size, batch_reason = rules.batch_size_for(memory, memory_target_gb)
    cache_bytes, cache_reason = cache_rules.cache_bytes_for(
        rules.tiles_of(shapes, tile), len(shapes), input_size, alone, cache_dtype)
    view_pictures, view_reason = cache_rules.view_pictures_for(spec.size, input_size, cache_dtype)
    return EncoderPlan(
        encoder=spec.id,
        input_size=input_size,
        tile_shape=tile,
        tile_step=rules.TILE_STEP,
        composition=composition,
        batch_size=batch_size,
        cache_dtype=cache_dtype,
        cache_bytes=cache_bytes,
        head_iterations=rules.HEAD_ITERATIONS,
        view_pictures=view_pictures,
        reasons={
            "encoder": f"{spec.size}, input normalised as for the {spec.family} family",
            "input_size": input_reason,
            "tile_shape": tile_reason,
            "tile_step": f"neighbouring tiles overlap by {1 - rules.TILE_STEP:.0%} or more, as nnU-Net's windows do",
            "composition": composition_reason,
            "batch_size": batch_reason,
            "cache_dtype": cache_rules.CACHE_DTYPES[cache_dtype],
            "cache_bytes": cache_reason,
            "head_iterations": f"{rules.HEAD_ITERATIONS} for every dataset: heads train within 3 minutes on 2 cores",
            "view_pictures": view_reason,
        },
    )


def _plan_adapters(
    embeddings: EncoderPlan,
    dataset_plan: DatasetPlan,
    fingerprint: Fingerprint,
    spec: EncoderSpec,
    memory_target_gb: float,
) -> AdapterPlan:
    tile, alone = embeddings.tile_shape, embeddings.channels_alone(dataset_plan)
    wanted_depth, depth_reason = rules.stack_depth_for(dataset_plan.median_shape[0])
    input_size, input_reason = rules.stack_input_size_for(embeddings.input_size, tile)
    numbers = AdapterNumbers(
        spec.size, rules.canvas_for(tile, input_size), max(tile), alone, fingerprint.label_channels
    )
    training, training_reason = plan_stack_training(numbers, wanted_depth, memory_target_gb)
    return AdapterPlan(
        slices=training.slices,
        input_size=input_size,
        batch_size=STACKS,
        micro_batch=training.micro_batch,
        checkpointed=training.checkpointed,
        training_bytes=training.total_bytes,
        reasons={
            "slices": depth_reason + (f"; fewer fit: {training_reason}" if training.slices < wanted_depth else ""),
            "input_size": input_reason,
            "batch_size": f"{STACKS} for every dataset: what a processor takes through an encoder in seconds",
            "micro_batch": training_reason,
            "checkpointed": training_reason,
            "training_bytes": "counted for one process in float32, see planning/adapter_memory.py",
        },
    )


def plan_grid_shapes(dataset_plan: DatasetPlan, fingerprint: Fingerprint) -> list[Shape]:
    """Voxels (z, y, x) of each case on the plan's grid: transposed, cropped, resampled."""
    forward = dataset_plan.transpose_forward
    return [
        resampled_shape(reordered(shape, forward), reordered(spacing, forward), dataset_plan.spacing_mm)
        for shape, spacing in zip(fingerprint.shapes_after_crop, fingerprint.spacings_mm, strict=True)
    ]


def _foreground_reason(schemes: Sequence[str]) -> str:
    if "ct" in schemes:
        return "CT is clipped and scaled by the foreground statistics of all labelled cases, as in nnU-Net"
    return "no channel is CT, and no other scheme may know the labels"


def _unet(old: Plans | None, dataset_plan: DatasetPlan, classes: int) -> UnetPlan:
    """The U-Net's section: that of `old` while it is of as many classes, else a new one."""
    if old is not None and old.unet is not None and old.unet.classes == classes:
        return old.unet
    return plan_unet(dataset_plan, classes, dimensions=2)


def _valid_still(path: Path, dataset_plan: DatasetPlan) -> Plans | None:
    """The plans in an existing file, if they are of the same dataset part."""
    if not path.exists():
        return None
    try:
        old = Plans.load(path)
    except UserError as fault:
        say(f"{path} is replaced: {fault.rule}")
        return None
    if replace(old.dataset, reasons={}) == replace(dataset_plan, reasons={}):
        return old
    say(f"{path}: the dataset part has changed; plan again for {', '.join(old.encoders)} where you use them.")
    return None
