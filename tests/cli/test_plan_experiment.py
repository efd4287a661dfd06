from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.cli import extract_fingerprint, plan_experiment
from samunet.planning.plans import Plans
from samunet.planning.splits import make_splits

NAMES = [f"p{patient}_{phase}" for patient in range(5) for phase in ("ED", "ES")]


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Flags for a workplace with Dataset003_Small: ten cases of five patients, 6 x 20 x 16 voxels of 4 x 1 x 1 mm."""
    raw = tmp_path / "raw" / "Dataset003_Small"
    generator = np.random.default_rng(0)
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    for name in NAMES:
        for path, array in (
            (f"imagesTr/{name}_0000", generator.normal(size=(6, 20, 16)).astype(np.float32)),
            (f"labelsTr/{name}", generator.integers(0, 2, (6, 20, 16)).astype(np.uint8)),
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((1.0, 1.0, 4.0))
            sitk.WriteImage(image, str(raw / f"{path}.nii.gz"))
    content = {
        "channel_names": {"0": "cine"},
        "labels": {"background": 0, "one": 1},
        "numTraining": 10,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(content))
    parts = ("raw", "preprocessed", "results")
    return ["-d", "3", "-np", "1", *(each for part in parts for each in (f"--{part}", str(tmp_path / part)))]


def test_fingerprint_then_plans_and_splits(folders, tmp_path, capsys):
    made = tmp_path / "preprocessed" / "Dataset003_Small"
    assert extract_fingerprint.main(folders) == 0
    assert capsys.readouterr().out == f"fingerprint: {made / 'dataset_fingerprint.json'}\n"
    assert plan_experiment.main(folders) == 0
    printed = capsys.readouterr()
    assert printed.out == f"plans: {made / 'samunetPlans.json'}\n"
    assert "used again" in printed.err and "p0_ED and p0_ES look like" in printed.err
    plans = Plans.load(made / "samunetPlans.json")
    assert plans.dataset.spacing_mm == (4.0, 1.0, 1.0) and plans.dataset.anisotropic
    assert plans.for_encoder("mini-3").tile_shape == (20, 16)
    assert json.loads((made / "splits_final.json").read_text()) == make_splits(NAMES, None)


def test_groups_are_used_kept_and_used_again(folders, tmp_path, capsys):
    made = tmp_path / "preprocessed" / "Dataset003_Small"
    groups = {name: name[:2] for name in NAMES}
    assert plan_experiment.main([*folders, "--groups", r"(p\d)_"]) == 0
    assert json.loads((made / "splits_final.json").read_text()) == make_splits(NAMES, groups)
    assert json.loads((made / "groups.json").read_text()) == groups
    (made / "splits_final.json").unlink()
    capsys.readouterr()
    assert plan_experiment.main(folders) == 0
    assert json.loads((made / "splits_final.json").read_text()) == make_splits(NAMES, groups)
    assert "warning" not in capsys.readouterr().err


def test_planning_twice_gives_the_same_bytes(folders, tmp_path):
    made = tmp_path / "preprocessed" / "Dataset003_Small"
    plan_experiment.main(folders)
    first = {path.name: path.read_bytes() for path in made.iterdir()}
    plan_experiment.main(folders)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == first
    for path in made.iterdir():
        path.unlink()
    plan_experiment.main(folders)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == first


@pytest.mark.parametrize(
    "wrong",
    [
        ["--groups", "no_group"],
        ["--encoder", "no_such_encoder"],
    ],
)
def test_bad_input_ends_with_code_2_and_one_message(folders, wrong, capsys):
    assert plan_experiment.main([*folders, *wrong]) == 2
    message = capsys.readouterr().err
    assert "error: " in message and "Traceback" not in message


@pytest.mark.parametrize(("wrong", "told"), [
    (["-gpu_memory_target", "0"], "argument -gpu_memory_target: must be a number above 0 and at most 10000, not 0"),
    (["-overwrite_target_spacing", "0", "1", "1"],
     "argument -overwrite_target_spacing: must be a number from 0.001 to 10000, not 0"),
])
def test_numbers_out_of_their_bounds_are_wrong_usage(folders, wrong, told, capsys):
    with pytest.raises(SystemExit) as ended:
        plan_experiment.main([*folders, *wrong])
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_an_unknown_dataset_ends_with_code_2(folders, tmp_path, capsys):
    assert extract_fingerprint.main(["-d", "77", *folders[2:]]) == 2
    assert "Dataset003_Small" in capsys.readouterr().err
    assert not (tmp_path / "preprocessed" / "Dataset077").exists()
