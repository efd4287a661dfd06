"""A dataset -> its arrays: made once, anew where files or plans changed, and whole after a kill."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from damage import flip, truncate
from raw_datasets import plans, raw_dataset, stamps
from raw_files import LABELS, blob, plan, raw_case, write

from samunet.dataset.dataset import load_dataset
from samunet.errors import UserError
from samunet.files import digest_of_array, digest_of_file
from samunet.preprocessing.preprocess import case_signature, prepare_case, preprocess_dataset
from samunet.preprocessing.store import ArrayStore


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_dataset_is_made_once_and_the_same_by_any_number_of_workers(tmp_path, capsys):
    dataset = load_dataset(raw_dataset(tmp_path))
    store = preprocess_dataset(dataset, plans(), tmp_path / "one", 1)
    assert store.names() == ["case_0", "case_1", "case_2"]
    first = stamps(store.folder)
    assert preprocess_dataset(dataset, plans(), tmp_path / "one", 1) == store
    assert stamps(store.folder) == first
    assert "3 of 3 cases were preprocessed already" in capsys.readouterr().err
    preprocess_dataset(dataset, plans(), tmp_path / "two", 2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_changed_label_rewrites_that_case_s_segmentation_alone(tmp_path):
    folder = raw_dataset(tmp_path)
    store = preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    before, digest = stamps(store.folder), store.properties("case_1").image_digest
    label = np.zeros((7, 10, 9), np.uint8)
    label[2:5, 4:7, 3:6] = 2
    write(folder / "labelsTr" / "case_1.nii.gz", label, (1.0, 1.0, 1.2))
    preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    after = stamps(store.folder)
    assert {name for name in after if after[name] != before[name]} == {"case_1.json", "case_1_seg.b2nd"}
    assert store.properties("case_1").image_digest == digest
    assert 2 in store.segmentation("case_1") and 1 not in store.segmentation("case_1")


def test_a_changed_plan_or_image_makes_the_arrays_anew(tmp_path):
    folder = raw_dataset(tmp_path)
    store = preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    old = store.image("case_0")
    changed = dataclasses.replace(plans(), dataset=plan(normalization=("nonorm",)))
    preprocess_dataset(load_dataset(folder), changed, tmp_path / "arrays", 1)
    assert store.image("case_0").shape != old.shape
    image, _ = blob((6, 10, 9), 9)
    write(folder / "imagesTr" / "case_0_0000.nii.gz", image[0], (1.0, 1.0, 1.2))
    before = store.properties("case_0").image_digest
    preprocess_dataset(load_dataset(folder), changed, tmp_path / "arrays", 1)
    assert store.properties("case_0").image_digest != before


@pytest.mark.parametrize("damage", [
    lambda path: flip(path, 3),  # in blosc2's header, where it changes nothing that is decoded
    lambda path: flip(path, path.stat().st_size // 2),
    lambda path: truncate(path, path.stat().st_size // 2),
    lambda path: truncate(path, 0),
    lambda path: path.unlink(),
])
@pytest.mark.parametrize("name", ["case_1.b2nd", "case_1_seg.b2nd", "case_1.json"])
def test_what_is_damaged_is_rebuilt_to_the_same_bytes_and_nothing_else(tmp_path, capsys, name, damage):
    dataset = load_dataset(raw_dataset(tmp_path))
    arrays = tmp_path / "arrays"
    preprocess_dataset(dataset, plans(), arrays, 1)
    before, untouched = contents(arrays), stamps(arrays)
    damage(arrays / name)
    capsys.readouterr()
    preprocess_dataset(dataset, plans(), arrays, 1)
    assert contents(arrays) == before
    after = stamps(arrays)
    assert {other for other in after if after[other] != untouched[other]} <= {"case_1.b2nd", "case_1_seg.b2nd",
                                                                              "case_1.json"}
    told = capsys.readouterr().err
    assert "2 of 3 cases were preprocessed already" in told


@pytest.mark.parametrize("scheme", ["zscore", "nonorm", "rescale_to_0_1"])
def test_an_image_near_the_end_of_float32_is_refused_by_name(tmp_path, scheme):
    """Its mean, or its range, is beyond float32."""
    folder = raw_dataset(tmp_path, 1)
    image = np.linspace(-3e38, 3e38, 540, dtype=np.float64).astype(np.float32).reshape(6, 10, 9)
    path = write(folder / "imagesTr" / "case_0_0000.nii.gz", image, (1.0, 1.0, 1.2))
    wide = dataclasses.replace(plans(), dataset=plan(spacing_mm=(1.0, 1.1, 1.1), normalization=(scheme,)))
    with pytest.raises(UserError, match="normalised intensities must be finite, and at most 1e\\+18") as caught:
        preprocess_dataset(load_dataset(folder), wide, tmp_path / "arrays", 1)
    assert caught.value.where == str(path)
    assert not [*(tmp_path / "arrays").glob("case_0*")]


def relabelled(folder: Path, labels: dict[str, int]) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**content, "labels": labels}))


@pytest.mark.parametrize("noted", [True, False])
def test_a_label_that_dataset_json_no_longer_lists_is_refused_in_arrays_of_before(tmp_path, noted):
    """All three values are in each file. Arrays of before these were noted are told apart by the label file."""
    folder, arrays = raw_dataset(tmp_path, 1), tmp_path / "arrays"
    store = preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert store.properties("case_0").label_values == (0, 1, 2)
    if not noted:
        content = json.loads((arrays / "case_0.json").read_text())
        del content["label_values"], content["checksums"], content["digest"]
        (arrays / "case_0.json").write_text(json.dumps(content))
    before = stamps(arrays)
    relabelled(folder, {"background": 0, "one": 1})
    found = []
    for place in (arrays, tmp_path / "fresh"):
        with pytest.raises(UserError, match="only values that dataset.json lists") as caught:
            preprocess_dataset(load_dataset(folder), plans(), place, 1)
        found.append((caught.value.where, caught.value.found))
    assert found[0] == found[1] and stamps(arrays) == before


def test_kept_arrays_are_checked_without_opening_a_file_and_those_of_before_once(tmp_path, monkeypatch):
    folder, arrays = raw_dataset(tmp_path, 1), tmp_path / "arrays"
    store = preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    store.note(dataclasses.replace(store.properties("case_0"), label_values=None))
    relabelled(folder, {"background": 0, "one": 1, "two": 2, "three": 3})
    before, properties = stamps(arrays), store.properties("case_0")
    preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert store.properties("case_0") == dataclasses.replace(properties, label_values=(0, 1, 2))
    assert {name for name, stamp in stamps(arrays).items() if stamp != before[name]} == {"case_0.json"}
    monkeypatch.setattr("samunet.preprocessing.preprocess.reader_named", lambda _: 1 / 0)
    before = stamps(arrays)
    preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert stamps(arrays) == before


def mirrored(path: Path) -> None:
    """Store a file's rows from the last to the first, its header with them."""
    sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(path)), [False, True, False]), str(path))


def test_arrays_of_before_grids_were_compared_are_rebuilt_where_the_label_has_other_axes(tmp_path, capsys):
    """Both labels have the values of before; case_1's array has its rows in the wrong order, as earlier versions stored
    it.
    """
    folder, arrays = raw_dataset(tmp_path, 2), tmp_path / "arrays"
    store = preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    right = store.load("case_1")
    assert right.properties.label_on_grid
    mirrored(folder / "labelsTr" / "case_1.nii.gz")
    store = preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert np.array_equal(store.segmentation("case_1"), right.segmentation)
    assert "permuted or flipped" in capsys.readouterr().err
    known = store.properties("case_1")
    wrong = np.ascontiguousarray(right.segmentation[:, :, ::-1])
    assert not np.array_equal(wrong, right.segmentation)
    store.write(dataclasses.replace(right, segmentation=wrong, properties=dataclasses.replace(
        known, segmentation_digest=digest_of_array(wrong), label_on_grid=False)))
    content = json.loads((arrays / "case_0.json").read_text())
    del content["label_on_grid"], content["checksums"], content["digest"]
    (arrays / "case_0.json").write_text(json.dumps(content))
    before = stamps(arrays)
    preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert {name for name, stamp in stamps(arrays).items() if stamp != before[name]} == {"case_0.json", "case_1.json",
                                                                                         "case_1_seg.b2nd"}
    assert np.array_equal(store.segmentation("case_1"), right.segmentation) and store.properties("case_1") == known
    assert store.properties("case_0").label_on_grid


def test_reasons_in_the_plan_make_nothing_anew(tmp_path):
    dataset = load_dataset(raw_dataset(tmp_path, 1))
    store = preprocess_dataset(dataset, plans(), tmp_path / "arrays", 1)
    first = stamps(store.folder)
    worded = dataclasses.replace(plans(), dataset=dataclasses.replace(plans().dataset, reasons={"spacing_mm": "told"}))
    preprocess_dataset(dataset, worded, tmp_path / "arrays", 1)
    assert stamps(store.folder) == first


def test_arrays_of_a_case_that_is_gone_are_removed(tmp_path):
    folder = raw_dataset(tmp_path)
    store = preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    for path in (folder / "imagesTr" / "case_2_0000.nii.gz", folder / "labelsTr" / "case_2.nii.gz"):
        path.unlink()
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**content, "numTraining": 2}))
    preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    assert sorted(contents(store.folder)) == [f"case_{i}{end}" for i in (0, 1)
                                              for end in (".b2nd", ".json", "_seg.b2nd")]


def test_of_two_commands_side_by_side_one_makes_the_arrays_and_the_other_finds_them(tmp_path, monkeypatch, capsys):
    """The second begins while the first is at its first case; three cases are made, for both together."""
    dataset, arrays, made = load_dataset(raw_dataset(tmp_path)), tmp_path / "arrays", []
    second = threading.Thread(target=preprocess_dataset, args=(dataset, plans(), arrays, 1))

    def prepare_and_begin_the_second(case, *others):
        made.append(case.name)
        if len(made) == 1:
            second.start()
            second.join(0.5)  # it would be done by then, or under way, if it did not wait
        return prepare_case(case, *others)

    monkeypatch.setattr("samunet.preprocessing.preprocess.prepare_case", prepare_and_begin_the_second)
    preprocess_dataset(dataset, plans(), arrays, 1)
    second.join()
    assert made == ["case_0", "case_1", "case_2"]
    assert "3 of 3 cases were preprocessed already" in capsys.readouterr().err


KILLABLE = """
import sys, importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("made", sys.argv[1]); made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
made.preprocess_dataset(made.load_dataset(Path(sys.argv[2])), made.plans(), Path(sys.argv[3]), 1)
"""


@pytest.mark.parametrize("files", [1, 4])
def test_killed_and_started_again_it_ends_with_the_same_bytes(tmp_path, files):
    folder, arrays = raw_dataset(tmp_path), tmp_path / "arrays"
    arguments = [sys.executable, "-c", KILLABLE, __file__, str(folder), str(arrays)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (arrays.is_dir() and len(list(arrays.iterdir())) >= files):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name in ArrayStore(arrays).names():
        case = ArrayStore(arrays).load(name)
        assert digest_of_array(case.image) == case.properties.image_digest
        assert digest_of_array(case.segmentation) == case.properties.segmentation_digest
    preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    preprocess_dataset(load_dataset(folder), plans(), tmp_path / "undisturbed", 1)
    assert contents(arrays) == contents(tmp_path / "undisturbed")


def test_names_that_clash_in_the_store_are_a_user_error(tmp_path):
    folder = raw_dataset(tmp_path, 1)
    dataset = load_dataset(folder)
    twin = dataclasses.replace(dataset.cases[0], name="case_0_seg")
    with pytest.raises(UserError, match="_seg"):
        preprocess_dataset(dataclasses.replace(dataset, cases=(*dataset.cases, twin)), plans(), tmp_path / "arrays", 1)
    assert not (tmp_path / "arrays").exists()


def test_names_of_augmented_views_are_a_user_error(tmp_path):
    dataset = load_dataset(raw_dataset(tmp_path, 1))
    cases = [dataclasses.replace(dataset.cases[0], name=name)
             for name in ("a__view1", "b__view", "c__view²", "d__view3_seg")]
    with pytest.raises(UserError, match="__view") as caught:
        preprocess_dataset(dataclasses.replace(dataset, cases=(*dataset.cases, *cases)), plans(), tmp_path / "arrays",
                           1)
    assert caught.value.found == "a__view1" and "Rename" in caught.value.mend
    assert not (tmp_path / "arrays").exists()


def test_a_spacing_file_beside_a_3d_tiff_makes_that_case_anew(tmp_path):
    folder = tmp_path / "Dataset001_Tiff"
    for part, ending in (("imagesTr", "_0000.tif"), ("labelsTr", ".tif")):
        (folder / part).mkdir(parents=True)
        for name in "ab":
            tifffile.imwrite(folder / part / f"{name}{ending}", np.ones((5, 8, 9), np.uint8))
            (folder / part / f"{name}.json").write_text(json.dumps({"spacing": [1, 1, 1]}))
    content = {"channel_names": {"0": "MR"}, "labels": dict(LABELS.names), "numTraining": 2, "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps(content))
    tiff = dataclasses.replace(plans(), dataset=plan(reader="Tiff3DIO"))
    store = preprocess_dataset(load_dataset(folder), tiff, tmp_path / "arrays", 1)
    assert store.image("a").shape == (1, 5, 8, 9)
    before = stamps(store.folder)
    for part in ("imagesTr", "labelsTr"):
        (folder / part / "a.json").write_text(json.dumps({"spacing": [2, 1, 1]}))
    preprocess_dataset(load_dataset(folder), tiff, tmp_path / "arrays", 1)
    assert store.image("a").shape == store.segmentation("a").shape == (1, 10, 8, 9)
    assert {name for name, stamp in stamps(store.folder).items() if stamp != before[name]} == {"a.json", "a.b2nd",
                                                                                               "a_seg.b2nd"}
    (folder / "labelsTr" / "a.json").unlink()
    with pytest.raises(UserError, match="its image's spacing"):
        preprocess_dataset(load_dataset(folder), tiff, tmp_path / "arrays", 1)


def test_the_signature_is_of_plan_and_files_alone(tmp_path):
    """Its keys are spelled out, because another signature would make all arrays anew that users have."""
    image, label = blob((6, 8, 8), 0)
    case = raw_case(tmp_path, image, label, (1, 1, 1))
    (tmp_path / "case.json").write_text("of no meaning beside NIfTI")
    signature = case_signature(case, plan())
    assert signature.pop("plan") == "78f147cf0f5f21f86cabcaebd9a20ee4826a0f18d67d88049cc63ba1ed3d9cdb"
    assert signature == {"version": 2, "images": [digest_of_file(case.images[0])], "label": digest_of_file(case.label)}


def picture(path: Path, array: np.ndarray, pixel_mm: float) -> None:
    """Write `array` (Y, X) as a 2D NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((pixel_mm, pixel_mm))
    sitk.WriteImage(image, str(path))


def test_a_2d_file_stays_one_slice_and_arrays_of_before_are_made_anew(tmp_path):
    """60 x 40 pixels of 2 mm on a grid of 1.25 mm, whose slice spacing is that of pixels of 0.65 mm."""
    folder = tmp_path / "Dataset001_Pictures"
    picture(folder / "imagesTr" / "a_0000.nii.gz", np.ones((60, 40), np.float32), 2.0)
    picture(folder / "labelsTr" / "a.nii.gz", np.ones((60, 40), np.uint8), 2.0)
    content = {"channel_names": {"0": "MR"}, "labels": dict(LABELS.names), "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    flat = dataclasses.replace(plans(), dataset=plan(spacing_mm=(999 * 0.65, 1.25, 1.25)))
    store = preprocess_dataset(load_dataset(folder), flat, tmp_path / "arrays", 1)
    assert store.image("a").shape == store.segmentation("a").shape == (1, 1, 96, 64)
    case = store.load("a")
    # As version 1 left it: a stack of the slice's copies.
    image, segmentation = case.image.repeat(3, 1), case.segmentation.repeat(3, 1)
    properties = dataclasses.replace(case.properties, shape=(3, 96, 64), image_digest=digest_of_array(image),
                                     segmentation_digest=digest_of_array(segmentation),
                                     signature=case.properties.signature | {"version": 1})
    store.write(dataclasses.replace(case, image=image, segmentation=segmentation, properties=properties))
    preprocess_dataset(load_dataset(folder), flat, tmp_path / "arrays", 1)
    assert store.image("a").shape == (1, 1, 96, 64) and store.properties("a") == case.properties
