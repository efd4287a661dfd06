"""Whole files only: everything is written to a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from samunet.errors import UserError, some

TEMPORARY_PREFIX = ".unfinished-"
REPLACED_PREFIX = ".replaced-"
MOST_JSON_BYTES = 256 * 2**20  # far above a summary.json of 100,000 cases
_UMASK = os.umask(0)  # it cannot be asked for without being set
os.umask(_UMASK)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` with the same ending; rename it to `path` when the block succeeds.

    The ending is kept because image writers choose the format by it. If the block raises, nothing stays behind.
    A name left by a killed process is overwritten by the next one. The file may be read by whom the process's umask says: safetensors
    lets nobody but the owner, and results are shared.

    Raises:
        UserError: the folder cannot be written (read-only, or a file blocks the way).
    """
    path = Path(path)
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    try:
        with _faults_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(path)
            yield temporary
            with suppress(OSError):  # a mount that knows no modes
                temporary.chmod(0o666 & ~_UMASK)
            _flush(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # already renamed, never made, or on a read-only mount
            temporary.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; when the block succeeds, it takes the place of `path`.

    As `whole_file`: a folder that exists is whole. An older one is renamed before it is removed, so that a command which
    is killed in between leaves none rather than a part of one.

    Raises:
        UserError: the place cannot be written (read-only, or a file blocks the way).
    """
    path = Path(path)
    temporary, replaced = (path.with_name(prefix + path.name) for prefix in (TEMPORARY_PREFIX, REPLACED_PREFIX))
    try:
        with _faults_told(path):
            if path.exists() and not path.is_dir():
                raise FileExistsError(errno.EEXIST, "a file is in the way")
            for leftover in (temporary, replaced):
                shutil.rmtree(leftover, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.iterdir():
                _flush(file)
            if path.is_dir():
                os.replace(path, replaced)
            os.replace(temporary, path)
    finally:
        for leftover in (temporary, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    """A place that cannot be written is a UserError."""
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as fault:
        raise cannot_write(path, fault) from fault
    except OSError as fault:
        if fault.errno in (errno.EROFS, errno.ENOSPC):
            raise cannot_write(path, fault) from fault
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` within the block, after whoever holds it now; it is free at once when its holder is killed.

    Whoever may write in the folder may hold it, whatever the first one's umask says: results are shared.

    Raises:
        UserError: the file cannot be made or opened.
    """
    from filelock import FileLock

    lock = FileLock(path, mode=0o666)
    with _faults_told(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, or a folder of files (hidden ones left out), unless the same bytes are there already."""
    if source.is_dir():
        if not target.is_dir() or digest_of_path(source) != digest_of_path(target):
            with whole_folder(target) as temporary:
                for file in _files_in(source):
                    shutil.copyfile(file, temporary / file.name)
    elif not target.is_file() or not filecmp.cmp(source, target, shallow=False):
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def remove_path(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def cannot_write(path: Path, fault: OSError) -> UserError:
    """The error for an output place that cannot be written."""
    return UserError(
        "The output place must be writable.",
        where=path,
        found=fault.strerror or str(fault),
        mend="Choose another folder, remove what is in the way, or free the disk.",
    )


def make_folder(path: Path) -> Path:
    """Create `path` and its parents; a file in the way or a read-only mount is a UserError. Returns `path`."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise cannot_write(Path(path), fault) from fault
    return Path(path)


def require_writable(path: Path) -> Path:
    """Create folder `path` and prove that a file can be made in it, before hours of work. Returns `path`."""
    make_folder(path)
    # Several processes may prove the same folder at once (prediction in parts).
    proof = Path(path) / f"writable-{os.getpid()}"
    with whole_file(proof) as temporary:
        temporary.touch()
    proof.unlink()
    return Path(path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON with an indent of 2 and keys in the order given, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of at most `MOST_JSON_BYTES`.

    Raises:
        UserError: the file is missing, cannot be read (a folder, or no permission), is too large or too deep, is not UTF-8, is
            not JSON, or gives one key twice.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_JSON_BYTES + 1)
        if len(content) > MOST_JSON_BYTES:
            raise ValueError(f"more than {MOST_JSON_BYTES} bytes")
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except FileNotFoundError as fault:
        raise UserError("A needed file is missing.", where=path, mend="Run the command that writes it first.") from fault
    except OSError as fault:
        raise UserError("A needed file must be readable.", where=path, found=fault.strerror or str(fault),
                        mend="Name a file, not a folder, and allow to read it.") from fault
    except RecursionError as fault:
        raise UserError("A .json file must hold valid JSON.", where=path, found="brackets nested too deeply") from fault
    except ValueError as fault:  # not JSON, not UTF-8, or an integer of thousands of digits
        raise UserError("A .json file must hold valid JSON.", where=path, found=str(fault)[:300]) from fault


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"keys that are given twice: {some(twice)}")
    return content


def digest_of_json(content: Any) -> str:
    """SHA-256 (hex) of the canonical JSON text of `content`: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_path(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, or of the names and bytes of the files in a folder (hidden ones left out)."""
    if path.is_dir():
        return digest_of_json({file.name: digest_of_file(file) for file in _files_in(path)})
    return digest_of_file(path)


def digest_of_array(array: Any) -> str:
    """SHA-256 (hex) of a NumPy array's dtype, shape and bytes in C order."""
    import numpy as np

    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8))  # no copy: arrays may be gigabytes
    return digest.hexdigest()


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _flush(path: Path) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
