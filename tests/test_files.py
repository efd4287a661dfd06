"""Files are whole or absent, and a place that cannot be written is reported in one message."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from samunet.errors import UserError
from samunet.files import (
    TEMPORARY_PREFIX,
    copy_whole,
    digest_of_array,
    digest_of_file,
    digest_of_json,
    digest_of_path,
    make_folder,
    read_json,
    require_writable,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)
from samunet.locks import locked


def test_whole_file_appears_only_when_done_and_keeps_its_ending(tmp_path):
    path = tmp_path / "new" / "case.nii.gz"
    with whole_file(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".nii.gz")
        temporary.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert [entry.name for entry in path.parent.iterdir()] == ["case.nii.gz"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="fault"), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("fault")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_file_is_as_open_as_any_other_whoever_writes_it(tmp_path):
    (tmp_path / "plain").write_text("x")
    path = tmp_path / "weights.safetensors"
    with whole_file(path) as temporary:
        temporary.write_text("x")
        temporary.chmod(0o600)  # as safetensors leaves it
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_removes_its_rest(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, signal, sys; from pathlib import Path; from samunet.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=Path(__file__).parents[1])
    assert ended.wait() == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = tmp_path.glob(f"{TEMPORARY_PREFIX}*-{ended.pid}*-a.txt")
    assert left.read_text() == "half"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_indented_ordered_and_round_trips(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1,\n  "a": [\n    1.5,\n    null\n  ]\n}\n'
    assert read_json(tmp_path / "a.json") == {"b": 1, "a": [1.5, None]}


@pytest.mark.parametrize("content", [b'{"a": 1', b"\xff\xfe\x00", b"[" * 100_000, b"1" * 5000])
def test_broken_json_is_a_user_error_that_names_the_file(tmp_path, content):
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(UserError, match="valid JSON") as caught:
        read_json(tmp_path / "broken.json")
    assert caught.value.where == str(tmp_path / "broken.json")


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_json_of_64_brackets_is_read_and_of_65_refused(tmp_path, opened, closed):
    (tmp_path / "deep.json").write_text(opened * 64 + "1" + closed * 64)
    assert str(read_json(tmp_path / "deep.json")).count("[" if opened == "[" else "{") == 64
    for depth in (65, 500):  # Python's reader takes the latter, and what walks through it would not
        (tmp_path / "deep.json").write_text(opened * depth + "1" + closed * depth)
        with pytest.raises(UserError, match="valid JSON.*\n.*\n.*64 deep"):
            read_json(tmp_path / "deep.json")


@pytest.mark.parametrize("text", ['["\\ud800"]', '{"a\\uDFFF": 1}', '["\\ude00\\ud83d"]'])
def test_json_with_half_a_character_is_refused(tmp_path, text):
    (tmp_path / "half.json").write_text(text)
    with pytest.raises(UserError, match="valid JSON") as caught:
        read_json(tmp_path / "half.json")
    assert "surrogates not allowed" in caught.value.found


@pytest.mark.parametrize(("text", "content"), [('["\\ud83d\\ude00"]', ["\U0001f600"]), ('["a\\udcff"]', ["a\udcff"])])
def test_whole_characters_and_undecodable_bytes_of_paths_are_read(tmp_path, text, content):
    (tmp_path / "whole.json").write_text(text)
    assert read_json(tmp_path / "whole.json") == content


def test_a_key_that_json_gives_twice_is_named(tmp_path):
    (tmp_path / "twice.json").write_text('{"labels": {"liver": 1, "spleen": 2, "liver": 3}}')
    with pytest.raises(UserError, match="valid JSON") as caught:
        read_json(tmp_path / "twice.json")
    assert "liver" in caught.value.found and "spleen" not in caught.value.found


def test_a_json_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("samunet.files.MOST_JSON_BYTES", 4)
    (tmp_path / "a.json").write_text("1234")
    assert read_json(tmp_path / "a.json") == 1234
    (tmp_path / "a.json").write_text("12345")
    with pytest.raises(UserError, match="valid JSON") as caught:
        read_json(tmp_path / "a.json")
    assert "4 bytes" in caught.value.found


def test_a_missing_json_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="missing") as caught:
        read_json(tmp_path / "none.json")
    assert caught.value.where == str(tmp_path / "none.json")


@pytest.mark.parametrize("path", ["folder", "file/inside.json"])
def test_a_json_that_cannot_be_read_is_a_user_error(tmp_path, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("{}")
    with pytest.raises(UserError, match="must be readable") as caught:
        read_json(tmp_path / path)
    assert caught.value.where == str(tmp_path / path) and caught.value.found


def _blocked(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "inside"


@pytest.mark.parametrize("act", [make_folder, require_writable, lambda path: write_text(path / "a.txt", "")])
def test_a_file_in_the_way_of_a_folder_is_a_user_error(tmp_path, act):
    with pytest.raises(UserError, match="must be writable") as caught:
        act(_blocked(tmp_path))
    assert str(tmp_path / "file") in caught.value.where
    assert caught.value.mend
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_in_the_way_of_a_file_is_a_user_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(UserError, match="must be writable"):
        write_json(tmp_path / "a.json", {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def _read_only_mount() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines() if os.path.exists("/proc/mounts") else ():
        place, options = line.split()[1], line.split()[3]
        if "ro" in options.split(",") and os.path.isdir(place):
            return Path(place)
    return None


@pytest.mark.parametrize("act", [make_folder, require_writable, lambda path: write_text(path / "a.txt", "")])
def test_a_read_only_mount_is_a_user_error(act):
    mount = _read_only_mount()
    if mount is None:
        pytest.skip("this machine has no read-only mount to try")
    with pytest.raises(UserError, match="must be writable"):
        act(mount / "samunet_test")


def test_require_writable_leaves_an_empty_folder(tmp_path):
    assert require_writable(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []


def _fill(folder: Path, *texts: str) -> None:
    for index, text in enumerate(texts):
        (folder / str(index)).write_text(text)


def test_a_folder_is_whole_or_not_there_and_takes_an_older_ones_place(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "a") as temporary:
        _fill(temporary, "half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    for texts in (("1", "2", "3"), ("4",)):
        with whole_folder(tmp_path / "a") as temporary:
            assert temporary.parent == tmp_path and temporary.name.startswith(".")
            _fill(temporary, *texts)
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "a"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [(path.name, path.read_text()) for path in (tmp_path / "a").iterdir()] == [("0", "4")]


def test_a_file_in_the_way_of_a_whole_folder_is_a_user_error(tmp_path):
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(UserError, match="must be writable"), whole_folder(tmp_path / "a"):
        pass
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "in the way")]


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
def test_a_lock_may_be_held_by_whoever_may_write_the_folder_and_one_that_cannot_be_made_is_reported(tmp_path):
    with locked(tmp_path / "a.lock"), pytest.raises(Timeout):
        FileLock(tmp_path / "a.lock", timeout=0).acquire()
    assert (tmp_path / "a.lock").stat().st_mode & 0o777 == 0o666
    with locked(tmp_path / "a.lock"):  # free again
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="(?s)must be writable.*folder"), locked(tmp_path / "folder"):
        pass


def test_a_folder_is_copied_with_its_digest_and_without_leftovers(tmp_path):
    (tmp_path / "a").mkdir()
    _fill(tmp_path / "a", "1", "2")
    digest = digest_of_path(tmp_path / "a")
    (tmp_path / "a" / ".unfinished-0").write_text("left over")
    assert digest_of_path(tmp_path / "a") == digest
    assert digest == digest_of_json({"0": hashlib.sha256(b"1").hexdigest(), "1": hashlib.sha256(b"2").hexdigest()})
    copy_whole(tmp_path / "a", tmp_path / "b" / "a")
    assert sorted(path.name for path in (tmp_path / "b" / "a").iterdir()) == ["0", "1"]
    made = (tmp_path / "b" / "a").stat().st_ino
    copy_whole(tmp_path / "a", tmp_path / "b" / "a")
    assert (tmp_path / "b" / "a").stat().st_ino == made, "what is there already is not copied again"
    _fill(tmp_path / "a", "1", "9")
    copy_whole(tmp_path / "a", tmp_path / "b" / "a")
    assert digest_of_path(tmp_path / "b" / "a") == digest_of_path(tmp_path / "a") != digest
    assert digest_of_path(tmp_path / "a" / "1") == hashlib.sha256(b"9").hexdigest()


def test_digests_are_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert digest_of_json({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
    array = np.array([[1, 2], [3, 4]], np.int16)
    expected = hashlib.sha256(b"<i2(2, 2)" + array.tobytes()).hexdigest()
    assert digest_of_array(array) == expected
    assert digest_of_array(np.asfortranarray(array)) == expected
    assert digest_of_array(array.reshape(4)) != expected
    assert digest_of_array(array.astype(np.int32)) != expected
    assert digest_of_array(np.zeros((0, 3))) == hashlib.sha256(b"<f8(0, 3)").hexdigest()


def test_json_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of_json(json.loads('{"a": 1, "b": 2}')) == digest_of_json(json.loads('{"b": 2, "a": 1}'))
