from __future__ import annotations

import json
from pathlib import Path

import pytest

from samunet.dataset.dataset import RawCase, RawDataset
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.groups import (
    find_groups,
    groups_from_pattern,
    keep_groups,
    kept_groups,
    looking_paired,
    read_groups,
)

NAMES = ["patient001_frame01", "patient001_frame12", "patient002_frame01"]


def dataset_of(folder: Path, names=NAMES) -> RawDataset:
    cases = tuple(RawCase(name, (folder / f"{name}_0000.nii.gz",), folder / f"{name}.nii.gz") for name in sorted(names))
    labels = LabelSpace({"background": 0, "thing": 1})
    return RawDataset(folder, folder.name, labels, ("MRI",), ".nii.gz", None, cases, frozenset(), {})


def test_a_csv_beside_dataset_json_is_used_by_itself(tmp_path):
    (tmp_path / "groups.csv").write_text("case,patient\n" + "".join(f"{name},{name[:10]}\n" for name in NAMES))
    assert find_groups(dataset_of(tmp_path), None) == dict(
        zip(NAMES, ["patient001", "patient001", "patient002"], strict=True)
    )


def test_other_columns_rows_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text("\ufeffsite,Patient, case\nA,7,a\nB,8,b\nB,9,elsewhere\n", encoding="utf-8")
    assert read_groups(path, ["a", "b"]) == {"a": "7", "b": "8"}


def test_a_pattern_finds_the_patient_in_its_first_group(tmp_path):
    expected = {NAMES[0]: "001", NAMES[1]: "001", NAMES[2]: "002"}
    assert find_groups(dataset_of(tmp_path), r"patient(\d+)_") == expected


def test_the_option_wins_over_the_csv_and_the_csv_over_what_was_kept(tmp_path):
    raw, kept = tmp_path / "raw", tmp_path / "preprocessed"
    raw.mkdir()
    keep_groups(kept, {name: "kept" for name in NAMES})
    assert set(find_groups(dataset_of(raw), None, kept).values()) == {"kept"}
    (raw / "groups.csv").write_text("case,patient\n" + "".join(f"{name},csv\n" for name in NAMES))
    assert set(find_groups(dataset_of(raw), None, kept).values()) == {"csv"}
    assert set(find_groups(dataset_of(raw), "(frame)", kept).values()) == {"frame"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("case,patient\na,1\n", "Every case must have a patient"),
        ("case,patient\na,1\nb,\n", "Every case must have a patient"),
        ("name,patient\na,1\nb,2\n", "columns case and patient"),
        ("", "columns case and patient"),
        ("case,patient\na,1\na,2\nb,2\n", "must belong to one patient"),
    ],
)
def test_a_bad_csv_says_what_is_wrong(tmp_path, text, rule):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=rule) as fault:
        read_groups(path, ["a", "b"])
    assert str(path) in str(fault.value)


def test_a_csv_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match="readable CSV"):
        find_groups(dataset_of(tmp_path), str(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("patient(", "valid regular expression"),
        (r"patient\d+", "group in brackets"),
        ("(frame12)", "Every case must have a patient"),
    ],
)
def test_a_bad_pattern_says_what_is_wrong(pattern, rule):
    with pytest.raises(UserError, match=rule):
        groups_from_pattern(pattern, NAMES)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["patient001_ED", "patient001_ES", "patient002_ED"], 1),
        (["patient001_frame01", "patient001_frame12"], 1),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-02_ses-2"], 2),
        (["knee_7_left", "knee_7_right"], 1),
        (["scan_pre", "scan_post"], 1),
        (["hippocampus_001", "hippocampus_002", "hippocampus_003"], 0),
        (["frame01", "frame02"], 0),
        (["red", "bed", "yes"], 0),
        (["a_t1", "b_t1"], 0),
    ],
)
def test_what_looks_like_a_pair(names, stems):
    assert len(looking_paired(names)) == stems


def test_a_warning_where_files_look_like_pairs_and_nothing_is_known(tmp_path, capsys):
    assert find_groups(dataset_of(tmp_path), None) is None
    message = capsys.readouterr().err
    assert "patient001_frame01 and patient001_frame12" in message and "--groups" in message
    assert find_groups(dataset_of(tmp_path, ["case_001", "case_002"]), None) is None
    assert capsys.readouterr().err == ""


def test_kept_groups_are_sorted_json(tmp_path):
    keep_groups(tmp_path, {"b": "2", "a": "1"})
    assert list(json.loads((tmp_path / "groups.json").read_text()).items()) == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_that_of_the_first_line(tmp_path, delimiter):
    path = tmp_path / "g.csv"
    path.write_text(f'case{delimiter}patient\n\na{delimiter}"Smith, J"\nb{delimiter}8\na{delimiter}"Smith, J"\n')
    assert read_groups(path, ["a", "b"]) == {"a": "Smith, J", "b": "8"}


def test_a_comma_in_a_patient_s_name_without_quotes_would_make_two_patients_one(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text("case,patient\na,Smith, John\nb,Smith, Jane\n")
    with pytest.raises(UserError, match="more columns") as caught:
        read_groups(path, ["a", "b"])
    assert caught.value.found == "a,Smith, John, b,Smith, Jane"


def test_all_cases_of_two_patients_are_told_and_rows_of_no_case_are_named(tmp_path, capsys):
    path = tmp_path / "g.csv"
    path.write_text("case,patient\na,1\nb,2\na,3\nb,4\nc,5\n")
    with pytest.raises(UserError, match="must belong to one patient") as caught:
        read_groups(path, ["a", "b"])
    assert caught.value.found == "a: 1 and 3, b: 2 and 4"
    path.write_text("case,patient\na,1\nb,2\nB,3\n")
    assert read_groups(path, ["a", "b"]) == {"a": "1", "b": "2"}
    assert capsys.readouterr().err == f"warning: rows of {path} name no case of the dataset: B\n"


@pytest.mark.parametrize("content",
                         ["case,patient\na,1\n".encode("utf-16"), b"case,patient\na,\xff\n", b"case,patient\n\"a,1\n"])
def test_a_csv_in_another_encoding_or_with_an_open_quote(tmp_path, content):
    (tmp_path / "g.csv").write_bytes(content)
    with pytest.raises(UserError, match="readable CSV file in UTF-8"):
        read_groups(tmp_path / "g.csv", ["a"])


@pytest.mark.parametrize("columns", ["case,case,patient", "case,patient,patient"])
def test_a_column_that_stands_twice_is_refused(tmp_path, columns):
    (tmp_path / "g.csv").write_text(f"{columns}\na,b,c\n")
    with pytest.raises(UserError, match="columns case and patient"):
        read_groups(tmp_path / "g.csv", ["a"])


@pytest.mark.parametrize(("text", "told"), [
    ("[]", "got `array`"), ("null", "got `null`"), ('{"a": {}, "b": "x", "c": 3}', "$.a"),
    ('{"a": "x", "c": 3}', "$.c"), ('{"a": null}', "$.a"),
])
def test_kept_groups_of_another_form_are_told(tmp_path, text, told):
    (tmp_path / "groups.json").write_text(text)
    with pytest.raises(UserError, match="patients of cases") as caught:
        kept_groups(tmp_path)
    assert told in caught.value.found and caught.value.where == str(tmp_path / "groups.json")
