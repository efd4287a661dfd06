"""Preprocessed arrays on disk: blosc2 files, one JSON of typed properties for each case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samunet.errors import UserError
from samunet.files import digest_of_array, digest_of_json, read_json, whole_file, write_json
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.checksums import checksum_of_file, proven, read_once
from samunet.temporaries import clear_abandoned, is_temporary

if TYPE_CHECKING:
    import blosc2  # imports an HTTP client and more; prediction reads no store

CHUNK_BYTES = 4 * 2**20
COMPRESSION_LEVEL = 5
IMAGE, SEGMENTATION = "image", "segmentation"
# What blosc2 raises of damaged data.
BLOSC2_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError,
                 TypeError, ValueError)
REBUILD = "Run samunet_preprocess; it rebuilds what is damaged."


@dataclass(frozen=True)
class ArrayStore:
    """The cases of one folder: `<case>.b2nd`, `<case>_seg.b2nd` (labelled cases) and `<case>.json`.

    The JSON is removed before a case's arrays change and written when they are whole, so that a case with a JSON is
    whole. Equal arrays give equal bytes. The JSON holds the CRC-32 of the arrays' files (`checksums`) and a digest of
    itself (`digest`); an array is compared before a process first decodes it, since damaged data can make blosc2 ask
    for any amount of memory. JSON files of before hold
    neither: their arrays are compared with the digests of the decoded arrays.
    """

    folder: Path

    def names(self) -> list[str]:
        """The stored cases, sorted."""
        found = self.folder.glob("*.json") if self.folder.is_dir() else ()
        return sorted(path.name.removesuffix(".json") for path in found if not is_temporary(path))

    def __contains__(self, name: str) -> bool:
        return self._properties_path(name).is_file()

    def properties(self, name: str) -> CaseProperties:
        """What is known of a case.

        Raises:
            UserError: it is not in the store, or its JSON is damaged.
        """
        return self._stored(name)[0]

    def image(self, name: str) -> np.ndarray:
        """The preprocessed image, float32 (C, Z, Y, X)."""
        return self._read(name, IMAGE)

    def image_slice(self, name: str, plane: int) -> np.ndarray:
        """One slice of the preprocessed image, float32 (C, Y, X), without decoding the others."""
        return self._read(name, IMAGE, (slice(None), plane))

    def segmentation(self, name: str) -> np.ndarray | None:
        """The preprocessed segmentation, int16 (1, Z, Y, X), OUTSIDE the non-zero mask; None for an unlabelled case."""
        if self.properties(name).segmentation_digest is None:
            return None
        return self._read(name, SEGMENTATION)

    def load(self, name: str) -> PreparedCase:
        """Image, segmentation and properties of a case."""
        properties = self.properties(name)
        return PreparedCase(self.image(name), self.segmentation(name), properties)

    def whole(self, name: str) -> CaseProperties | None:
        """What is known of a case whose files are all as they were written; None where one is missing or damaged."""
        try:
            properties, _ = self._stored(name)
        except UserError:
            return None
        arrays = [IMAGE] if properties.segmentation_digest is None else [IMAGE, SEGMENTATION]
        return properties if all(self.fault(name, array) is None for array in arrays) else None

    def fault(self, name: str, array: str) -> str | None:
        """Why the file of IMAGE or SEGMENTATION of a case cannot be used; None where it is what was written.

        Raises:
            UserError: the case's JSON is missing or damaged.
        """
        path = self._array_path(name, array)
        try:
            return None if proven(path, lambda: self._is_as_written(name, array)) else "other bytes than were written"
        except OSError as fault:
            return fault.strerror or str(fault)

    def write(self, case: PreparedCase) -> None:
        """Store a case, replacing what was there.

        An array whose digest is the stored one retains its file if that is whole.
        """
        properties, name = case.properties, case.properties.name
        whole = self._digests_of_whole(name)
        self._properties_path(name).unlink(missing_ok=True)
        checksums = {}
        for array, values, digest in ((IMAGE, case.image, properties.image_digest),
                                      (SEGMENTATION, case.segmentation, properties.segmentation_digest)):
            path = self._array_path(name, array)
            if values is None:
                path.unlink(missing_ok=True)
                continue
            if whole.get(array) != digest:
                _write_array(path, values)
            checksums[array] = checksum_of_file(path)
        self._write_json(properties, checksums)

    def note(self, properties: CaseProperties) -> None:
        """Replace what is known of a stored case whose arrays stay as they are."""
        self._write_json(properties, self._stored(properties.name)[1])

    def remove(self, name: str) -> None:
        """Remove a case, its JSON first, so that what is left by a killed process is no case."""
        for path in (self._properties_path(name), self._array_path(name, IMAGE), self._array_path(name, SEGMENTATION)):
            path.unlink(missing_ok=True)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove the files of all other cases, and what killed processes left unfinished."""
        own = {path for name in names for path in
                (self._properties_path(name), self._array_path(name, IMAGE), self._array_path(name, SEGMENTATION))}
        for ending in (".json", ".b2nd"):  # a JSON goes before its arrays
            for path in sorted(self.folder.glob(f"*{ending}")):
                if path not in own and not is_temporary(path):
                    path.unlink()
        clear_abandoned(self.folder)

    def _properties_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _array_path(self, name: str, array: str) -> Path:
        return self.folder / (f"{name}.b2nd" if array == IMAGE else f"{name}_seg.b2nd")

    def _stored(self, name: str) -> tuple[CaseProperties, dict[str, int]]:
        """The properties of a case, and the checksums of its arrays' files.

        None where they were written before there were any.
        """
        path = self._properties_path(name)
        if name not in self:
            raise UserError("A case must be preprocessed before it is used.", where=path, found="no such file",
                            mend="Run samunet_plan_and_preprocess (or samunet_preprocess) for this dataset.")
        return read_once(path, lambda: _properties_and_checksums(path))

    def _write_json(self, properties: CaseProperties, checksums: dict[str, int]) -> None:
        content = {**properties.to_json(), "checksums": checksums}
        write_json(self._properties_path(properties.name), {**content, "digest": digest_of_json(content)})

    def _is_as_written(self, name: str, array: str) -> bool:
        path, (properties, checksums) = self._array_path(name, array), self._stored(name)
        if array in checksums:
            return checksum_of_file(path) == checksums[array]
        try:
            found = digest_of_array(_decoded(path)[...])
        except BLOSC2_FAULTS:
            return False
        return found == (properties.image_digest if array == IMAGE else properties.segmentation_digest)

    def _digests_of_whole(self, name: str) -> dict[str, str | None]:
        """The digests of those arrays of a case whose files are as they were written."""
        try:
            properties, _ = self._stored(name)
        except UserError:
            return {}
        digests = {IMAGE: properties.image_digest, SEGMENTATION: properties.segmentation_digest}
        return {array: digest for array, digest in digests.items() if self.fault(name, array) is None}

    def _read(self, name: str, array: str, part: Any = ...) -> np.ndarray:
        path = self._array_path(name, array)
        if found := self.fault(name, array):
            raise UserError("A preprocessed array must be whole.", where=path, found=found, mend=REBUILD)
        return _decoded(path)[part]


def _properties_and_checksums(path: Path) -> tuple[CaseProperties, dict[str, int]]:
    content = read_json(path)
    properties = CaseProperties.from_json(content, path)
    if "digest" in content and content.pop("digest") != digest_of_json(content):
        raise UserError("The properties of a preprocessed case must be as they were written.", where=path,
                        found="other content",
                        mend=REBUILD)
    return properties, content.get("checksums", {})


def _decoded(path: Path) -> blosc2.NDArray:
    import blosc2

    return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})


def _write_array(path: Path, array: np.ndarray) -> None:
    """Write (C, Z, Y, X) in blocks of one slice, which is what training and the encoder read.

    One thread: more would make the bytes and the memory of a worker depend on the machine.
    """
    import blosc2

    block = (1, 1, *array.shape[2:])
    slices = max(1, CHUNK_BYTES // (int(np.prod(block)) * array.itemsize))

    def require_whole(written: Path) -> None:
        found = blosc2.open(str(written), mode="r", dparams={"nthreads": 1})
        # The last chunk and the index behind it.
        if found.shape != array.shape or found[:, -1:].shape[0] != array.shape[0]:
            raise ValueError(f"shape {found.shape} instead of {array.shape}")

    with whole_file(path, check=require_whole) as temporary:
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(temporary),
            mode="w",
            chunks=(1, min(slices, array.shape[1]), *array.shape[2:]),
            blocks=block,
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": COMPRESSION_LEVEL, "nthreads": 1},
            dparams={"nthreads": 1},  # is in the file's header too
        )
