"""The array store: what is written comes back, bytes repeat, single slices are cheap, kills leave whole cases or none."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import blosc2
import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.errors import UserError
from samunet.files import TEMPORARY_PREFIX, digest_of_array, digest_of_file
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.temporaries import HOST, temporary_beside


def prepared(name: str = "a", *, seed: int = 0, labelled: bool = True, shape=(2, 5, 20, 12), label_seed: int = 0):
    image = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    segmentation = None
    if labelled:
        segmentation = np.random.default_rng(label_seed).integers(-1, 3, (1, *shape[1:])).astype(np.int16)
    properties = CaseProperties(
        name=name,
        geometry=Geometry("SimpleITKIO", shape[1:], (3.0, 1.0, 0.1 + 0.2), (1.5, -2.0, 1 / 3), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
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
