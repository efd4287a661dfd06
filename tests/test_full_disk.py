"""Every kind of file on a disk that has no room for it: one message, no part of a file, and the old file as it was."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import torch
from matplotlib.figure import Figure

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.frame_folder_io import write_frames
from samunet.dataset.io.natural_image_io import write_plane
from samunet.dataset.io.readers import reader_named
from samunet.dataset.io.sitk_io import write_image
from samunet.digests import digest_of_array
from samunet.errors import UserError
from samunet.files import copy_whole, require_writable, whole_file, write_json
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.training.checkpoints import save_weights
from samunet.training.logbook import Entry, Logbook

resource = pytest.importorskip("resource", reason="limits are POSIX")
ROOM = 16384  # bytes
# 131072 bytes that no writer makes small
NOISE = np.random.default_rng(0).integers(0, 2**15, (4, 128, 128)).astype(np.int16)


def numpy_file(path: Path) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, NOISE)


def zipped(path: Path) -> None:
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, probabilities=NOISE)


def pickled(path: Path) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        pickle.dump(NOISE, stream)


def image(path: Path) -> None:
    with whole_file(path) as temporary:
        write_plane(NOISE.reshape(256, 256).astype(np.uint16), temporary)


def tiff(path: Path) -> None:
    with whole_file(path) as temporary:
        tifffile.imwrite(temporary, NOISE, compression="zlib", photometric="minisblack")


def plot(path: Path) -> None:
    figure = Figure(figsize=(6, 6))
    figure.subplots().imshow(NOISE[0])
    with whole_file(path) as temporary:
        figure.savefig(temporary)


def copied(path: Path) -> None:
    source = Path(os.environ["SAMUNET_TEST_ROOM"]) / "source"
    copy_whole(source, path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.json": lambda path: write_json(path, NOISE.tolist()),
    "a.npy": numpy_file,
    "a.npz": zipped,
    "a.pkl": pickled,
    "a.safetensors": lambda path: save_weights(path, {"a": torch.from_numpy(NOISE)}),
    "a.png": image,
    "a.tif": tiff,
    "plot.png": plot,
    "a.bin": copied,
    **{f"a{ending}": lambda path: write_image(sitk.GetImageFromArray(NOISE), path)
       for ending in (".nii.gz", ".nii", ".nrrd", ".mha")},
}


@pytest.fixture
def no_room(tmp_path: Path, tmp_path_factory, monkeypatch) -> Iterator[Path]:
    """A folder in which no file may be larger than ROOM, for whatever user the tests run as."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "source").write_bytes(NOISE.tobytes())
    monkeypatch.setenv("SAMUNET_TEST_ROOM", str(elsewhere))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, most))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture
def full_disk(tmp_path: Path, tmp_path_factory, monkeypatch) -> Iterator[Path]:
    """A disk of 4 * ROOM bytes, where the tests may mount one."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "source").write_bytes(NOISE.tobytes())
    monkeypatch.setenv("SAMUNET_TEST_ROOM", str(elsewhere))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * ROOM}", "tmpfs", tmp_path], capture_output=True,
                             check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def refused(write: Callable[[], object], found: str) -> UserError:
    with pytest.raises(UserError, match="must be writable") as caught:
        write()
    assert caught.value.found == found
    return caught.value


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_grows_too_large_is_refused_and_the_old_one_stays(no_room: Path, name: str) -> None:
    (no_room / name).write_text("old")
    fault = refused(lambda: WRITERS[name](no_room / name), "File too large")
    assert fault.where == str(no_room / name)
    assert [(path.name, path.read_text()) for path in no_room.iterdir()] == [(name, "old")]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_and_keeps_no_part_of_a_file(full_disk: Path, name: str) -> None:
    fault = refused(lambda: WRITERS[name](full_disk / name), "No space left on device")
    assert fault.where == str(full_disk / name)
    assert list(full_disk.iterdir()) == []


def test_frames_are_all_there_or_none(no_room: Path) -> None:
    refused(lambda: write_frames(NOISE % 256, no_room / "a", ()), "File too large")
    assert list(no_room.iterdir()) == []


def test_an_array_that_does_not_fit_is_no_case_of_the_store(no_room: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(1, 20, 64, 64)).astype(np.float32)
    box = ((0, 20), (0, 64), (0, 64))
    properties = CaseProperties("a", Geometry("SimpleITKIO", noise.shape[1:], (1.0, 1.0, 1.0)), noise.shape[1:], box,
                                noise.shape[1:],
                                noise.shape[1:], ((-2.0, 2.0),), digest_of_array(noise), None, {}, None)
    refused(lambda: ArrayStore(no_room).write(PreparedCase(noise, None, properties)), "File too large")
    assert ArrayStore(no_room).names() == [] and list(no_room.iterdir()) == []


def test_a_log_line_that_does_not_fit_is_a_message_and_the_log_goes_on_when_there_is_room(no_room: Path) -> None:
    lines = (ROOM // len('{"iteration": 1, "loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}\n'))
    book = Logbook(no_room, 0)
    for iteration in range(1, lines - 50):
        book.add(Entry(iteration, 0.5, 0.1, 1.0))

    def fill() -> None:
        for iteration in range(lines - 50, lines + 2):
            book.add(Entry(iteration, 0.5, 0.1, 1.0))

    assert refused(fill, "File too large").where == str(no_room / "log.jsonl")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert (no_room / "log.jsonl").read_bytes()[-1:] != b"\n", "the last line is cut"
    again = Logbook(no_room, 10)
    again.add(Entry(11, 0.25, 0.1, 1.0))
    assert [entry.iteration for entry in Logbook(no_room, 11).entries] == list(range(1, 12))


def test_a_folder_on_a_disk_without_any_room_is_no_output_folder(monkeypatch, tmp_path: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        refused(lambda: require_writable(tmp_path / "out"), "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_its_own_check_finds_cut_gets_no_name(tmp_path: Path) -> None:
    """If the disk has space again when it is checked, only the check of the file fails."""
    def check(written: Path) -> None:
        if written.read_text() != "whole":
            raise ValueError("cut")

    def write(text: str) -> None:
        with whole_file(tmp_path / "a", check=check) as temporary:
            temporary.write_text(text)

    write("whole")
    refused(lambda: write("who"), "the file is incomplete after it was written (cut)")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "whole")]


def test_a_fault_that_the_disk_has_no_part_in_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ours"), whole_file(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise RuntimeError("ours")
    assert list(tmp_path.iterdir()) == []


def test_a_written_image_is_read_back_as_it_was(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nrrd", "a.mha", "a.nii"):
        write_image(sitk.GetImageFromArray(NOISE), tmp_path / name)
        image, _ = reader_named("SimpleITKIO").read_images([tmp_path / name])
        np.testing.assert_array_equal(image[0], NOISE)
    write_image(sitk.GetImageFromArray(NOISE[0]), tmp_path / "flat.nii.gz")
