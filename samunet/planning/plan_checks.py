"""What must hold between the values of a plans file; their types and ranges are stated where they are declared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.dataset.geometry import SLICE_SPACING_2D
from samunet.dataset.grid_checks import MAX_SPACING_MM, MIN_SPACING_MM
from samunet.dataset.io.readers import reader_names
from samunet.errors import UserError
from samunet.planning.cache_rules import CACHE_DTYPES
from samunet.planning.normalization_rules import SCHEMES
from samunet.planning.sections import (
    HYBRID_STAGES,
    DatasetPlan,
    EncoderPlan,
    HybridPlan,
    Patch3dPlan,
    UnetPlan,
    VoxelsPlan,
)

if TYPE_CHECKING:
    from samunet.planning.plans import Plans

COMPOSITIONS = ("neighbours", "repeat", "rgb")
MOST_TOKENS = 2**18  # of a 3D patch, eight times those of 3DSAM-adapter's
CT_STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
MEND = "Correct what was changed by hand, or run samunet_plan_experiment again."


def name_problems(plans: Plans, path: Path) -> list[UserError]:
    """Names that folders are made of must be plain."""
    names = {"plans_name": plans.plans_name, "dataset_name": plans.dataset_name}
    return [
        UserError(
            "A name in a plans file must be one plain file name.",
            where=f"{path}, {key}",
            found=repr(name)[:80],
            mend=MEND,
        )
        for key, name in names.items()
        if not is_plain(name)
    ]


def is_plain(name: str) -> bool:
    """Whether `name` is one file name that is not hidden, with nothing by which a path leaves its folder."""
    return bool(name) and not name.startswith(".") and not any(each in name for each in "/\\\0") and len(name) <= 200


def dataset_problems(plan: DatasetPlan, where: str) -> list[UserError]:
    """What contradicts itself in the dataset part."""
    forward, backward = plan.transpose_forward, plan.transpose_backward
    is_order = sorted(forward) == [0, 1, 2]
    channels = len(plan.channel_names)
    lengths = {key: len(getattr(plan, key)) for key in ("normalization", "use_mask_for_norm", "foreground_intensity")}
    wrong_lengths = [f"{count} in {key}" for key, count in lengths.items() if count != channels]
    unknown = [scheme for scheme in plan.normalization if scheme not in SCHEMES]
    # The slice spacing of 2D data is no distance.
    largest = (MAX_SPACING_MM * (SLICE_SPACING_2D if plan.median_shape[0] == 1 else 1), MAX_SPACING_MM, MAX_SPACING_MM)
    rules = [
        (
            plan.reader in reader_names(),
            "reader",
            f"The reader must be one of {', '.join(reader_names())}.",
            plan.reader,
        ),
        (is_order, "transpose_forward", "The transpose must name each of the axes 0, 1 and 2 once.", forward),
        (
            not is_order or all(backward[axis] == place for place, axis in enumerate(forward)),
            "transpose_backward",
            "transpose_backward must undo transpose_forward.",
            f"{list(backward)} after {list(forward)}",
        ),
        (
            all(MIN_SPACING_MM <= value <= most for value, most in zip(plan.spacing_mm, largest, strict=True)),
            "spacing_mm",
            f"A spacing must be from {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm.",
            plan.spacing_mm,
        ),
        (channels > 0, "channel_names", "There must be a channel.", plan.channel_names),
        (
            not wrong_lengths,
            "channel_names",
            f"Every channel must have its normalization, mask and intensities: {channels} of each.",
            ", ".join(wrong_lengths),
        ),
        (not unknown, "normalization", f"A normalization must be one of {', '.join(SCHEMES)}.", ", ".join(unknown)),
        *(
            (
                _knows_ct(figures),
                f"foreground_intensity, channel {channel}",
                f"CT needs the figures {', '.join(CT_STATISTICS)}; percentiles in order, std not negative.",
                dict(figures),
            )
            for channel, (scheme, figures) in enumerate(
                zip(plan.normalization, plan.foreground_intensity, strict=False)
            )
            if scheme == "ct"
        ),
    ]
    return _broken(rules, where)


def encoder_problems(plan: EncoderPlan, name: str, dataset: DatasetPlan, where: str) -> list[UserError]:
    """What contradicts itself, or the dataset part, in the sections of encoder id `name`."""
    adapters = plan.adapters
    embeddings = [
        (plan.encoder == name, "encoder", "A section must be of the encoder under whose id it stands.", plan.encoder),
        (
            plan.composition in COMPOSITIONS,
            "composition",
            f"The composition must be one of {', '.join(COMPOSITIONS)}.",
            plan.composition,
        ),
        (
            plan.composition != "rgb" or len(dataset.channel_names) == 3,
            "composition",
            "Composition `rgb` needs three channels.",
            f"{len(dataset.channel_names)} channels",
        ),
        (
            plan.cache_dtype in CACHE_DTYPES,
            "cache_dtype",
            f"The number type must be one of {', '.join(CACHE_DTYPES)}.",
            plan.cache_dtype,
        ),
    ]
    of_adapters = [
        (adapters.slices % 2 == 1, "slices", "An image stack must have an odd number of slices.", adapters.slices),
        (adapters.micro_batch <= adapters.batch_size, "micro_batch",
         f"At most all {adapters.batch_size} stacks can go through the network at once.", adapters.micro_batch),
    ]
    problems = _broken(embeddings, f"{where}.embeddings") + _broken(of_adapters, f"{where}.adapters")
    if plan.hybrid is not None:
        problems += _broken(_hybrid_rules(plan.hybrid), f"{where}.hybrid")
        if plan.hybrid.voxels is not None:
            problems += _broken(_hybrid_rules(plan.hybrid.voxels), f"{where}.hybrid.voxels")
    return problems + ([] if plan.patches_3d is None else _patch_problems(plan.patches_3d, f"{where}.patches_3d"))


def _hybrid_rules(plan: HybridPlan | VoxelsPlan) -> list[tuple[bool, str, str, object]]:
    stages = len(plan.strides)
    return [
        (1 <= stages <= HYBRID_STAGES, "strides", f"The network must have 1 to {HYBRID_STAGES} stages.", stages),
        *_stage_rules(plan.strides, plan.kernels, 3),
    ]


def _patch_problems(plan: Patch3dPlan, where: str) -> list[UserError]:
    return _broken([
        (all(side % part == 0 for side, part in zip(plan.shape, plan.token, strict=True)), "shape",
         "Tokens must divide the patch.", f"{list(plan.shape)}, tokens of {list(plan.token)}"),
        (math.prod(plan.shape) <= MOST_TOKENS * math.prod(plan.token), "shape",
         f"A patch must have at most {MOST_TOKENS} tokens.", f"{list(plan.shape)}, tokens of {list(plan.token)}"),
    ], where)


def unet_problems(plan: UnetPlan, where: str) -> list[UserError]:
    """What contradicts itself in the section of the plain U-Net."""
    divisors = [math.prod(stride[axis] for stride in plan.strides if len(stride) == 2) for axis in range(2)]
    return _broken([
        (len(plan.patch) == 2, "patch", "A patch must have rows and columns.", plan.patch),
        (len(plan.strides) >= 1, "strides", "The network must have a stage.", len(plan.strides)),
        (len(plan.widths) == len(plan.strides), "widths", "Every stage must have a width.",
         f"{len(plan.widths)} for {len(plan.strides)} stages"),
        *_stage_rules(plan.strides, plan.kernels, 2),
        (all(side % by == 0 for side, by in zip(plan.patch, divisors, strict=False)), "patch",
         "The strides must divide the patch.", f"{list(plan.patch)}, strides of {divisors} in all"),
    ], where)


def _stage_rules(
    strides: Sequence[Sequence[int]], kernels: Sequence[Sequence[int]], axes: int
) -> list[tuple[bool, str, str, object]]:
    return [
        (
            all(len(each) == axes for each in (*strides, *kernels)),
            "strides",
            f"Strides and kernels must have {axes} axes.",
            f"{strides}, {kernels}",
        ),
        (
            len(strides) == len(kernels),
            "kernels",
            "Every stage must have a stride and a kernel.",
            f"{len(strides)} strides, {len(kernels)} kernels",
        ),
        (
            not strides or all(step == 1 for step in strides[0]),
            "strides",
            "The first stage must have strides of 1.",
            strides[:1],
        ),
        (
            all(size % 2 == 1 for kernel in kernels for size in kernel),
            "kernels",
            "A kernel must have odd sides.",
            kernels,
        ),
    ]


def _knows_ct(figures: Mapping[str, float]) -> bool:
    return (figures.keys() >= {*CT_STATISTICS} and figures["std"] >= 0
            and figures["percentile_00_5"] <= figures["percentile_99_5"])


def _broken(rules: Sequence[tuple[bool, str, str, object]], where: str) -> list[UserError]:
    return [UserError(rule, where=f"{where}.{field}", found=str(found)[:200], mend=MEND)
            for kept, field, rule, found in rules if not kept]
