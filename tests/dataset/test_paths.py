from __future__ import annotations

import os
from pathlib import Path

import pytest

from samunet.dataset import paths
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.errors import UserError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in ("samunet_raw", "samunet_preprocessed", "samunet_results", "nnUNet_raw"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "_said", set())
    monkeypatch.chdir(tmp_path)


def test_flag_wins_over_variable_and_variable_over_nnunets(monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/nnunet")
    assert resolve_paths().raw == Path("/nnunet")
    monkeypatch.setenv("samunet_raw", "/own")
    assert resolve_paths().raw == Path("/own")
    assert resolve_paths(raw="/flag").raw == Path("/flag")


def test_quotes_and_blanks_are_taken_off_and_an_empty_variable_is_unset(monkeypatch, tmp_path):
    monkeypatch.setenv("samunet_raw", ' "/with space/raw" ')
    monkeypatch.setenv("samunet_preprocessed", "''")
    found = resolve_paths()
    assert found.raw == Path("/with space/raw")
    assert found.preprocessed == tmp_path / "samunet_data" / "preprocessed"


def test_defaults_are_said_once(capsys, tmp_path):
    found = resolve_paths(results="/results")
    resolve_paths(results="/results")
    assert found == paths.Paths(tmp_path / "samunet_data/raw", tmp_path / "samunet_data/preprocessed", Path("/results"))
    assert capsys.readouterr().err.splitlines() == [
        f"samunet_raw is not set; using {tmp_path}/samunet_data/raw",
        f"samunet_preprocessed is not set; using {tmp_path}/samunet_data/preprocessed",
    ]


@pytest.fixture
def root(tmp_path):
    for name in ("Dataset004_Hippocampus", "Dataset040_Other", "Dataset1004_Long", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "Dataset005_File").write_text("not a folder")
    return tmp_path


@pytest.mark.parametrize(("given", "name"), [
    ("4", "Dataset004_Hippocampus"), ("004", "Dataset004_Hippocampus"), ("40", "Dataset040_Other"),
    ("1004", "Dataset1004_Long"), ("Dataset040_Other", "Dataset040_Other"),
])
def test_dataset_by_number_or_name(root, given, name):
    assert find_dataset(root, given) == root / name


@pytest.mark.parametrize("given", ["7", "5", "Dataset007_None", "hippocampus"])
def test_unknown_dataset_lists_what_there_is(root, given):
    with pytest.raises(UserError, match="Dataset004_Hippocampus, Dataset040_Other, Dataset1004_Long"):
        find_dataset(root, given)


def test_unknown_dataset_in_a_root_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match="available: no dataset"):
        find_dataset(tmp_path / "none", "4")


def test_number_claimed_by_two_folders_names_both_and_full_name_still_works(root):
    (root / "Dataset004_Again").mkdir()
    with pytest.raises(UserError, match="is the number of Dataset004_Again and Dataset004_Hippocampus"):
        find_dataset(root, "4")
    assert find_dataset(root, "Dataset004_Again") == root / "Dataset004_Again"


@pytest.mark.parametrize("given", ["314", "Task314_Old"])
def test_a_folder_of_nnunet_v1_is_named_with_its_new_name(root, given):
    (root / "Task314_Old").mkdir()
    with pytest.raises(UserError) as caught:
        find_dataset(root, given)
    assert "which are not read: Task314_Old" in caught.value.found
    assert f"samunet_convert_old_nnUNet_dataset {root / 'Task314_Old'} Dataset314_Old." in caught.value.mend
    assert "DatasetXXX_Name" in caught.value.rule


def test_a_number_of_thousands_of_digits_is_no_dataset(root):
    with pytest.raises(UserError, match="must be given by its number"):
        find_dataset(root, "4" * 5000)


def test_a_root_that_is_no_text(tmp_path):
    with pytest.raises(UserError, match="must be UTF-8"):
        resolve_paths(raw=os.fsdecode(b"/r\xff"))
