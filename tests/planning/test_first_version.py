"""Plans files of version 1 stay readable: the same decisions, networks and digests as the version that wrote them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from samunet.errors import UserError
from samunet.planning.plans import AdapterPlan, Plans, digest_of_plan, digest_of_section
from samunet.planning.unet_rules import plan_unet
from samunet.planning.volume_rules import plan_hybrid, plan_volume

FIRST = """{"version": 1, "plans_name": "samunetPlans", "dataset_name": "Dataset004_Hippocampus",
"dataset": {"reader": "SimpleITKIO", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
"spacing_mm": [1.0, 1.0, 1.0],
"median_shape": [36, 50, 35], "anisotropic": false, "channel_names": ["MRI"], "normalization": ["zscore"],
"use_mask_for_norm": [false], "foreground_intensity": [{}], "reasons": {"spacing_mm": "median"}},
"encoders": {"mini-3": {"encoder": "mini-3", "input_size": 256, "tile_shape": [59, 43], "tile_step": 0.5,
"composition": "neighbours", "stack_depth": 5, "batch_size": 16, "cache_dtype": "float16", "cache_bytes": 943718400,
"head_iterations": 400, "view_pictures": 800, "stack_input_size": 128, "stacks": 2, "stacks_at_once": 2,
"checkpointed": false,
"stack_bytes": 1234567890,
"reasons": {"input_size": "native size of mini-3", "stack_depth": "5", "stack_bytes": "counted"}}}}"""
# What the version before sections computed for this file; run.json of its runs holds them.
DATASET_DIGEST = "c43be0d5895d9458ea7dc7c588f0329b601086a6bb64b69e557e3444eeca6b3b"
SECTION_DIGEST = "14fc82fb12d26a065ba36cbef199ba07eb3fb188fbfba63e014e3a9a78b5a4c0"
PLAN_DIGEST = "7dd681e19bd7512943efc1053cce6621399921543716c687b731cbb90ebe2405"
ADAPTERS_DIGEST = "111f5809a771d2bf8c04f480d8354ac07efb3896e99925e5ced5056f692537fc"


def load(folder: Path, content: dict[str, Any] | None = None) -> Plans:
    path = folder / "plans.json"
    path.write_text(FIRST if content is None else json.dumps(content))
    return Plans.load(path)


def digest(plans: Plans) -> str:
    return digest_of_plan(plans, plans.for_encoder("mini-3"))


def planned_again(plans: Plans) -> Plans:
    """The same decisions as the planner writes them today, with sections for `hybrid` and `unet`."""
    section = plans.for_encoder("mini-3")
    return replace(plans, unet=plan_unet(plans.dataset, 3, dimensions=2),
                   encoders={"mini-3": replace(section, hybrid=plan_hybrid(plans.dataset, section))})


def test_the_values_are_in_the_sections_that_they_serve(tmp_path: Path) -> None:
    plans = load(tmp_path)
    section = plans.for_encoder("mini-3")
    assert (section.input_size, section.tile_shape, section.batch_size) == (256, (59, 43), 16)
    assert section.adapters == AdapterPlan(
        5, 128, 2, 2, False, 1234567890, {"slices": "5", "training_bytes": "counted"}
    )
    assert section.reasons == {"input_size": "native size of mini-3"}
    assert plans.unet is None and section.hybrid is None


def test_digests_are_those_that_runs_of_before_hold(tmp_path: Path) -> None:
    plans = load(tmp_path)
    assert digest_of_section(plans.dataset) == DATASET_DIGEST
    assert digest_of_section(plans.for_encoder("mini-3")) == SECTION_DIGEST
    assert digest(plans) == PLAN_DIGEST
    assert digest(plans.of_adapters("mini-3")) == ADAPTERS_DIGEST


def test_the_volumes_are_those_that_were_computed_in_each_run(tmp_path: Path) -> None:
    plans = load(tmp_path)
    volume = plan_volume(plans.dataset, plans.for_encoder("mini-3"))
    assert (volume.shape, volume.padded, volume.cells) == ((24, 59, 43), (24, 64, 48), (6, 16, 12))
    assert volume.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2)) and volume.kernels == ((3, 3, 3),) * 4


def test_runs_of_before_stay_valid_when_the_dataset_is_planned_again(tmp_path: Path) -> None:
    again = planned_again(load(tmp_path))
    again.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["version"] == 2
    assert Plans.load(tmp_path / "again.json") == again
    assert digest(again) == PLAN_DIGEST


def test_another_depth_or_patch_is_another_plan(tmp_path: Path) -> None:
    again = planned_again(load(tmp_path))
    section, unet = again.for_encoder("mini-3"), again.unet
    assert section.hybrid is not None and unet is not None
    deeper = replace(again, encoders={"mini-3": replace(section, hybrid=replace(section.hybrid, depth=12))})
    smaller = replace(again, unet=replace(unet, patch=(48, 40)))
    assert len({PLAN_DIGEST, digest(deeper), digest(smaller)}) == 3
    assert plan_volume(deeper.dataset, deeper.for_encoder("mini-3")).shape == (12, 59, 43)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("stack_depth", 0, "$.encoders.mini-3.stack_depth"),
        ("stacks", "2", "$.encoders.mini-3.stacks"),
        ("more", 1, "unknown: more"),
        ("stack_depth", 4, "odd number"),
    ],
)
def test_a_wrong_value_is_named_by_its_place_in_the_file(tmp_path: Path, key: str, value: Any, found: str) -> None:
    content = json.loads(FIRST)
    content["encoders"]["mini-3"][key] = value
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    assert found in str(caught.value)
