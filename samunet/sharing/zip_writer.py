"""A bundle's zip: members without compression, sorted, at a fixed time, so that equal members give equal bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from samunet.files import digest_of_file, whole_file
from samunet.inference.bundle.archive import read_bundle
from samunet.inference.bundle.manifest import Manifest, Member
from samunet.inference.bundle.members import MANIFEST

FIRST_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can state
_UNIX, _REGULAR_FILE = 3, 0o100644

Content = bytes | Path
"""What a member holds, or the file that holds it."""


def write_bundle(output: Path, manifest: Manifest, contents: Mapping[str, Content]) -> Manifest:
    """Write the zip whole, the manifest first; returns the manifest, with the size and SHA-256 of each member.

    The file is read again as prediction reads it before it gets its name.

    Raises:
        UserError: it cannot be written.
    """
    manifest = replace(manifest, members={name: _member(contents[name]) for name in sorted(contents)})
    text = (json.dumps(asdict(manifest), indent=2) + "\n").encode()
    with whole_file(output, check=read_bundle) as temporary, ZipFile(temporary, "w", ZIP_STORED) as archive:
        for name, content in ((MANIFEST, text), *((name, contents[name]) for name in manifest.members)):
            _write(archive, name, content)
    return manifest


def _write(archive: ZipFile, name: str, content: Content) -> None:
    info = ZipInfo(name, FIRST_MOMENT)
    info.create_system, info.external_attr = _UNIX, _REGULAR_FILE << 16
    info.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size  # chooses zip64
    with _opened(content) as source, archive.open(info, "w") as target:
        shutil.copyfileobj(source, target)


def _opened(content: Content) -> BinaryIO:
    return BytesIO(content) if isinstance(content, bytes) else open(content, "rb")


def _member(content: Content) -> Member:
    if isinstance(content, bytes):
        return Member(len(content), hashlib.sha256(content).hexdigest())
    return Member(content.stat().st_size, digest_of_file(content))
