"""Plans that go from one dataset to another: what changes, what stays, and that nnU-Net changes the same."""

from __future__ import annotations

import dataclasses
import json

import pytest
from raw_datasets import raw_dataset
from raw_files import plan

from samunet.cli.move_plans_between_datasets import main
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.planning.moved_plans import move_plans
from samunet.planning.plans import EncoderPlan, Plans
from samunet.planning.unet_rules import plan_unet

SOURCE_PLAN = plan(reader="NaturalImage2DIO", channel_names=("nonorm",), spacing_mm=(3.0, 1.5, 1.5))
SECTION = EncoderPlan("untrained", 64, (10, 10), 0.5, "repeat", 2, "float16", 0, 7)
PLANS = Plans("samunetPlans", "Dataset005_Source", SOURCE_PLAN, {"untrained": SECTION},
              plan_unet(SOURCE_PLAN, 2, dimensions=2))


@pytest.fixture
def paths(tmp_path) -> Paths:
    """Plans of dataset 5, and raw dataset 1 with one channel, MR, and three classes."""
    raw_dataset(tmp_path / "raw")
    PLANS.save(tmp_path / "preprocessed" / "Dataset005_Source" / "samunetPlans.json")
    return Paths(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")


def test_names_and_reader_become_the_targets_and_all_decisions_stay(paths, capsys):
    arguments = ["-s", "5", "-t", "1", "-sp", "samunetPlans", "-tp", "of5", "--raw", str(paths.raw), "--preprocessed",
                 str(paths.preprocessed), "--results", str(paths.results)]
    assert main(arguments) == 0
    moved = Plans.load(paths.preprocessed / "Dataset001_Made" / "of5.json")
    assert (moved.plans_name, moved.dataset_name) == ("of5", "Dataset001_Made")
    assert dataclasses.replace(moved.dataset, reasons={}) == dataclasses.replace(
        SOURCE_PLAN, reader="SimpleITKIO", channel_names=("MR",), reasons={})
    assert moved.dataset.reasons["moved"] == "from Dataset005_Source, plans samunetPlans"
    assert moved.encoders == {"untrained": SECTION}
    assert moved.unet.classes == 3
    assert "normalise by nonorm; plans of Dataset001_Made itself would by zscore" in capsys.readouterr().err
    assert main(arguments) == 0  # the same again


def test_nnunet_changes_the_same_fields(paths, tmp_path, monkeypatch):
    pytest.importorskip("nnunetv2")
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name if name == "raw" else tmp_path / f"their_{name}"))
    from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets import (
        move_plans_between_datasets,
    )

    theirs = tmp_path / "their_preprocessed"
    before = {"dataset_name": "Dataset005_Source", "plans_name": "samunetPlans",
              "image_reader_writer": "NaturalImage2DIO", "configurations": {"2d": {"spacing": [1.5, 1.5]}}}
    write_json(theirs / "Dataset005_Source" / "samunetPlans.json", before)
    (theirs / "Dataset001_Made").mkdir()
    move_plans_between_datasets(5, 1, "samunetPlans", "of5")
    after = read_json(theirs / "Dataset001_Made" / "of5.json")
    moved = Plans.load(move_plans(paths, "5", "1", "samunetPlans", "of5"))
    assert {key for key in after if after[key] != before[key]} == {"dataset_name", "plans_name", "image_reader_writer"}
    assert (after["dataset_name"], after["plans_name"], after["image_reader_writer"]) == (
        moved.dataset_name, moved.plans_name, moved.dataset.reader)


def two_channels(paths):
    path = paths.raw / "Dataset001_Made" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channel_names": {"0": "MR", "1": "CT"}}))


def other_plans(paths):
    path = paths.preprocessed / "Dataset001_Made" / "of5.json"
    dataclasses.replace(PLANS, encoders={}).save(path)


@pytest.mark.parametrize(
    "break_it, name, message",
    [(two_channels, "of5", "same number of channels"), (other_plans, "of5", "must not replace others"),
     (lambda paths: None, "splits_final", "A plans name must be"),
     (lambda paths: (paths.preprocessed / "Dataset005_Source/samunetPlans.json").unlink(), "of5", "missing")],
)
def test_bad_input_changes_nothing(paths, break_it, name, message):
    break_it(paths)
    before = {path: path.read_bytes() for path in paths.preprocessed.rglob("*.json")}
    with pytest.raises(UserError, match=message):
        move_plans(paths, "5", "1", "samunetPlans", name)
    assert {path: path.read_bytes() for path in paths.preprocessed.rglob("*.json")} == before
