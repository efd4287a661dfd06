"""Cached embeddings on disk: one file for each case, with a signature that must match."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from samunet.errors import UserError
from samunet.files import read_json, whole_file, write_json
from samunet.inputs.encoder_input import intensity_limits
from samunet.inputs.protocols import Place
from samunet.inputs.quantize import packed, stored_dtype, unpacked
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.checksums import checksum_of_file, proven

NEVER_WRITTEN = "it was never written"
DAMAGED = "other bytes than were written"
CHECKSUM = "crc32"  # key of a signature; caches of before do not have it
_PLAN_KEYS = ("input_size", "tile_shape", "tile_step", "composition", "cache_dtype")


class CachedEmbeddings:
    """Embeddings of a case read from the cache; memory-mapped for each read, so that many cases need no open files."""

    def __init__(self, path: Path, frame: TileFrame, depth: int) -> None:
        self._path, self.frame, self.depth = path, frame, depth

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, D, g, g)."""
        array = np.load(self._path, mmap_mode="r")
        stored = np.stack([array[pick] for pick in picks])
        if stored.dtype.names is None:
            return unpacked(stored)
        restored = unpacked(stored.reshape(-1))
        return restored.reshape(len(picks), -1, *restored.shape[2:])


class EmbeddingStore:
    """<case>.npy and <case>.json, the signature, which is written last.

    The array is float16 (slices, tiles, D, g, g), or int8 records (slices, tiles, channels that are encoded alone), see
    inputs/quantize.py. The signature also holds the CRC-32 of the array's file, which a process compares before it
    first uses the file. Of a cache without it only the array's shape, type and size are compared.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def array_path(self, name: str) -> Path:
        """File of a case's embeddings."""
        return self.folder / f"{name}.npy"

    def signature_path(self, name: str) -> Path:
        """File of a case's signature."""
        return self.folder / f"{name}.json"

    def difference(self, name: str, expected: dict[str, Any]) -> str | None:
        """Why the cached case cannot be used: a sentence, or None where it matches and is whole."""
        if not self.signature_path(name).exists() or not self.array_path(name).exists():
            return NEVER_WRITTEN
        try:
            stored = read_signature(self.signature_path(name))
        except UserError as fault:
            return f"{fault.rule} {fault.found}"
        return difference(stored, expected) or damage(stored, self.array_path(name))

    def open(self, name: str, expected: dict[str, Any]) -> CachedEmbeddings:
        """The case's embeddings.

        Raises:
            UserError: the cache was written by another encoder, other plans or from other data; names the difference.
        """
        if found := self.difference(name, expected):
            raise UserError("Cached embeddings must match the encoder, the plans and the data.",
                            where=self.array_path(name), found=found,
                            mend="Run samunet_preprocess again; it encodes what does not match.")
        frame = TileFrame(tuple(expected["shape"][1:]), tuple(expected["tile_shape"]), expected["tile_step"])
        return CachedEmbeddings(self.array_path(name), frame, expected["shape"][0])

    def write(
        self, name: str, signature: dict[str, Any], channels_alone: int, pieces: Iterable[Tensor]
    ) -> None:
        """Write a case whole, from its images' embeddings float32 (n, 256, g, g) in the order of the file."""
        number_type = signature["cache_dtype"]
        shape, dtype = stored_layout(signature, channels_alone)
        header, checksum = io.BytesIO(), 0
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
        self.signature_path(name).unlink(missing_ok=True)
        with whole_file(self.array_path(name)) as temporary, temporary.open("wb") as stream:
            # Written from front to end, not through a memory map: a full disk is an error then, not the process's
            # death.
            for part in chain([header.getvalue()], (packed(piece, number_type).tobytes() for piece in pieces)):
                stream.write(part)
                checksum = zlib.crc32(part, checksum)
        write_json(self.signature_path(name), {**signature, CHECKSUM: checksum})


def read_signature(path: Path) -> dict[str, Any]:
    """A signature file's content.

    Raises:
        UserError: it is no JSON object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError("A signature of cached embeddings must be a JSON object.", where=path,
                        found=type(content).__name__)
    return content


def damage(signature: dict[str, Any], array: Path) -> str | None:
    """In what an array's file differs from what was written with its signature: a sentence, or None."""
    if CHECKSUM not in signature:
        return layout_fault(signature, array)
    return None if proven(array, lambda: checksum_of_file(array) == signature[CHECKSUM]) else DAMAGED


def layout_fault(signature: dict[str, Any], array: Path) -> str | None:
    """Why an array is not what its signature says, by the file's header and size."""
    try:
        found = np.load(array, mmap_mode="r", allow_pickle=False)
        channels = found.shape[2] // EMBEDDING_CHANNELS if found.dtype.names is None else found.shape[2]
        shape, dtype = stored_layout(signature, max(channels, 1))
    except (ArithmeticError, ValueError, OSError, EOFError, IndexError, KeyError, TypeError, SyntaxError) as fault:
        return f"not a whole array and signature ({fault})"
    if (found.shape, found.dtype) != (shape, dtype):
        return f"array of shape {found.shape} and type {found.dtype}, by its signature {shape} and {dtype}"
    return None


def stored_layout(signature: dict[str, Any], channels_alone: int) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the array of a case with this signature."""
    depth, rows, columns = signature["shape"]
    tiles = len(TileFrame((rows, columns), tuple(signature["tile_shape"]), signature["tile_step"]).starts)
    side = signature["input_size"] // PATCH_SIZE
    dtype = stored_dtype(signature["cache_dtype"], (EMBEDDING_CHANNELS, side, side))
    if dtype.names is None:
        return (depth, tiles, EMBEDDING_CHANNELS * channels_alone, side, side), dtype
    return (depth, tiles, channels_alone), dtype


def stored_bytes(signature: dict[str, Any], channels_alone: int) -> int:
    """Bytes of the array of a case with this signature, without the file's header."""
    shape, dtype = stored_layout(signature, channels_alone)
    return int(np.prod(shape)) * dtype.itemsize


def signature(
    properties: CaseProperties, dataset_plan: DatasetPlan, plan: EncoderPlan, encoder: Encoder
) -> dict[str, Any]:
    """What a case's embeddings depend on; JSON types only."""
    return {
        "encoder": encoder.spec.id,
        "weights": encoder.digest,
        "family": encoder.spec.family,
        **planned_signature(properties, dataset_plan, plan),
    }


def planned_signature(properties: CaseProperties, dataset_plan: DatasetPlan, plan: EncoderPlan) -> dict[str, Any]:
    """The part of the signature that is known without the encoder's weights."""
    decided = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(plan).items()}
    return {
        **{key: decided[key] for key in _PLAN_KEYS},
        "shape": list(properties.shape),
        "image": properties.image_digest,
        "intensity_limits": [list(pair) for pair in intensity_limits(properties, dataset_plan)],
    }


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """In which of the keys of `expected` a stored signature differs: a sentence, or None."""
    different = [
        f"{key}: cached {_short(found.get(key))}, needed {_short(value)}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
    return "; ".join(different) or None


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
