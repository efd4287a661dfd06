from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.dataset import RawCase, RawDataset
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.encoder_spec import EncoderSpec
from samunet.planning.fingerprint import Fingerprint
from samunet.planning.planner import plan_dataset, plan_encoder, plan_experiment, plan_grid_shapes
from samunet.planning.plans import Plans
from samunet.planning.sections import (
    AdapterPlan,
    DatasetPlan,
    EmbeddingsPlan,
    HybridPlan,
    Patch3dPlan,
    UnetPlan,
)
from samunet.planning.unet_rules import plan_unet

MINI = EncoderSpec("untrained", "mini", "mini", 256)
VIT_B = EncoderSpec("vit_b", "vit_b", "sam", 1024)
CT_STATISTICS = {
    "mean": 99.5,
    "median": 101.0,
    "std": 39.4,
    "min": -1024.0,
    "max": 3071.0,
    "percentile_99_5": 215.0,
    "percentile_00_5": -17.0,
}


@dataclass(frozen=True)
class Made:
    """A constructed fingerprint. Spacings and shapes vary about these by +-20 % and +-10 %."""

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    channels: tuple[str, ...]
    cases: int = 9
    relative_size: float = 1.0
    ending: str = ".nii.gz"
    reader: str = "SimpleITKIO"
    even: bool = False

    def fingerprint(self) -> Fingerprint:
        generator = np.random.default_rng(3)
        spread = 0.0 if self.even else 1.0
        spacings = self.spacing_mm * (1 + spread * generator.uniform(-0.2, 0.2, (self.cases, 3)))
        shapes = np.maximum((self.shape * (1 + spread * generator.uniform(-0.1, 0.1, (self.cases, 3)))).astype(int), 1)
        if self.ending == ".png":
            spacings[:], shapes[:, 0] = self.spacing_mm, 1
        statistics = {str(index): CT_STATISTICS for index, name in enumerate(self.channels) if name == "CT"}
        return Fingerprint(
            tuple(map(tuple, spacings.tolist())),
            tuple(map(tuple, shapes.tolist())),
            self.relative_size,
            statistics,
            3,
            "digest",
        )

    def dataset(self, folder: Path) -> RawDataset:
        names = [f"case_{index}" for index in range(self.cases)]
        content = {
            "channel_names": {str(index): name for index, name in enumerate(self.channels)},
            "labels": {"background": 0, "one": 1, "two": 2},
            "numTraining": self.cases,
            "file_ending": self.ending,
            "overwrite_image_reader_writer": self.reader,
        }
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        cases = []
        for name in names:
            images = tuple(
                folder / "imagesTr" / f"{name}_{channel:04d}{self.ending}" for channel in range(len(self.channels))
            )
            label = folder / "labelsTr" / f"{name}{self.ending}"
            for path in (*images, label):
                path.touch()
            cases.append(RawCase(name, images, label))
        (folder / "dataset.json").write_text(json.dumps(content))
        return RawDataset(
            folder,
            folder.name,
            LabelSpace.from_dataset_json(content),
            self.channels,
            self.ending,
            self.reader,
            tuple(cases),
            frozenset(),
            content,
        )


MADE = {
    "isotropic": Made((1.0, 1.0, 1.0), (36, 50, 35), ("MRI",)),
    # Slices lie along the last axis of the files, so the transpose is not the identity.
    "anisotropic": Made((1.5, 1.5, 10.0), (220, 250, 9), ("T1", "T2"), relative_size=0.6),
    "rgb": Made((999.0, 1.0, 1.0), (1, 300, 400), ("rgb_to_0_1",) * 3, ending=".png", reader="NaturalImage2DIO"),
    "ct": Made((3.0, 0.8, 0.8), (90, 260, 260), ("CT", "noNorm"), relative_size=0.7),
    "tiny": Made((1.0, 1.0, 1.0), (5, 6, 4), ("rescale_to_0_1",), cases=2),
}


def nnunet_plans(made: Made, folder: Path, monkeypatch) -> dict:
    """The plans of nnU-Net's own planner, its memory estimate replaced by a constant (that part is not compared)."""
    planners = pytest.importorskip("nnunetv2.experiment_planning.experiment_planners.default_experiment_planner")
    preprocessed = folder / "preprocessed"
    monkeypatch.setenv("nnUNet_raw", str(folder))
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    (preprocessed / "Dataset001_Made").mkdir(parents=True)
    ours = made.fingerprint()
    content = {
        "spacings": ours.spacings_mm,
        "shapes_after_crop": ours.shapes_after_crop,
        "median_relative_size_after_cropping": made.relative_size,
        "foreground_intensity_properties_per_channel": ours.foreground_intensity_properties_per_channel,
    }
    (preprocessed / "Dataset001_Made" / "dataset_fingerprint.json").write_text(json.dumps(content))
    monkeypatch.setattr(planners.ExperimentPlanner, "static_estimate_VRAM_usage", lambda *_: 1e6)
    return planners.ExperimentPlanner(1).plan_experiment()


NNUNET_SCHEMES = {
    "zscore": "ZScoreNormalization",
    "ct": "CTNormalization",
    "nonorm": "NoNormalization",
    "rescale_to_0_1": "RescaleTo01Normalization",
    "rgb_to_0_1": "RGBTo01Normalization",
}


@pytest.mark.parametrize("name", MADE)
def test_dataset_part_equals_nnunets(name, tmp_path, monkeypatch):
    made = MADE[name]
    plan = plan_dataset(made.dataset(tmp_path / "Dataset001_Made"), made.fingerprint())
    expected = nnunet_plans(made, tmp_path, monkeypatch)
    flat = name == "rgb"
    configuration = expected["configurations"]["2d" if flat else "3d_fullres"]
    assert list(plan.spacing_mm[flat:]) == configuration["spacing"]
    assert list(plan.median_shape[flat:]) == [round(size) for size in configuration["median_image_size_in_voxels"]]
    assert list(plan.transpose_forward) == expected["transpose_forward"]
    assert list(plan.transpose_backward) == expected["transpose_backward"]
    assert [NNUNET_SCHEMES[scheme] for scheme in plan.normalization] == configuration["normalization_schemes"]
    assert list(plan.use_mask_for_norm) == configuration["use_mask_for_norm"]
    assert plan.reader == expected["image_reader_writer"]
    statistics = expected["foreground_intensity_properties_per_channel"]
    assert {str(index): each for index, each in enumerate(plan.foreground_intensity) if each} == statistics


def test_what_the_five_look_like(tmp_path):
    plans = {name: plan_dataset(made.dataset(tmp_path / name), made.fingerprint()) for name, made in MADE.items()}
    assert plans["anisotropic"].transpose_forward == (2, 0, 1)
    assert plans["anisotropic"].use_mask_for_norm == (True, True)
    assert [name for name, plan in plans.items() if plan.anisotropic] == ["anisotropic", "rgb", "ct"]
    assert plans["ct"].use_mask_for_norm == (False, False)
    assert plans["ct"].foreground_intensity == (CT_STATISTICS, {})


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("spec", [MINI, VIT_B], ids=lambda spec: spec.id)
def test_every_field_has_a_reason_of_one_line(name, spec, tmp_path):
    made = MADE[name]
    dataset_plan = plan_dataset(made.dataset(tmp_path / "Dataset001_Made"), made.fingerprint())
    section = plan_encoder(dataset_plan, made.fingerprint(), spec)
    unet = plan_unet(dataset_plan, 3, dimensions=2)
    for kind, plan in ((DatasetPlan, dataset_plan), (EmbeddingsPlan, section), (HybridPlan, section.hybrid),
                       (AdapterPlan, section.adapters), (Patch3dPlan, section.patches_3d), (UnetPlan, unet)):
        assert set(plan.reasons) == {field.name for field in fields(kind)} - {"reasons"}
        assert all(reason and "\n" not in reason for reason in plan.reasons.values())


def test_encoder_part_of_a_hippocampus_like_dataset_by_hand(tmp_path):
    made = Made((1.0, 1.0, 1.0), (36, 50, 35), ("MRI",), cases=200, even=True)
    section = plan_encoder(plan_dataset(made.dataset(tmp_path), made.fingerprint()), made.fingerprint(), MINI)
    assert (section.input_size, section.tile_shape, section.composition) == (256, (50, 35), "neighbours")
    assert (section.adapters.slices, section.batch_size, section.cache_dtype) == (5, 16, "float16")
    assert section.cache_bytes == 200 * 36 * 256 * 16 * 16 * 2
    assert section.reasons["cache_bytes"] == "7200 tiles of 200 cases x 256 channels x 16x16 x 2 bytes"
    assert section.view_pictures == 800
    assert section.adapters.input_size == 128
    # 65536 // (50 * 35) = 37 slices, of the median's 36; 36, 18 and 9 are 8 or more, so they are halved, which 32
    # slices allow.
    assert section.hybrid.depth == 32 and section.hybrid.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert section.hybrid.reasons["depth"] == ("65536 voxels hold 37 slices of the tile 50x35, at most the median "
                                               "depth 36; "
                                               "of 36 as many as can be pooled without padding")


def test_an_edited_unet_survives_planning_for_another_encoder_until_the_labels_change(tmp_path):
    made, path = MADE["anisotropic"], tmp_path / "plans.json"
    dataset = made.dataset(tmp_path / "Dataset001_Made")
    plans = plan_experiment(dataset, made.fingerprint(), MINI, path)
    assert plans.unet.classes == 3 and plans.unet.batch_size == 12
    edited = replace(plans, unet=replace(plans.unet, batch_size=5))
    edited.save(path)
    assert plan_experiment(dataset, made.fingerprint(), VIT_B, path).unet == edited.unet
    assert plan_experiment(dataset, replace(made.fingerprint(), label_channels=4), VIT_B, path).unet.batch_size == 12


def test_the_cache_may_be_int8(tmp_path):
    made = Made((1.0, 1.0, 1.0), (36, 50, 35), ("MRI",), cases=200, even=True)
    plan = plan_dataset(made.dataset(tmp_path), made.fingerprint())
    section = plan_encoder(plan, made.fingerprint(), MINI, cache_dtype="int8")
    assert (section.cache_dtype, section.cache_bytes) == ("int8", 200 * 36 * (256 * 16 * 16 + 256 * 4))
    assert replace(section, cache_dtype="float16", cache_bytes=0, reasons={}) == replace(
        plan_encoder(plan, made.fingerprint(), MINI), cache_bytes=0, reasons={})


def test_a_number_type_that_no_cache_has_is_refused_when_the_file_is_read(tmp_path):
    made = Made((1.0, 1.0, 1.0), (36, 50, 35), ("MRI",))
    dataset_plan = plan_dataset(made.dataset(tmp_path), made.fingerprint())
    section = plan_encoder(dataset_plan, made.fingerprint(), MINI)
    Plans("tiny", "Dataset005_Made", dataset_plan,
          {section.encoder: replace(section, cache_dtype="bfloat16")}).save(tmp_path / "plans.json")
    with pytest.raises(UserError, match="one of float16, int8"):
        Plans.load(tmp_path / "plans.json")


def test_encoder_part_of_an_acdc_like_dataset_by_hand(tmp_path):
    made = Made((10.0, 1.5, 1.5), (9, 256, 216), ("cine",), cases=3, even=True)
    dataset_plan = plan_dataset(made.dataset(tmp_path), made.fingerprint())
    section = plan_encoder(dataset_plan, made.fingerprint(), MINI)
    # One tile: 16 voxels a token; two: 10.7; three: 8.
    assert (section.tile_shape, section.composition, section.adapters.slices) == ((128, 108), "repeat", 5)
    assert section.cache_bytes == 3 * 9 * 9 * 256 * 16 * 16 * 2
    sam = plan_encoder(dataset_plan, made.fingerprint(), VIT_B)
    assert (sam.input_size, sam.tile_shape) == (1024, (256, 216))
    assert 2 <= sam.batch_size < section.batch_size == 16


def test_rgb_is_one_embedding_and_other_channels_are_one_each(tmp_path):
    rgb, two = MADE["rgb"], MADE["anisotropic"]
    section = plan_encoder(plan_dataset(rgb.dataset(tmp_path / "a"), rgb.fingerprint()), rgb.fingerprint(), MINI)
    assert (section.composition, section.adapters.slices) == ("rgb", 1)
    assert "x 256 channels" in section.reasons["cache_bytes"]
    section = plan_encoder(plan_dataset(two.dataset(tmp_path / "b"), two.fingerprint()), two.fingerprint(), MINI)
    assert "x 512 channels" in section.reasons["cache_bytes"]


def test_a_smaller_memory_target_gives_a_smaller_batch(tmp_path):
    made = MADE["ct"]
    dataset_plan = plan_dataset(made.dataset(tmp_path), made.fingerprint())
    sizes = [
        plan_encoder(dataset_plan, made.fingerprint(), VIT_B, target).batch_size for target in (1.0, 4.0, 8.0, 40.0)
    ]
    assert sizes[0] == 2 and sizes[-1] == 16 and sizes == sorted(set(sizes))
    with pytest.raises(UserError, match="memory target"):
        plan_encoder(dataset_plan, made.fingerprint(), MINI, 0)


def test_the_target_spacing_can_be_given(tmp_path):
    made = MADE["isotropic"]
    plan = plan_dataset(made.dataset(tmp_path), made.fingerprint(), (1.0, 1.0, 3.0))
    assert (plan.spacing_mm, plan.transpose_forward) == ((3.0, 1.0, 1.0), (2, 0, 1))
    assert plan.reasons["spacing_mm"] == "given by -overwrite_target_spacing"


def test_the_same_input_gives_the_same_bytes(tmp_path):
    made = MADE["ct"]
    dataset = made.dataset(tmp_path / "Dataset001_Made")
    for name in ("one.json", "two.json"):
        plan_experiment(dataset, made.fingerprint(), MINI, tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    plan_experiment(dataset, made.fingerprint(), MINI, tmp_path / "one.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_plans_come_back_from_their_file_as_they_were(tmp_path):
    made = MADE["ct"]
    plans = plan_experiment(
        made.dataset(tmp_path / "Dataset001_Made"),
        made.fingerprint(),
        MINI,
        tmp_path / "plans.json",
        plans_name="plans",
    )
    assert Plans.load(tmp_path / "plans.json") == plans
    assert plans.plans_name == "plans" and plans.dataset_name == "Dataset001_Made"


def test_planning_for_another_encoder_touches_nothing_else(tmp_path):
    made, path = MADE["anisotropic"], tmp_path / "plans.json"
    dataset = made.dataset(tmp_path / "Dataset001_Made")
    plan_experiment(dataset, made.fingerprint(), MINI, path)
    before = path.read_text()
    plans = plan_experiment(dataset, made.fingerprint(), VIT_B, path, memory_target_gb=2.0)
    assert set(plans.encoders) == {"untrained", "vit_b"}
    addition = json.dumps(json.loads(path.read_text())["encoders"]["vit_b"], indent=2).replace("\n", "\n    ")
    assert path.read_text() == before.replace("\n    }\n  }\n}\n", f'\n    }},\n    "vit_b": {addition}\n  }}\n}}\n')
    plan_experiment(dataset, made.fingerprint(), MINI, path)
    assert Plans.load(path) == plans


def test_another_dataset_part_makes_a_new_file(tmp_path, capsys):
    made, path = MADE["anisotropic"], tmp_path / "plans.json"
    dataset = made.dataset(tmp_path / "Dataset001_Made")
    plan_experiment(dataset, made.fingerprint(), MINI, path)
    plans = plan_experiment(dataset, made.fingerprint(), VIT_B, path, overwrite_spacing_mm=(1.0, 1.0, 5.0))
    assert set(plans.encoders) == {"vit_b"} and Plans.load(path) == plans
    assert "plan again for untrained" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "not json", '{"version": 0}'])
def test_a_file_of_another_version_is_replaced_with_a_word(tmp_path, text, capsys):
    made, path = MADE["tiny"], tmp_path / "plans.json"
    path.write_text(text)
    plans = plan_experiment(made.dataset(tmp_path / "Dataset001_Made"), made.fingerprint(), MINI, path)
    assert Plans.load(path) == plans
    assert "is replaced" in capsys.readouterr().err


def test_an_unknown_channel_name_is_an_error(tmp_path):
    made = Made((1.0, 1.0, 1.0), (36, 50, 35), ("mystery",))
    with pytest.raises(UserError, match="must be known"):
        plan_experiment(made.dataset(tmp_path / "Dataset001_Made"), made.fingerprint(), MINI, tmp_path / "plans.json")
    assert not (tmp_path / "plans.json").exists()


def test_2d_files_of_any_pixel_size_stay_one_slice(tmp_path):
    """Ten images of 60 x 40 pixels of 0.5 to 2 mm; the finest tenth decides the slice spacing, the median the pixels'.
    """
    pixels_mm = np.linspace(0.5, 2.0, 10).tolist()
    made = Made((999.0, 1.0, 1.0), (1, 60, 40), ("MRI",), cases=10)
    spacings = tuple((999 * pixel, pixel, pixel) for pixel in pixels_mm)
    fingerprint = replace(made.fingerprint(), spacings_mm=spacings, shapes_after_crop=((1, 60, 40),) * 10)
    plan = plan_dataset(made.dataset(tmp_path), fingerprint)
    assert plan.spacing_mm == pytest.approx((999 * 0.65, 1.25, 1.25)) and plan.median_shape == (1, 60, 40)
    shapes = plan_grid_shapes(plan, fingerprint)
    assert {shape[0] for shape in shapes} == {1}
    assert shapes[0][1:] == (24, 16) and shapes[-1][1:] == (96, 64)
