"""What must hold between the values of a plans file; their types and ranges are stated where they are declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.dataset.geometry import SLICE_SPACING_2D
from samunet.dataset.grid_checks import MAX_SPACING_MM, MIN_SPACING_MM
from samunet.dataset.io.readers import reader_names
from samunet.errors import UserError
from samunet.planning.cache_rules import CACHE_DTYPES
from samunet.planning.normalization_rules import SCHEMES

if TYPE_CHECKING:
    from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans

COMPOSITIONS = ("neighbours", "repeat", "rgb")
CT_STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
MEND = "Correct what was changed by hand, or run samunet_plan_experiment again."


def name_problems(plans: Plans, path: Path) -> list[UserError]:
    """Names that folders are made of must be plain."""
    names = {"plans_name": plans.plans_name, "dataset_name": plans.dataset_name}
    return [UserError("A name in a plans file must be one plain file name.", where=f"{path}, {key}", found=repr(name)[:80], mend=MEND)
            for key, name in names.items() if not is_plain(name)]


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
        (plan.reader in reader_names(), "reader", f"The reader must be one of {', '.join(reader_names())}.", plan.reader),
        (is_order, "transpose_forward", "The transpose must name each of the axes 0, 1 and 2 once.", forward),
        (not is_order or all(backward[axis] == place for place, axis in enumerate(forward)), "transpose_backward",
         "transpose_backward must undo transpose_forward.", f"{list(backward)} after {list(forward)}"),
        (all(MIN_SPACING_MM <= value <= most for value, most in zip(plan.spacing_mm, largest, strict=True)), "spacing_mm",
         f"A spacing must be from {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm.", plan.spacing_mm),
        (channels > 0, "channel_names", "There must be a channel.", plan.channel_names),
        (not wrong_lengths, "channel_names", f"Every channel must have its normalization, mask and intensities: {channels} of each.",
         ", ".join(wrong_lengths)),
        (not unknown, "normalization", f"A normalization must be one of {', '.join(SCHEMES)}.", ", ".join(unknown)),
        *((_knows_ct(figures), f"foreground_intensity, channel {channel}",
           f"CT needs the figures {', '.join(CT_STATISTICS)}; the first percentile lies under the second, and std is not negative.",
           dict(figures)) for channel, (scheme, figures) in enumerate(zip(plan.normalization, plan.foreground_intensity, strict=False))
          if scheme == "ct"),
    ]
    return _broken(rules, where)


def encoder_problems(plan: EncoderPlan, name: str, dataset: DatasetPlan, where: str) -> list[UserError]:
    """What contradicts itself, or the dataset part, in the section of encoder id `name`."""
    rules = [
        (plan.encoder == name, "encoder", "A section must be of the encoder under whose id it stands.", plan.encoder),
        (plan.composition in COMPOSITIONS, "composition", f"The composition must be one of {', '.join(COMPOSITIONS)}.", plan.composition),
        (plan.composition != "rgb" or len(dataset.channel_names) == 3, "composition", "Composition `rgb` needs three channels.",
         f"{len(dataset.channel_names)} channels"),
        (plan.stack_depth % 2 == 1, "stack_depth", "A stack must have an odd number of slices.", plan.stack_depth),
        (plan.stacks_at_once <= plan.stacks, "stacks_at_once", f"At most all {plan.stacks} stacks can go through the network at once.",
         plan.stacks_at_once),
        (plan.cache_dtype in CACHE_DTYPES, "cache_dtype", f"The number type must be one of {', '.join(CACHE_DTYPES)}.", plan.cache_dtype),
    ]
    return _broken(rules, where)


def _knows_ct(figures: Mapping[str, float]) -> bool:
    return (figures.keys() >= {*CT_STATISTICS} and figures["std"] >= 0
            and figures["percentile_00_5"] <= figures["percentile_99_5"])


def _broken(rules: Sequence[tuple[bool, str, str, object]], where: str) -> list[UserError]:
    return [UserError(rule, where=f"{where}.{field}", found=str(found)[:200], mend=MEND)
            for kept, field, rule, found in rules if not kept]
