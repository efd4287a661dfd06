"""Complete files only: everything is written to a temporary name in the same folder, flushed, checked, renamed."""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Re-exported: the modules that write files also import digests from here.
from samunet.digests import digest_of_array, digest_of_file, digest_of_json, digest_of_path, files_in
from samunet.errors import UserError, some
from samunet.temporaries import REPLACED_PREFIX, TEMPORARY_PREFIX, clear_abandoned_once, temporary_beside

__all__ = [
    "TEMPORARY_PREFIX", "cannot_write", "copy_whole", "digest_of_array", "digest_of_file", "digest_of_json",
    "digest_of_path", "make_folder", "parse_json", "read_json", "read_json_lines", "remove_path", "require_writable",
    "whole_file", "whole_folder", "write_json", "write_text", "writing",
]

MOST_JSON_BYTES = 256 * 2**20  # far above a summary.json of 100,000 cases
MOST_JSON_DEPTH = 64  # of brackets; our own files have at most 7
# Errors of a writer that the folder, its disk or its permissions cause; all others are bugs.
WRITE_FAULTS = frozenset({
    errno.EACCES, errno.EBUSY, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ELOOP,
    errno.ENAMETOOLONG, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.EROFS,
    errno.ESTALE,
})
PROBE_BYTES = 2**20
_UMASK = os.umask(0)  # it can only be read by setting it
os.umask(_UMASK)


@contextmanager
def whole_file(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Yield a temporary path next to `path` with the same ending; rename it to `path` when the block succeeds.

    The ending stays because image writers choose the format by it. If the block raises, the temporary file is removed.
    Temporary files of killed processes are removed before the first file is written to a folder. The file gets the
    permissions of the process's umask: safetensors permits only the owner, but results are shared.

    Arguments:
        check: reads the temporary file, for writers that do not report a full disk; it raises any exception if the
            file is incomplete.

    Raises:
        UserError: the file cannot be written: no permission, a full disk, a file that blocks the way.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        with writing(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            clear_abandoned_once(path.parent)
            yield temporary
            with suppress(OSError):  # a mount without file modes
                temporary.chmod(0o666 & ~_UMASK)
            _flush(temporary)
            if check is not None:
                _check(temporary, check)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # already renamed, never created, or on a read-only mount
            temporary.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder next to `path`; when the block succeeds, it replaces `path`.

    As for `whole_file`, a folder that exists is complete. An older one is renamed before it is removed, so that a
    command which is killed in between leaves no folder rather than a part of one.

    Raises:
        UserError: the place cannot be written: no permission, a full disk, a file that blocks the way.
    """
    path = Path(path)
    temporary, replaced = temporary_beside(path), temporary_beside(path, REPLACED_PREFIX)
    try:
        with writing(path, temporary):
            if path.exists() and not path.is_dir():
                raise FileExistsError(errno.EEXIST, "a file is in the way")
            clear_abandoned_once(path.parent)
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            if path.is_dir():
                os.replace(path, replaced)
            os.replace(temporary, path)
    finally:
        for leftover in (temporary, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def writing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Report errors of writing `path` within the block as a UserError.

    Arguments:
        temporary: the path that the block writes. Some writers (NumPy, safetensors, blosc2, ITK) raise their own
            exceptions on a full disk; writing more there shows whether the disk is the reason.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as fault:
        known = isinstance(fault, OSError) and fault.errno in WRITE_FAULTS
        reason = fault if known else temporary and _disk_fault(temporary)
        if isinstance(reason, OSError):
            raise cannot_write(path, reason) from fault
        raise


def _check(temporary: Path, check: Callable[[Path], object]) -> None:
    """Raise the disk's error, or EIO if it has none now, if `check` finds the file incomplete."""
    try:
        check(temporary)
    except Exception as fault:
        raise _disk_fault(temporary) or OSError(errno.EIO,
                                                f"the file is incomplete after it was written ({fault})") from fault


def _disk_fault(temporary: Path) -> OSError | None:
    """The error of writing more to the end of the file, or into the folder, `temporary`; None if there is none."""
    try:
        with open(temporary / "probe" if temporary.is_dir() else temporary, "ab") as stream:
            stream.write(bytes(PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as fault:
        return fault
    return None


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, or a folder of files (hidden ones left out), unless the target has the same bytes."""
    if source.is_dir():
        if not target.is_dir() or digest_of_path(source) != digest_of_path(target):
            with whole_folder(target) as temporary:
                for file in files_in(source):
                    shutil.copyfile(file, temporary / file.name)
    elif not target.is_file() or not filecmp.cmp(source, target, shallow=False):
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def remove_path(path: Path) -> None:
    """Remove a file, a link or a folder with its content."""
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
        mend="Choose another folder, remove the file that blocks it, or free some disk space.",
    )


def make_folder(path: Path) -> Path:
    """Create `path` and its parents; a file in the way or a read-only mount is a UserError. Returns `path`."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise cannot_write(Path(path), fault) from fault
    return Path(path)


def require_writable(path: Path) -> Path:
    """Create folder `path` and check that a file can be written in it, before hours of work. Returns `path`."""
    path = make_folder(path)
    proof = temporary_beside(path / "proof")
    try:
        with writing(path):
            clear_abandoned_once(path)
            proof.write_bytes(b"proof")
            _flush(proof)
    finally:
        with suppress(OSError):
            proof.unlink()
    return path


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
        UserError: the file is missing, cannot be read (a folder, or no permission), is too large or too deep, is not
            UTF-8, is not JSON, gives one key twice, or escapes half a character (a lone surrogate).
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_JSON_BYTES + 1)
    except FileNotFoundError as fault:
        raise UserError("A required file is missing.", where=path,
                        mend="Run the command that writes it first.") from fault
    except (OSError, ValueError) as fault:  # a path may hold a zero byte
        raise UserError("A required file must be readable.", where=path,
                        found=getattr(fault, "strerror", None) or str(fault),
                        mend="Name a file, not a folder, and make it readable.") from fault
    return parse_json(content, path)


def parse_json(content: bytes, where: str | Path) -> Any:
    """As `read_json`, of a file's bytes that are in memory; `where` is what messages name."""
    try:
        if len(content) > MOST_JSON_BYTES:
            raise ValueError(f"more than {MOST_JSON_BYTES} bytes")
        text = content.decode("utf-8")
        return _sound(json.loads(text, object_pairs_hook=_unique), text)
    except RecursionError as fault:
        raise UserError("A .json file must hold valid JSON.", where=where,
                        found="brackets nested too deeply") from fault
    except ValueError as fault:  # not JSON, not UTF-8, half a character, too deep, or an integer of thousands of digits
        raise UserError("A .json file must hold valid JSON.", where=where, found=str(fault)[:300]) from fault


def read_json_lines(path: Path) -> list[Any]:
    """The lines of a JSON-lines log up to the first unreadable one: a killed process leaves a half line at the end.
    """
    lines: list[Any] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):
            break
    return lines


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"duplicate keys: {some(twice)}")
    return content


def _sound(content: Any, text: str) -> Any:
    """`content`, unless it is nested too deeply, or holds text that cannot be written to a file."""
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(MOST_JSON_DEPTH):
        level = [child for each in level for child in (each.values() if isinstance(each, dict) else each)
                 if isinstance(child, dict | list)]
    if level:
        raise ValueError(f"brackets nested more than {MOST_JSON_DEPTH} deep")
    # half of a pair; those that Python uses for undecodable bytes of paths are allowed
    if "\\ud" in text or "\\uD" in text:
        json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return content


def _flush(path: Path) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
