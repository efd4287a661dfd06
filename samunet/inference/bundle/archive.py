"""The zip of a bundle, opened only when every entry is what the manifest says: nothing is written before."""

from __future__ import annotations

import hashlib
import stat
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from samunet.errors import UserError, some
from samunet.files import parse_json, writing
from samunet.inference.bundle.manifest import FAULTY, Manifest, Member, decode_manifest
from samunet.inference.bundle.members import MANIFEST, REQUIRED, REQUIRED_OF_FOLD, broken_rule, fold_of

MOST_MANIFEST_BYTES = 16 * 2**20
PIECE_BYTES = 2**20
_ENCRYPTED = 0x1 | 0x40  # bits of a zip entry's flags


def read_bundle(path: Path) -> Manifest:
    """Check a bundle and return its manifest; nothing is written and nothing of its content is used.

    Members are stored without compression, so none can be larger than the file itself.

    Raises:
        UserError: no zip; an entry that is absolute, leads out of its folder, is a link, encrypted, compressed, there
            twice, larger than the file, of an unknown name or not in the manifest; a manifest that is missing or wrong;
            a member that is missing, or has another size or SHA-256 than the manifest says.
    """
    with _opened(path) as archive:
        return _checked(archive, path)


def unpack(path: Path, folder: Path) -> Manifest:
    """As `read_bundle`, then write every member into the existing, empty folder; returns the manifest.

    Raises:
        UserError: see `read_bundle`; nothing is written then. Or the folder cannot be written.
    """
    with _opened(path) as archive:
        manifest = _checked(archive, path)
        for name in (MANIFEST, *manifest.members):
            target = folder / name
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as stream:
                    _read(archive, name, manifest.members.get(name), path, stream.write)
    return manifest


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that holds the model of a bundle, removed after the block.

    Raises:
        UserError: see `unpack`.
    """
    # Memory-mapped files cannot be removed on Windows.
    with tempfile.TemporaryDirectory(prefix="samunet-", ignore_cleanup_errors=True) as parent:
        folder = Path(parent) / path.name
        folder.mkdir()
        unpack(path, folder)
        yield folder


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(path) as archive:
            yield archive
    except (BadZipFile, NotImplementedError, EOFError) as fault:
        raise _faulty("A bundle must be a whole zip file.", path, str(fault)) from fault
    except OSError as fault:
        raise UserError("A bundle must be a file that can be read.", where=path, found=fault.strerror or str(fault),
                        mend="Correct the path, or make the file readable.") from fault


def _checked(archive: ZipFile, path: Path) -> Manifest:
    entries = archive.infolist()
    _require_plain(entries, path)
    sizes = {entry.filename: entry.file_size for entry in entries}
    if MANIFEST not in sizes:
        raise _faulty(f"A bundle must have a {MANIFEST}.", path, f"{len(sizes)} members without it")
    if sizes[MANIFEST] > MOST_MANIFEST_BYTES:
        raise _faulty(f"The manifest of a bundle must have at most {MOST_MANIFEST_BYTES} bytes.", path,
                      f"{sizes[MANIFEST]} bytes")
    where = f"{path}, {MANIFEST}"
    manifest = decode_manifest(parse_json(archive.read(MANIFEST), where), where)
    _require_listed(sizes, manifest, path)
    for name, member in manifest.members.items():
        _read(archive, name, member, path, lambda piece: None)
    return manifest


def _require_plain(entries: Sequence[ZipInfo], path: Path) -> None:
    """Refuse entries by what the zip's directory says of them."""
    for entry in entries:
        mode = stat.S_IFMT(entry.external_attr >> 16)
        rule = broken_rule(entry.orig_filename)  # zipfile cuts names off at a zero byte
        for broken, of_entry in (
            (stat.S_ISLNK(mode), "A bundle must not hold links."),
            (mode not in (0, stat.S_IFREG, stat.S_IFLNK), "A bundle must hold regular files alone."),
            (entry.flag_bits & _ENCRYPTED, "The members of a bundle must not be encrypted."),
            (entry.compress_type != ZIP_STORED, "The members of a bundle must be stored without compression."),
            (entry.compress_size != entry.file_size, "A stored member must have one size, packed and unpacked."),
        ):
            rule = rule or (of_entry if broken else None)
        if rule:
            raise _faulty(rule, path, ascii(entry.orig_filename[:200]))
    names = [entry.filename for entry in entries]
    if twice := _repeated(names):
        raise _faulty("A bundle must hold each member once.", path, some(twice))
    if twice := _repeated([unicodedata.normalize("NFKC", name).casefold() for name in names]):
        raise _faulty("The members of a bundle must differ by more than the form of letters.", path, some(twice))
    total, most = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > most:
        raise _faulty("The members of a bundle must not be larger than the file.", path,
                      f"{total} bytes in a file of {most}")


def _require_listed(sizes: dict[str, int], manifest: Manifest, path: Path) -> None:
    """Refuse a zip whose members are not those of its manifest, or not those of a whole model."""
    members = manifest.members
    if strangers := sorted(set(sizes) - set(members) - {MANIFEST}):
        raise _faulty("Every member of a bundle must be in its manifest.", path, some(strangers))
    if missing := sorted(set(members) - set(sizes)):
        raise _faulty("Every member that a bundle's manifest lists must be there.", path, f"missing: {some(missing)}")
    if other := [name for name, member in members.items() if member.bytes != sizes[name]]:
        raise _faulty("A bundle's members must have the sizes that its manifest lists.", path,
                      f"{other[0]} has {sizes[other[0]]} bytes instead of {members[other[0]].bytes}")
    needed = {*REQUIRED, *(f"fold_{fold}/{file}" for fold in manifest.folds for file in REQUIRED_OF_FOLD)}
    if missing := sorted(needed - set(members)):
        raise _faulty("A bundle must hold a whole model.", path, f"missing: {some(missing)}")
    if others := sorted({fold for name in members if (fold := fold_of(name))} - set(manifest.folds)):
        raise _faulty("A bundle must hold the folds that its manifest names alone.", path, f"also {some(others)}")


def _read(archive: ZipFile, name: str, member: Member | None, path: Path, sink: Callable[[bytes], object]) -> None:
    """Pass a member's content to `sink` in pieces, and compare its SHA-256 at the end."""
    digest = hashlib.sha256()
    with archive.open(name) as stream:
        while piece := stream.read(PIECE_BYTES):
            digest.update(piece)
            sink(piece)
    if member is not None and digest.hexdigest() != member.sha256:
        raise _faulty("A bundle's members must have the SHA-256 that its manifest lists.", path,
                      f"{name} has {digest.hexdigest()[:12]}... instead of {member.sha256[:12]}...")


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _faulty(rule: str, path: Path, found: str) -> UserError:
    return UserError(rule, where=path, found=found, mend=FAULTY)
