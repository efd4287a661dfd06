"""Inner folds of a run's own labelled cases, and runs that leave the fold's validation cases alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import Paths
from samunet.files import read_json, write_json
from samunet.planning.shots import draw_shots
from samunet.training.cases import cases_of
from samunet.training.experiment import run_folder
from samunet.training.run import ensure_trained, train_model, validate_model
from samunet.training.settings import Request

PRIOR = Request("5", "label_prior", "0", "untrained", "tiny")
PATIENTS = {name: name[0] for name in ("a1", "a2", "b1", "b2", "c1", "d1")}


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


@pytest.fixture
def grouped(paths: Paths, tmp_path: Path) -> Path:
    """The preprocessed dataset, with one patient for each letter."""
    folder = tmp_path / "preprocessed" / "Dataset005_Made"
    shutil.copytree(paths.preprocessed / "Dataset005_Made", folder, ignore=shutil.ignore_patterns("embeddings"))
    write_json(folder / "groups.json", PATIENTS)
    return folder


@pytest.mark.parametrize(("request_", "patients"), [(PRIOR, "ab"), (replace(PRIOR, fold="all"), "abcd"),
                                                    (replace(PRIOR, fold="all", shots=4), "abcd")])
def test_inner_folds_keep_patients_whole_and_cover_the_drawn_cases_alone(
    paths: Paths, grouped: Path, request_: Request, patients: str
) -> None:
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    drawn = cases_of(request_, dataset, grouped).train
    held_out: list[str] = []
    for inner in range(len(patients)):
        cases = cases_of(replace(request_, inner=inner), dataset, grouped)
        train, unlabelled, val = cases.train, cases.unlabelled, cases.val
        assert set(train) | set(val) == set(drawn) and not {PATIENTS[name] for name in train} & {PATIENTS[name]
                                                                                                 for name in val}
        assert len({PATIENTS[name] for name in val}) == 1 and not set(val) & set(unlabelled)
        assert "b2" not in unlabelled  # it has no label, and may be of a patient who is validated on
        held_out += val
    assert sorted(held_out) == sorted(drawn) and {PATIENTS[name] for name in drawn} == set(patients)
    if request_.shots:
        assert sorted(drawn) == sorted(draw_shots(["a1", "a2", "b1", "c1", "d1"], PATIENTS, 4, 0))


def test_a_groups_csv_written_after_planning_draws_by_patient(paths: Paths, grouped: Path, tmp_path: Path) -> None:
    """Four shots of four patients are the first case of each; a2 and b2 are of patients who were drawn, and so
    nobody's.
    """
    (grouped / "groups.json").unlink()
    (tmp_path / "groups.csv").write_text("case,patient\n" + "".join(f"{name},{PATIENTS[name]}\n" for name in PATIENTS))
    dataset = replace(load_dataset(paths.raw / "Dataset005_Made"), folder=tmp_path)
    cases = cases_of(replace(PRIOR, fold="all", shots=4), dataset, grouped)
    assert cases.train == cases.unlabelled == ("a1", "b1", "c1", "d1")


def test_five_cases_are_left_out_one_by_one(paths: Paths, grouped: Path) -> None:
    labelled = ["a1", "a2", "b1", "c1", "d1"]
    (grouped / "groups.json").unlink()
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    held_out = [cases_of(replace(PRIOR, fold="all", inner=inner), dataset, grouped).val for inner in range(5)]
    assert sorted(held_out) == [(name,) for name in labelled]


def test_an_inner_fold_is_validated_in_a_folder_of_its_own(paths: Paths) -> None:
    request = replace(PRIOR, inner=1)
    ensure_trained(request, paths, trained_by="somebody", workers=1)
    final = run_folder(request, paths).final
    assert final == paths.results / "Dataset005_Made" / "label_prior__tiny__untrained" / "inner1" / "fold_0"
    run = read_json(final / "run.json")
    assert run["settings"]["inner"] == 1 and len(run["val_cases"]) == 1
    assert sorted(run["train_cases"] + run["val_cases"]) == ["a1", "a2", "b1"]
    assert len(read_json(final / "validation" / "summary.json")["metric_per_case"]) == 1
    few = replace(request, shots=3, draw=1)
    assert run_folder(few, paths).parent.parts[-2:] == ("shots3_draw1", "inner1")


def test_cases_that_are_left_alone_can_be_validated_on_later(paths: Paths, capsys) -> None:
    request = replace(PRIOR, validate=False)
    ensure_trained(request, paths, trained_by="somebody", workers=1)
    final = run_folder(PRIOR, paths).final
    assert "not validated" in capsys.readouterr().out and not (final / "validation").exists()
    validate_model(PRIOR, paths, workers=1)
    assert read_json(final / "run.json")["val_cases"] == ["c1", "d1"] and (final / "validation" / "c1.nii.gz").is_file()
    before = (final / "checkpoint_final.safetensors").stat().st_mtime_ns
    ensure_trained(request, paths, trained_by="somebody", workers=1)
    assert (final / "checkpoint_final.safetensors").stat().st_mtime_ns == before
    # For samunet_train it is another run: its settings do not know the validation cases.
    train_model(PRIOR, paths, must_continue=False, workers=1)
    assert read_json(final / "run.json")["trained_by"] == "samunet_train"
