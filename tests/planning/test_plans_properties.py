"""Whatever a plans file holds: it loads to plans that can be followed, or a UserError names the file.

Sound plans come back as they were.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from json_values import REPEATED, VALUES, changed

from samunet.errors import UserError
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan, HybridPlan, Plans
from samunet.planning.plans_file import content_of
from samunet.planning.unet_rules import plan_unet

DATASET = DatasetPlan("SimpleITKIO", (1, 0, 2), (1, 0, 2), (2.0, 1.2, 1.0), (6, 20, 18), True, ("MRI",), ("zscore",),
                      (False,), ({},), {"spacing_mm": "median"})
SECTION = EncoderPlan("mini-3", 64, (20, 18), 0.5, "neighbours", 2, "float16", 1000, 100,
                      reasons={"input_size": "given"},
                      hybrid=HybridPlan(6, ((1, 1, 1), (1, 2, 2)), ((1, 3, 3), (3, 3, 3))), adapters=AdapterPlan(5))
PLANS = Plans("tiny", "Dataset005_Tiny", DATASET, {"mini-3": SECTION}, plan_unet(DATASET, 2, dimensions=2))


def content(plans: Plans) -> dict:
    return json.loads(json.dumps(content_of(plans.plans_name, plans.dataset_name, plans.dataset, plans.unet,
                                            plans.encoders)))


def check(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
    try:
        plans = Plans.load(path)
    except UserError as fault:
        assert str(path) in str(fault)
        return
    plan = plans.dataset
    assert isinstance(plans.plans_name, str) and isinstance(plans.dataset_name, str)
    assert sorted(plan.transpose_forward) == [0, 1, 2] and [plan.transpose_forward[axis]
                                                            for axis in plan.transpose_backward] == [0, 1, 2]
    assert len(plan.spacing_mm) == 3 and all(math.isfinite(value) and value > 0 for value in plan.spacing_mm)
    assert len(plan.median_shape) == 3 and all(type(size) is int and size > 0 for size in plan.median_shape)
    assert 1 <= len(plan.channel_names) == len(plan.normalization) == len(plan.use_mask_for_norm)
    for name, section in plans.encoders.items():
        assert isinstance(name, str) and type(section.input_size) is int
        assert section.input_size > 0 and section.input_size % 16 == 0
        assert len(section.tile_shape) == 2 and all(type(side) is int and side > 0 for side in section.tile_shape)
        assert 0 < section.tile_step <= 1 and section.composition in ("neighbours", "repeat", "rgb")
        assert all(type(value) is int and value >= 1
                   for value in (section.adapters.slices, section.batch_size, section.adapters.batch_size,
                                 section.adapters.micro_batch))
        assert section.cache_dtype in ("float16", "int8")


@REPEATED
@given(content=changed(content(PLANS)))
def test_a_changed_plans_file_is_refused_or_can_be_followed(tmp_path: Path, content: object) -> None:
    check(tmp_path / "plans.json", content)


@REPEATED
@given(content=VALUES)
def test_any_json_is_refused(tmp_path: Path, content: object) -> None:
    check(tmp_path / "plans.json", content)


SPACING = st.floats(1e-3, 1e3, allow_nan=False)
AXES = st.permutations([0, 1, 2]).map(tuple)


@REPEATED
@given(axes=AXES, spacing=st.tuples(SPACING, SPACING, SPACING), shape=st.tuples(*[st.integers(1, 512)] * 3),
       tile=st.tuples(*[st.integers(1, 512)] * 2),
       step=st.floats(0.1, 1), size=st.integers(4, 64).map(lambda count: 16 * count),
       kind=st.sampled_from(["neighbours", "repeat"]),
       dtype=st.sampled_from(["float16", "int8"]), channels=st.integers(1, 4), anisotropic=st.booleans())
def test_sound_plans_come_back_as_they_were(
    tmp_path: Path, axes, spacing, shape, tile, step, size, kind, dtype, channels, anisotropic
) -> None:
    back = tuple(axes.index(axis) for axis in range(3))
    dataset = replace(DATASET, transpose_forward=axes, transpose_backward=back, spacing_mm=spacing, median_shape=shape,
                      anisotropic=anisotropic,
                      channel_names=("MRI",) * channels, normalization=("zscore",) * channels,
                      use_mask_for_norm=(False,) * channels,
                      foreground_intensity=({},) * channels)
    section = replace(SECTION, input_size=size, tile_shape=tile, tile_step=step, composition=kind, cache_dtype=dtype)
    plans = replace(PLANS, dataset=dataset, encoders={"mini-3": section})
    plans.save(tmp_path / "plans.json")
    assert Plans.load(tmp_path / "plans.json") == plans
