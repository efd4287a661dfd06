from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.dataset import RawCase, RawDataset
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.groups import find_groups, kept_groups, known_groups
from samunet.planning.splits import ensure_splits, fold_cases, make_splits, read_splits

NAMES = [f"case_{index:02d}" for index in range(10)]
PATIENTS = {name: str(index // 2) for index, name in enumerate(NAMES)}


def dataset_of(folder: Path, names=NAMES, unlabelled=()) -> RawDataset:
    folder.mkdir(parents=True, exist_ok=True)
    cases = tuple(
        RawCase(name, (folder / f"{name}_0000.nii.gz",), None if name in unlabelled else folder / f"{name}.nii.gz")
        for name in sorted(names)
    )
    labels = LabelSpace({"background": 0, "thing": 1})
    return RawDataset(folder, folder.name, labels, ("MRI",), ".nii.gz", None, cases, frozenset(unlabelled), {})


@pytest.mark.parametrize("count", [5, 6, 7, 23, 200, 260])
def test_ungrouped_splits_are_nnunets_own(count):
    reference = pytest.importorskip("nnunetv2.utilities.crossval_split")
    names = [f"hippocampus_{number}" for number in np.random.default_rng(count).permutation(400)[:count]]
    expected = reference.generate_crossval_split(list(np.sort(names)), seed=12345, n_splits=5)
    assert make_splits(names, None) == expected


def test_grouped_splits_are_the_same_rule_over_patients_sorted_as_strings():
    reference = pytest.importorskip("nnunetv2.utilities.crossval_split")
    names = [f"scan_{index:03d}" for index in range(60)]
    groups = {name: str(index // 3) for index, name in enumerate(names)}
    expected = reference.generate_crossval_split(sorted(set(groups.values())))
    splits = make_splits(names, groups)
    for split, patients in zip(splits, expected, strict=True):
        assert split["val"] == [name for name in names if groups[name] in patients["val"]]
        assert split["train"] == [name for name in names if groups[name] in patients["train"]]


def test_no_patient_stands_on_both_sides_and_every_case_is_held_out_once():
    splits = make_splits(NAMES, PATIENTS)
    assert sorted(name for split in splits for name in split["val"]) == NAMES
    for split in splits:
        assert not {PATIENTS[name] for name in split["train"]} & {PATIENTS[name] for name in split["val"]}


@pytest.mark.parametrize(("count", "folds"), [(0, 0), (1, 0), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_below_five_there_are_as_many_folds_as_cases(count, folds):
    splits = make_splits(NAMES[:count], None)
    assert len(splits) == folds
    assert all(len(split["val"]) == 1 for split in splits)


def test_two_cases_of_one_patient_leave_only_fold_all(tmp_path):
    assert make_splits(["a", "b"], {"a": "1", "b": "1"}) == []
    dataset = dataset_of(tmp_path, ["a"])
    splits = ensure_splits(dataset, tmp_path / "preprocessed", None)
    assert fold_cases(splits, "all", dataset) == (["a"], ["a"])
    with pytest.raises(UserError, match="fold") as fault:
        fold_cases(splits, "0", dataset)
    assert "all" in str(fault.value)


def test_new_splits_are_written_and_groups_kept(tmp_path):
    folder = tmp_path / "preprocessed"
    dataset = dataset_of(tmp_path / "raw")
    splits = ensure_splits(dataset, folder, PATIENTS)
    assert json.loads((folder / "splits_final.json").read_text()) == splits == make_splits(NAMES, PATIENTS)
    (folder / "splits_final.json").unlink()
    assert ensure_splits(dataset, folder, None) == splits


def test_an_existing_file_wins_and_a_leak_is_told(tmp_path, capsys):
    folder = tmp_path / "preprocessed"
    folder.mkdir()
    own = [{"train": NAMES[1:], "val": NAMES[:1]}]
    (folder / "splits_final.json").write_text(json.dumps(own))
    assert ensure_splits(dataset_of(tmp_path / "raw"), folder, PATIENTS) == own
    assert "both sides of a fold: 0. Delete it" in capsys.readouterr().err


def test_a_file_in_the_raw_folder_is_copied(tmp_path):
    dataset = dataset_of(tmp_path / "raw")
    own = [{"train": NAMES[5:], "val": NAMES[:5]}]
    (tmp_path / "raw" / "splits_final.json").write_text(json.dumps(own))
    assert ensure_splits(dataset, tmp_path / "p", None) == own
    assert json.loads((tmp_path / "p" / "splits_final.json").read_text()) == own
    (tmp_path / "raw" / "splits_final.json").write_text(json.dumps([{"train": NAMES[:5], "val": NAMES[5:]}]))
    with pytest.raises(UserError, match="two splits files that disagree"):
        ensure_splits(dataset, tmp_path / "p", None)


def test_unlabelled_cases_stand_in_no_fold(tmp_path):
    dataset = dataset_of(tmp_path, unlabelled=NAMES[:4])
    splits = ensure_splits(dataset, tmp_path / "p", None)
    assert sorted(name for split in splits for name in split["val"]) == NAMES[4:]
    assert fold_cases(splits, "all", dataset) == (NAMES[4:], NAMES[4:])


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ([{"train": ["case_00", "stranger"], "val": ["case_01"]}], "labelled cases of the dataset"),
        ([{"train": ["case_00", "case_01"], "val": ["case_01"]}], "both|train and val of one fold"),
        ([{"train": ["case_00"], "val": []}], "Both sides"),
        ({"train": [], "val": []}, "must be a list"),
        ([{"train": ["case_00"]}], "must be a list"),
        ([{"train": [0], "val": [1]}], "must be a list"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, content, rule):
    dataset = dataset_of(tmp_path)
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "splits_final.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rule) as fault:
        ensure_splits(dataset, folder, None)
    assert "splits_final.json" in str(fault.value)


def test_labelled_cases_in_no_fold_are_told(tmp_path, capsys):
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "splits_final.json").write_text(json.dumps([{"train": NAMES[:8], "val": NAMES[8:9]}]))
    ensure_splits(dataset_of(tmp_path), folder, None)
    assert "are in no fold" in capsys.readouterr().err


def test_kept_groups_must_cover_new_cases(tmp_path):
    ensure_splits(dataset_of(tmp_path, NAMES[:6]), tmp_path / "p", {name: PATIENTS[name] for name in NAMES[:6]})
    with pytest.raises(UserError, match="Every case must have a patient"):
        ensure_splits(dataset_of(tmp_path, NAMES), tmp_path / "p", None)


def test_groups_kept_from_a_pattern_serve_again_where_cases_are_unlabelled(tmp_path, capsys):
    """As planning does it, first with --groups and then without; whose the unlabelled case is stays unknown."""
    dataset, folder = dataset_of(tmp_path / "raw", unlabelled=NAMES[:1]), tmp_path / "p"
    splits = ensure_splits(dataset, folder, find_groups(dataset, r"case_(\d)", folder))
    assert kept_groups(folder) == {name: "0" for name in NAMES[1:]}
    capsys.readouterr()
    assert ensure_splits(dataset, folder, find_groups(dataset, None, folder)) == splits
    assert kept_groups(folder) == {name: "0" for name in NAMES[1:]} and capsys.readouterr().err == ""
    labelled = dataset_of(tmp_path / "raw")
    with pytest.raises(UserError, match="Every case must have a patient") as caught:
        ensure_splits(labelled, folder, find_groups(labelled, None, folder))
    assert "case_00" in caught.value.found


def groups_csv(folder: Path, names=NAMES) -> None:
    (folder / "groups.csv").write_text("case,patient\n" + "".join(f"{name},{PATIENTS[name]}\n" for name in names))


def test_a_groups_csv_that_was_written_after_planning_is_used_by_itself(tmp_path, capsys):
    """As the warning of planning advises; training gives no groups."""
    dataset, folder = dataset_of(tmp_path / "raw"), tmp_path / "p"
    torn = ensure_splits(dataset, folder, None)
    groups_csv(dataset.folder)
    capsys.readouterr()
    assert ensure_splits(dataset, folder, None) == torn and kept_groups(folder) == PATIENTS
    assert "puts patients on both sides of a fold" in capsys.readouterr().err
    (folder / "splits_final.json").unlink()
    # Five patients of two cases each: every fold holds one patient out.
    assert [len({PATIENTS[name] for name in split["val"]}) for split in ensure_splits(dataset, folder, None)] == [1] * 5
    assert capsys.readouterr().err == ""


def test_a_groups_csv_counts_where_it_cannot_be_kept(tmp_path, monkeypatch):
    dataset, folder = dataset_of(tmp_path / "raw"), tmp_path / "p"
    torn = ensure_splits(dataset, folder, None)
    groups_csv(dataset.folder)

    def read_only(*given):
        raise UserError("The output place must be writable.", where=folder)

    monkeypatch.setattr("samunet.planning.splits.keep_groups", read_only)
    assert ensure_splits(dataset, folder, None) == torn and kept_groups(folder) is None
    assert known_groups(dataset, folder) == PATIENTS
    with pytest.raises(UserError, match="must be writable"):
        ensure_splits(dataset, folder, PATIENTS)


def test_what_planning_was_told_wins_over_a_groups_csv_and_that_must_name_every_case(tmp_path):
    dataset, told = dataset_of(tmp_path / "raw"), {name: name for name in NAMES}
    ensure_splits(dataset, tmp_path / "told", told)
    groups_csv(dataset.folder, NAMES[1:])
    ensure_splits(dataset, tmp_path / "told", None)
    assert kept_groups(tmp_path / "told") == told
    with pytest.raises(UserError, match="Every case must have a patient") as caught:
        ensure_splits(dataset, tmp_path / "new", None)
    assert caught.value.where == str(dataset.folder / "groups.csv") and not (tmp_path / "new").exists()


def test_folds_are_made_once_a_second_patient_is_labelled(tmp_path):
    folder, file = tmp_path / "p", tmp_path / "p" / "splits_final.json"
    assert ensure_splits(dataset_of(tmp_path, unlabelled=NAMES[1:]), folder, None) == []
    assert json.loads(file.read_text()) == []
    before = file.stat().st_mtime_ns
    assert ensure_splits(dataset_of(tmp_path, unlabelled=NAMES[1:]), folder, None) == []
    assert file.stat().st_mtime_ns == before
    splits = ensure_splits(dataset_of(tmp_path, unlabelled=NAMES[2:]), folder, None)
    assert splits == json.loads(file.read_text())
    assert sorted((split["train"], split["val"]) for split in splits) == [([NAMES[0]], [NAMES[1]]),
                                                                          ([NAMES[1]], [NAMES[0]])]


def test_an_empty_file_gives_way_to_the_one_in_the_raw_folder(tmp_path):
    dataset, own = dataset_of(tmp_path / "raw"), [{"train": NAMES[5:], "val": NAMES[:5]}]
    (tmp_path / "raw" / "splits_final.json").write_text(json.dumps(own))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "splits_final.json").write_text("[]")
    assert ensure_splits(dataset, tmp_path / "p", None) == own


def test_every_kind_of_fault_of_a_splits_file_is_told_together(tmp_path):
    """A case that stands twice on a side would count twice in training and in the summary."""
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["a", "a", "b"], "val": ["c", "c", "b", "z"]}, {"train": ["a"], "val": []}]))
    with pytest.raises(UserError) as caught:
        read_splits(path, ["a", "b", "c"])
    assert [(problem.where[-6:], problem.rule.partition(":")[0], problem.found)
            for problem in caught.value.problems] == [
("fold 0", "Folds must name labelled cases of the dataset.", "z"),
("fold 0", "No case may be in train and val of one fold.", "b"),
("fold 0", "No case may be twice on one side of a fold", "a (train), c (val)"),
("fold 1", "Both sides of a fold must have cases.", "no val"),
]


@pytest.mark.parametrize(("content", "found"), [
    ([{"train": "a", "val": ["b"]}], "Expected `array`, got `str` - at `$[0].train`"),
    ([{"train": ["a"], "val": [None]}], "Expected `str`, got `null` - at `$[0].val[0]`"),
    ([["a"]], "Expected `object`, got `array` - at `$[0]`"),
    ({"train": ["a"], "val": ["b"]}, "Expected `array`, got `object`"),
])
def test_a_splits_file_of_another_shape_names_the_place(tmp_path, content, found):
    (tmp_path / "splits_final.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        read_splits(tmp_path / "splits_final.json", ["a", "b"])
    assert caught.value.found.startswith(found)
