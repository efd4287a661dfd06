"""Preprocessed arrays on disk: blosc2 files, one JSON of typed properties for each case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from samunet.errors import UserError
from samunet.files import read_json, whole_file, write_json
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.temporaries import clear_abandoned, is_temporary

CHUNK_BYTES = 4 * 2**20
COMPRESSION_LEVEL = 5


@dataclass(frozen=True)
class ArrayStore:
    """The cases of one folder: `<case>.b2nd`, `<case>_seg.b2nd` (labelled cases) and `<case>.json`.

    The JSON is removed before a case's arrays change and written when they are whole, so that a case with a JSON is whole.
    Equal arrays give equal bytes.
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
            UserError: it is not in the store.
        """
        path = self._properties_path(name)
        if name not in self:
            raise UserError("A case must be preprocessed before it is used.", where=path, found="no such file",
                            mend="Run samunet_plan_and_preprocess (or samunet_preprocess) for this dataset.")
        return CaseProperties.from_json(read_json(path), path)

    def image(self, name: str) -> np.ndarray:
        """The preprocessed image, float32 (C, Z, Y, X)."""
        return self._read(self._image_path(name))

    def image_slice(self, name: str, plane: int) -> np.ndarray:
        """One slice of the preprocessed image, float32 (C, Y, X), without reading the others."""
        return self._read(self._image_path(name), (slice(None), plane))

    def segmentation(self, name: str) -> np.ndarray | None:
        """The preprocessed segmentation, int16 (1, Z, Y, X), OUTSIDE the non-zero mask; None for an unlabelled case."""
        if self.properties(name).segmentation_digest is None:
            return None
        return self._read(self._segmentation_path(name))

    def load(self, name: str) -> PreparedCase:
        """Image, segmentation and properties of a case."""
        properties = self.properties(name)
        return PreparedCase(self.image(name), self.segmentation(name), properties)

    def write(self, case: PreparedCase) -> None:
        """Store a case, replacing what was there; an array whose digest is the stored one keeps its file."""
        name, properties = case.properties.name, case.properties
        old = self.properties(name) if name in self else None
        self._properties_path(name).unlink(missing_ok=True)
        if old is None or old.image_digest != properties.image_digest:
            _write_array(self._image_path(name), case.image)
        if case.segmentation is None:
            self._segmentation_path(name).unlink(missing_ok=True)
        elif old is None or old.segmentation_digest != properties.segmentation_digest:
            _write_array(self._segmentation_path(name), case.segmentation)
        self.note(properties)

    def note(self, properties: CaseProperties) -> None:
        """Replace what is known of a stored case whose arrays stay as they are."""
        write_json(self._properties_path(properties.name), properties.to_json())

    def remove(self, name: str) -> None:
        """Remove a case, its JSON first, so that what is left by a killed process is no case."""
        for path in (self._properties_path(name), self._image_path(name), self._segmentation_path(name)):
            path.unlink(missing_ok=True)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove the files of all other cases, and what killed processes left unfinished."""
        kept = {path for name in names for path in
                (self._properties_path(name), self._image_path(name), self._segmentation_path(name))}
        for ending in (".json", ".b2nd"):  # a JSON goes before its arrays
            for path in sorted(self.folder.glob(f"*{ending}")):
                if path not in kept and not is_temporary(path):
                    path.unlink()
        clear_abandoned(self.folder)

    def _properties_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _image_path(self, name: str) -> Path:
        return self.folder / f"{name}.b2nd"

    def _segmentation_path(self, name: str) -> Path:
        return self.folder / f"{name}_seg.b2nd"

    def _read(self, path: Path, part: Any = ...) -> np.ndarray:
        try:
            return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})[part]
        except (FileNotFoundError, RuntimeError, ValueError) as fault:
            raise UserError("A preprocessed array must be whole.", where=path, found=str(fault),
                            mend=f"Remove {self.folder} and run samunet_preprocess again.") from fault


def _write_array(path: Path, array: np.ndarray) -> None:
    """Write (C, Z, Y, X) in blocks of one slice, which is what training and the encoder read.

    One thread: more would make the bytes and the memory of a worker depend on the machine.
    """
    block = (1, 1, *array.shape[2:])
    slices = max(1, CHUNK_BYTES // (int(np.prod(block)) * array.itemsize))

    def require_whole(written: Path) -> None:
        found = blosc2.open(str(written), mode="r", dparams={"nthreads": 1})
        if found.shape != array.shape or found[:, -1:].shape[0] != array.shape[0]:  # the last chunk and the index behind it
            raise ValueError(f"shape {found.shape} instead of {array.shape}")

    with whole_file(path, check=require_whole) as temporary:
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(temporary),
            mode="w",
            chunks=(1, min(slices, array.shape[1]), *array.shape[2:]),
            blocks=block,
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": COMPRESSION_LEVEL, "nthreads": 1},
            dparams={"nthreads": 1},  # stands in the file's header too
        )
