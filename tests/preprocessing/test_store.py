"""The array store: what is written comes back, bytes repeat, single slices are cheap, kills leave whole cases or none.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import blosc2
import numpy as np
import pytest
from damage import flip, rewrite

from samunet.dataset.geometry import Geometry
from samunet.errors import UserError
from samunet.files import TEMPORARY_PREFIX, digest_of_array, digest_of_file
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.checksums import checksum_of_file
from samunet.preprocessing.store import BLOSC2_FAULTS, ArrayStore
from samunet.temporaries import HOST, temporary_beside


def prepared(name: str = "a", *, seed: int = 0, labelled: bool = True, shape=(2, 5, 20, 12), label_seed: int = 0):
    image = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    segmentation = None
    if labelled:
        segmentation = np.random.default_rng(label_seed).integers(-1, 3, (1, *shape[1:])).astype(np.int16)
    properties = CaseProperties(
        name=name,
        geometry=Geometry("SimpleITKIO", shape[1:], (3.0, 1.0, 0.1 + 0.2), (1.5, -2.0, 1 / 3),
                          (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        shape_before_cropping=(6, 21, 13),
        bbox=((0, 5), (1, 21), (0, 12)),
        shape_after_cropping=(5, 20, 12),
        shape=shape[1:],
        intensity_percentiles=((-2.5, 2.5), (-1 / 3, 2.0)),
        image_digest=digest_of_array(image),
        segmentation_digest=None if segmentation is None else digest_of_array(segmentation),
        signature={"plan": "p", "images": ["x", "y"], "label": "z"},
    )
    return PreparedCase(image, segmentation, properties)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_comes_back_exactly(tmp_path):
    store, case = ArrayStore(tmp_path / "arrays"), prepared()
    store.write(case)
    loaded = store.load("a")
    assert loaded.image.dtype == np.float32 and loaded.segmentation.dtype == np.int16
    np.testing.assert_array_equal(loaded.image, case.image)
    np.testing.assert_array_equal(loaded.segmentation, case.segmentation)
    assert loaded.properties == case.properties
    assert names_in(store.folder) == ["a.b2nd", "a.json", "a_seg.b2nd"]
    assert store.names() == ["a"] and "a" in store and "b" not in store


def test_an_unlabelled_case_has_no_segmentation(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(prepared(labelled=True))
    store.write(prepared(labelled=False))
    assert store.segmentation("a") is None
    assert names_in(tmp_path) == ["a.b2nd", "a.json"]


def test_equal_cases_give_equal_bytes(tmp_path):
    stores = [ArrayStore(tmp_path / folder) for folder in ("one", "two")]
    for store in stores:
        store.write(prepared())
    for name in ("a.b2nd", "a_seg.b2nd", "a.json"):
        assert (stores[0].folder / name).read_bytes() == (stores[1].folder / name).read_bytes()


def test_bytes_do_not_depend_on_the_process_s_threads(tmp_path):
    ArrayStore(tmp_path / "one").write(prepared())
    before = blosc2.set_nthreads(4)
    try:
        ArrayStore(tmp_path / "two").write(prepared())
    finally:
        blosc2.set_nthreads(before)
    assert digest_of_file(tmp_path / "one" / "a.b2nd") == digest_of_file(tmp_path / "two" / "a.b2nd")


def test_blocks_are_single_slices_of_single_channels(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(prepared(shape=(2, 40, 64, 48)))
    stored = blosc2.open(str(tmp_path / "a.b2nd"))
    assert stored.blocks == (1, 1, 64, 48) and stored.chunks == (1, 40, 64, 48)


def test_a_new_label_rewrites_the_segmentation_alone(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(prepared())
    before = (tmp_path / "a.b2nd").stat()
    changed = prepared(label_seed=1)
    store.write(changed)
    after = (tmp_path / "a.b2nd").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    np.testing.assert_array_equal(store.segmentation("a"), changed.segmentation)
    assert store.properties("a") == changed.properties


def test_a_new_image_replaces_the_old_one(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(prepared(seed=0))
    store.write(prepared(seed=1))
    np.testing.assert_array_equal(store.image("a"), prepared(seed=1).image)


def test_keep_only_removes_other_cases_and_unfinished_files(tmp_path):
    store = ArrayStore(tmp_path)
    for name in ("a", "b"):
        store.write(prepared(name))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"{TEMPORARY_PREFIX}{HOST}-{ended.pid}-0-c.b2nd").write_bytes(b"half")
    living = temporary_beside(tmp_path / "b.b2nd")
    living.write_bytes(b"half")
    (tmp_path / "d.b2nd").write_bytes(b"a killed write, its JSON still missing")
    store.keep_only(["b", "e"])
    assert names_in(tmp_path) == [living.name, "b.b2nd", "b.json", "b_seg.b2nd"]


def test_names_leave_out_unfinished_files_and_a_missing_folder(tmp_path):
    (tmp_path / f"{TEMPORARY_PREFIX}a.json").write_text("{}")
    assert ArrayStore(tmp_path).names() == []
    assert ArrayStore(tmp_path / "none").names() == []


def test_a_case_that_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="must be preprocessed") as caught:
        ArrayStore(tmp_path).load("a")
    assert "a.json" in caught.value.where and "samunet_preprocess" in caught.value.mend


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_damaged_array_is_a_user_error(tmp_path, damage):
    store = ArrayStore(tmp_path)
    store.write(prepared())
    path = tmp_path / "a.b2nd"
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="must be whole") as caught:
        store.image("a")
    assert caught.value.where == str(path)


def other_array(path: Path) -> int:
    """The first byte of which a flipped bit decodes to another array without any error; the file stays as it was."""
    whole, right = path.read_bytes(), blosc2.open(str(path))[...]
    for place in range(len(whole) // 2, len(whole)):
        flip(path, place)
        try:
            if not np.array_equal(blosc2.open(str(path))[...], right):
                return place
        except BLOSC2_FAULTS:
            pass
        finally:
            rewrite(path, whole)
    raise AssertionError


READS = {"image": lambda store: store.image("a"), "image_slice": lambda store: store.image_slice("a", 3),
         "segmentation": lambda store: store.segmentation("a"), "load": lambda store: store.load("a")}


@pytest.mark.parametrize("before", [False, True], ids=["checksum", "digest of before"])
@pytest.mark.parametrize(("array", "read"),
                         [("a.b2nd", "image"), ("a.b2nd", "image_slice"), ("a_seg.b2nd", "segmentation"),
                          ("a_seg.b2nd", "load")])
def test_a_flipped_bit_that_decodes_to_another_array_is_refused_and_mended(tmp_path, array, read, before):
    """Stores of before have digests of the decoded arrays alone, which are compared as well."""
    store, case = ArrayStore(tmp_path), prepared()
    store.write(case)
    if before:
        content = json.loads((tmp_path / "a.json").read_text())
        del content["checksums"], content["digest"]
        (tmp_path / "a.json").write_text(json.dumps(content))
    assert store.whole("a") == case.properties
    np.testing.assert_array_equal(store.image_slice("a", 3), case.image[:, 3])
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.b2nd")}
    flip(tmp_path / array, other_array(tmp_path / array))
    with pytest.raises(UserError, match="must be whole") as caught:
        READS[read](store)
    assert (caught.value.where, caught.value.found) == (str(tmp_path / array), "other bytes than were written")
    assert "samunet_preprocess" in caught.value.mend
    assert store.whole("a") is None
    store.write(case)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.b2nd")} == files
    assert store.whole("a") == case.properties


@pytest.mark.parametrize("place", [11, 84, 95, 122, 127, 200])
def test_a_damaged_header_never_reaches_blosc2(tmp_path, monkeypatch, place):
    """Flips there made blosc2 raise six kinds of errors, or ask for gigabytes."""
    store = ArrayStore(tmp_path)
    store.write(prepared())
    flip(tmp_path / "a.b2nd", place, 128)
    monkeypatch.setattr(blosc2, "open", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match="other bytes than were written"):
        store.image("a")


def test_an_array_is_compared_once_and_again_after_it_changed(tmp_path, monkeypatch):
    store, read = ArrayStore(tmp_path), []
    monkeypatch.setattr("samunet.preprocessing.store.checksum_of_file",
                        lambda path: read.append(path.name) or checksum_of_file(path))
    store.write(prepared())
    read.clear()
    for plane in range(4):
        store.image_slice("a", plane)
    store.image("a")
    assert read == ["a.b2nd"]
    rewrite(tmp_path / "a.b2nd", (tmp_path / "a.b2nd").read_bytes())
    store.image("a")
    assert read == ["a.b2nd"] * 2


@pytest.mark.parametrize(("old", "new"), [('"shape": [', '"shape":[ '), ("0.30000000000000004", "0.30000000000000014"),
                                          ('"a"', '"b"'), ('"digest": "', '"digest": "f'),
                                          ('"checksums"', '"checksumz"')])
def test_a_damaged_json_of_a_case_is_refused_unless_it_says_the_same(tmp_path, old, new):
    """White space is no content; the second is a spacing, which would shift predictions without a word."""
    store, case = ArrayStore(tmp_path), prepared()
    store.write(case)
    path = tmp_path / "a.json"
    text = path.read_text()
    assert old in text or old.startswith('"shape"')
    path.write_text(text.replace(old, new))
    if old.startswith('"shape"'):
        assert store.whole("a") == case.properties
        return
    with pytest.raises(UserError, match="must be as they were written") as caught:
        store.load("a")
    assert (caught.value.where, caught.value.found) == (str(path), "other content")
    assert store.whole("a") is None
    store.write(case)
    assert path.read_text() == text


@pytest.mark.parametrize("content", ["", "[1, 2]", "{}", '{"name": "a"}', '{"checksums": 3}', '"text"', "7"])
def test_a_json_of_another_shape_is_refused_and_replaced(tmp_path, content):
    store, case = ArrayStore(tmp_path), prepared()
    store.write(case)
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError) as caught:
        store.properties("a")
    assert caught.value.where == str(tmp_path / "a.json")
    assert store.whole("a") is None
    store.write(case)
    assert store.properties("a") == case.properties


KILLED_WRITE = """
import os, pickle, signal, sys
from pathlib import Path
from samunet.preprocessing.store import ArrayStore
replaced, kill_at = 0, int(sys.argv[3])
replace = os.replace
def replace_or_die(source, target):
    global replaced
    if replaced == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    replaced += 1
    replace(source, target)
os.replace = replace_or_die
ArrayStore(Path(sys.argv[1])).write(pickle.loads(Path(sys.argv[2]).read_bytes()))
"""


@pytest.mark.parametrize("kill_at", [0, 1, 2])
def test_killed_at_each_rename_a_rewrite_leaves_no_case_that_looks_whole(tmp_path, kill_at):
    import pickle

    store, new = ArrayStore(tmp_path / "arrays"), prepared(seed=1, label_seed=1)
    store.write(prepared())
    (tmp_path / "new").write_bytes(pickle.dumps(new))
    arguments = [sys.executable, "-c", KILLED_WRITE, str(store.folder), str(tmp_path / "new"), str(kill_at)]
    ended = subprocess.run(arguments, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    assert "a" not in store  # so that it is made again, never mixed with the old
    for path in store.folder.glob("[!.]*.b2nd"):
        assert blosc2.open(str(path))[...].shape[1:] == (5, 20, 12)
    store.write(new)
    store.keep_only(["a"])
    other = ArrayStore(tmp_path / "undisturbed")
    other.write(new)
    for name in names_in(other.folder):
        assert (store.folder / name).read_bytes() == (other.folder / name).read_bytes()
    assert names_in(store.folder) == names_in(other.folder)


def test_properties_round_trip_through_json():
    case = prepared()
    assert CaseProperties.from_json(case.properties.to_json()) == case.properties
    changed = dataclasses.replace(case.properties, segmentation_digest=None)
    assert CaseProperties.from_json(changed.to_json()) == changed


@pytest.mark.parametrize(("damage", "field"), [
    ([], "got `array`"), (None, "got `null`"), ({}, "no `name`"),
    ({"shape": [0, 20, 12]}, "$.shape[0]"),
    ({"shape": [5, 20]}, "$.shape"),
    ({"bbox": [[0, "5"], [0, 20], [0, 12]]}, "$.bbox[0][1]"),
    ({"geometry": None}, "$.geometry"),
    ({"geometry": {"reader": "SimpleITKIO", "shape": [5, 20, 12], "spacing_mm": [1, 1, "1"]}},
     "$.geometry.spacing_mm[2]"),
    ({"intensity_percentiles": [[0, float("inf")]]}, "$.intensity_percentiles[0][1]"),
    ({"signature": []}, "$.signature"),
    ({"image_digest": None}, "$.image_digest"),
])
def test_properties_of_another_form_are_told_with_their_field(damage, field):
    content = prepared().properties.to_json()
    with pytest.raises(UserError, match="properties that preprocessing writes") as caught:
        CaseProperties.from_json({**content, **damage} if damage else damage, "case.json")
    assert field in caught.value.found and caught.value.where == "case.json"
