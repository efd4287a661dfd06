"""Plans by hand: what they answer, and every wrong value that a plans file can hold."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from samunet.errors import UserError
from samunet.planning.plans import (
    DatasetPlan,
    EncoderPlan,
    HybridPlan,
    Patch3dPlan,
    Plans,
    UnetPlan,
    digest_of_section,
    require_plans_name,
)

CT = {"mean": 40.0, "std": 25.0, "percentile_00_5": -80.0, "percentile_99_5": 140.0}
DATASET = DatasetPlan("SimpleITKIO", (1, 0, 2), (1, 0, 2), (3.0, 1.0, 1.0), (2, 2, 2), False, ("CT", "MRI"),
                      ("ct", "zscore"),
                      (False, True), (CT, {}), {"reader": "reads .nii.gz files"})
HYBRID = HybridPlan(2, ((1, 1, 1), (1, 2, 2)), ((1, 3, 3), (3, 3, 3)), {"depth": "given"})
UNET = UnetPlan((8, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (32, 64), 12, 3)
PATCHES = Patch3dPlan((4, 8, 8), (2, 4, 4), 1, False, 10**9, {"token": "given"})
SECTION = EncoderPlan("mini-3", 64, (8, 8), 0.5, "repeat", 2, "float16", 0, 1, hybrid=HYBRID, patches_3d=PATCHES)
PLANS = Plans("tiny", "Dataset005_Made", DATASET, {"mini-3": SECTION}, UNET)


def saved(folder: Path, **changes: Any) -> dict[str, Any]:
    """The content of a sound plans file."""
    PLANS.save(folder / "sound.json")
    return {**json.loads((folder / "sound.json").read_text()), **changes}


def load(folder: Path, content: Any) -> Plans:
    path = folder / "tiny.json"
    path.write_text(json.dumps(content))
    return Plans.load(path)


def changed(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """`content` with `value` at the dotted `place`."""
    content = copy.deepcopy(content)
    *folders, last = place.split("/")
    part = content
    for each in folders:
        part = part[each]
    part[last] = value
    return content


def test_an_encoder_that_was_not_planned_for_is_told_without_an_id_as_a_flag() -> None:
    assert PLANS.for_encoder("mini-3") == SECTION
    with pytest.raises(UserError, match="'own-1a2b3c4d'") as caught:
        PLANS.for_encoder("own-1a2b3c4d")
    # --encoder takes a file's path, and refuses its id.
    assert (caught.value.found, caught.value.mend) == ("mini-3",
                                                       "Run samunet_plan_and_preprocess with the same --encoder.")


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    assert load(tmp_path, saved(tmp_path)) == PLANS


def test_a_spacing_of_whole_numbers_keeps_its_digest(tmp_path: Path) -> None:
    # By hand a person writes 3, not 3.0; arrays and models are signed with the digest of what the file has.
    by_hand = load(tmp_path, changed(saved(tmp_path), "dataset/spacing_mm", [3, 1, 1]))
    assert digest_of_section(by_hand.dataset) != digest_of_section(DATASET)
    assert json.dumps(by_hand.dataset.spacing_mm) == "[3, 1, 1]"


@pytest.mark.parametrize("content", [[], None, "plans", {}, {"version": 3}, {"version": [1]}, {"version": True}])
def test_a_file_of_another_version_or_shape_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(UserError, match="must be of version 1 or 2"):
        load(tmp_path, content)


DAMAGES = [
    # types and ranges
    ("plans_name", 3, "$.plans_name"),
    ("dataset", [], "$.dataset"),
    ("dataset", None, "$.dataset"),
    ("encoders", [], "$.encoders"),
    ("encoders/mini-3", "mini", "$.encoders.mini-3"),
    ("dataset/spacing_mm", ["a", "b", "c"], "$.dataset.spacing_mm[0]"),
    ("dataset/spacing_mm", [1.0, 1.0], "$.dataset.spacing_mm"),
    ("dataset/spacing_mm", [1.0, 10**400, 1.0], "$.dataset.spacing_mm[1]"),
    ("dataset/spacing_mm", [1.0, float("nan"), 1.0], "$.dataset.spacing_mm[1]"),
    ("dataset/median_shape", [0, 2, 2], "$.dataset.median_shape[0]"),
    ("dataset/transpose_forward", [0, 1, 3], "$.dataset.transpose_forward[2]"),
    ("dataset/anisotropic", "no", "$.dataset.anisotropic"),
    ("dataset/channel_names", "CT", "$.dataset.channel_names"),
    ("dataset/use_mask_for_norm", [0, 1], "$.dataset.use_mask_for_norm[0]"),
    ("dataset/foreground_intensity", [CT, None], "$.dataset.foreground_intensity[1]"),
    ("dataset/reasons", {"reader": 3}, "$.dataset.reasons.reader"),
    ("encoders/mini-3/embeddings/input_size", "256", "$.encoders.mini-3.embeddings.input_size"),
    ("encoders/mini-3/embeddings/input_size", 100, "$.encoders.mini-3.embeddings.input_size"),
    ("encoders/mini-3/embeddings/input_size", 10**400, "$.encoders.mini-3.embeddings.input_size"),
    ("encoders/mini-3/adapters/input_size", 0, "$.encoders.mini-3.adapters.input_size"),
    ("encoders/mini-3/embeddings/tile_shape", [51], "$.encoders.mini-3.embeddings.tile_shape"),
    ("encoders/mini-3/embeddings/tile_shape", [51, 0], "$.encoders.mini-3.embeddings.tile_shape[1]"),
    ("encoders/mini-3/embeddings/tile_step", 0, "$.encoders.mini-3.embeddings.tile_step"),
    ("encoders/mini-3/embeddings/tile_step", 1.5, "$.encoders.mini-3.embeddings.tile_step"),
    ("encoders/mini-3/embeddings/batch_size", 0, "$.encoders.mini-3.embeddings.batch_size"),
    ("encoders/mini-3/embeddings/batch_size", 2.5, "$.encoders.mini-3.embeddings.batch_size"),
    ("encoders/mini-3/embeddings/cache_bytes", -1, "$.encoders.mini-3.embeddings.cache_bytes"),
    ("encoders/mini-3/embeddings/head_iterations", 0, "$.encoders.mini-3.embeddings.head_iterations"),
    ("encoders/mini-3/embeddings/view_pictures", -100, "$.encoders.mini-3.embeddings.view_pictures"),
    ("encoders/mini-3/adapters/batch_size", 0, "$.encoders.mini-3.adapters.batch_size"),
    ("encoders/mini-3/adapters/checkpointed", 1, "$.encoders.mini-3.adapters.checkpointed"),
    ("encoders/mini-3/adapters/training_bytes", None, "$.encoders.mini-3.adapters.training_bytes"),
    ("encoders/mini-3/hybrid/depth", 0, "$.encoders.mini-3.hybrid.depth"),
    ("encoders/mini-3/hybrid/strides", [[1, 1]], "$.encoders.mini-3.hybrid.strides[0]"),
    ("encoders/mini-3/hybrid/strides", [[1, 1, 1], [1, 2, 9]], "$.encoders.mini-3.hybrid.strides[1][2]"),
    ("encoders/mini-3/patches_3d/token", [2, 4, 17], "$.encoders.mini-3.patches_3d.token[2]"),
    ("encoders/mini-3/patches_3d/shape", [4, 8], "$.encoders.mini-3.patches_3d.shape"),
    ("encoders/mini-3/patches_3d/checkpointed", "no", "$.encoders.mini-3.patches_3d.checkpointed"),
    ("unet", [], "$.unet"),
    ("unet/widths", [32, "64"], "$.unet.widths[1]"),
    ("unet/batch_size", 0, "$.unet.batch_size"),
    # keys
    ("unet/more", 1, "unknown: more"),
    ("encoders/mini-3/more", 1, "unknown: more"),
    ("encoders/mini-3/hybrid/more", 1, "unknown: more"),
    ("more", 1, "unknown: more"),
    ("dataset/more", 1, "unknown: more"),
    ("encoders/mini-3/embeddings/more", 1, "unknown: more"),
    # relations
    ("plans_name", "../elsewhere", "plans_name"),
    ("plans_name", "", "plans_name"),
    ("dataset_name", "/tmp", "dataset_name"),
    ("dataset/reader", "SnapIO", "dataset.reader"),
    ("dataset/transpose_forward", [0, 0, 1], "dataset.transpose_forward"),
    ("dataset/transpose_backward", [0, 1, 2], "dataset.transpose_backward"),
    ("dataset/spacing_mm", [0, 1, 1], "dataset.spacing_mm"),
    ("dataset/spacing_mm", [-1, 1, 1], "dataset.spacing_mm"),
    ("dataset/spacing_mm", [20000, 1, 1], "dataset.spacing_mm"),
    ("dataset/channel_names", [], "There must be a channel"),
    ("dataset/normalization", [], "0 in normalization"),
    ("dataset/use_mask_for_norm", [True], "1 in use_mask_for_norm"),
    ("dataset/foreground_intensity", [CT], "1 in foreground_intensity"),
    ("dataset/normalization", ["ct", "evil"], "evil"),
    ("dataset/foreground_intensity", [{}, {}], "foreground_intensity, channel 0"),
    ("dataset/foreground_intensity", [{**CT, "std": -1}, {}], "foreground_intensity, channel 0"),
    ("dataset/foreground_intensity", [{**CT, "percentile_00_5": 141}, {}], "foreground_intensity, channel 0"),
    ("encoders/mini-3/embeddings/encoder", "vit_b", "encoders.mini-3.embeddings.encoder"),
    ("encoders/mini-3/embeddings/composition", "colour", "encoders.mini-3.embeddings.composition"),
    ("encoders/mini-3/embeddings/composition", "rgb", "2 channels"),
    ("encoders/mini-3/adapters/slices", 4, "encoders.mini-3.adapters.slices"),
    ("encoders/mini-3/adapters/micro_batch", 3, "encoders.mini-3.adapters.micro_batch"),
    ("encoders/mini-3/embeddings/cache_dtype", "float8", "one of float16, int8"),
    ("encoders/mini-3/patches_3d/more", 1, "unknown: more"),
    ("encoders/mini-3/patches_3d/shape", [4, 8, 9], "[4, 8, 9], tokens of [2, 4, 4]"),
    ("encoders/mini-3/patches_3d/shape", [2**19, 1024, 1024], "at most 262144 tokens"),
    ("encoders/mini-3/hybrid/strides", [[1, 1, 1]], "1 strides, 2 kernels"),
    ("encoders/mini-3/hybrid/strides", [], "1 to 6 stages"),
    ("encoders/mini-3/hybrid/strides", [[1, 2, 2], [1, 2, 2]], "encoders.mini-3.hybrid.strides"),
    ("encoders/mini-3/hybrid/kernels", [[1, 3, 2], [3, 3, 3]], "odd sides"),
    ("unet/patch", [9, 8], "[9, 8], strides of [2, 2] in all"),
    ("unet/patch", [8, 8, 8], "rows and columns"),
    ("unet/widths", [32], "1 for 2 stages"),
    ("unet/kernels", [[3, 3], [3, 3, 3]], "2 axes"),
]


@pytest.mark.parametrize(("place", "value", "told"), DAMAGES,
                         ids=[f"{place}={str(value)[:20]}" for place, value, _ in DAMAGES])
def test_a_wrong_value_is_named_with_file_and_field(tmp_path: Path, place: str, value: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, changed(saved(tmp_path), place, value))
    assert told in str(caught.value)
    assert str(tmp_path / "tiny.json") in str(caught.value)


@pytest.mark.parametrize("place", ["dataset", "dataset_name", "dataset/reader", "encoders/mini-3/embeddings/tile_step",
                                   "encoders/mini-3/adapters/batch_size"])
def test_a_key_that_is_missing_is_named(tmp_path: Path, place: str) -> None:
    content = saved(tmp_path)
    *folders, last = place.split("/")
    part = content
    for each in folders:
        part = part[each]
    del part[last]
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    assert last in caught.value.found


def test_all_faults_of_a_kind_are_told_together(tmp_path: Path) -> None:
    content = changed(saved(tmp_path), "dataset/median_shape", [0, 2, 2])
    content = changed(content, "encoders/mini-3/embeddings/tile_step", 0)
    content = changed(content, "encoders/mini-3/embeddings/batch_size", "2")
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    assert caught.value.found == (
        "Expected `int` >= 1 - at `$.dataset.median_shape[0]`, of [0, 2, 2]; "
        "Expected `float` >= 0.01 - at `$.encoders.mini-3.embeddings.tile_step`, of 0; "
        "Expected `int`, got `str` - at `$.encoders.mini-3.embeddings.batch_size`, of '2'")
    content = changed(changed(saved(tmp_path), "dataset/reader", "SnapIO"), "encoders/mini-3/adapters/slices", 4)
    with pytest.raises(UserError, match="(?s)2 problems.*SnapIO.*odd number.*found: 4"):
        load(tmp_path, content)


def test_the_slice_spacing_of_2d_data_is_no_distance(tmp_path: Path) -> None:
    # 999 times the pixels' 100 mm, nnU-Net's convention.
    content = changed(saved(tmp_path), "dataset/spacing_mm", [99900.0, 100.0, 100.0])
    content = changed(content, "dataset/median_shape", [1, 20, 20])
    assert load(tmp_path, content).dataset.spacing_mm == (99900.0, 100.0, 100.0)


@pytest.mark.parametrize("name", ["a\0b", "p" * 101])
def test_a_plans_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="at most 100 bytes"):
        require_plans_name(name)
    require_plans_name("p" * 100)
