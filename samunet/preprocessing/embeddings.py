"""Embeddings of a frozen encoder: encoded on the fly, or cached under a signature that must match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from samunet.console import progress, say
from samunet.errors import UserError
from samunet.files import read_json, whole_file, write_json
from samunet.networks.checkpoints import Encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.encoder_input import EncoderInput, intensity_limits
from samunet.preprocessing.store import ArrayStore

ENCODER_BATCH = 8  # pictures at once; fixed, since a GEMM's sums may vary with the batch
CACHE_DTYPE = torch.float16
_PLAN_KEYS = ("input_size", "tile_shape", "tile_step", "composition", "cache_dtype")


class CaseEmbeddings(Protocol):
    """Embeddings of one case by (slice, tile index of `frame`)."""

    frame: TileFrame
    depth: int

    def read(self, picks: Sequence[tuple[int, int]]) -> Tensor:
        """Float32 (B, D, g, g) on the CPU."""
        ...


class LiveEmbeddings:
    """Embeddings of a case in memory, encoded when they are read.

    Arguments:
        mirror: in-plane axes (0 rows, 1 columns) along which each tile is flipped before it is encoded; the caller flips
            the tile's logits back.
        step: tile step that replaces the plan's.
    """

    def __init__(
        self, case: PreparedCase, plans: Plans, encoder: Encoder, *, mirror: Sequence[int] = (), step: float | None = None
    ) -> None:
        plan = plans.for_encoder(encoder.spec.id)
        self._input = EncoderInput(case, plans.dataset, plan, encoder.spec.family, step)
        self._encoder, self._mirror = encoder, tuple(mirror)
        self.frame, self.depth = self._input.frame, self._input.depth

    def read(self, picks: Sequence[tuple[int, int]]) -> Tensor:
        pictures = self._input.pictures(picks, self._mirror)
        device = next(self._encoder.module.parameters()).device
        with torch.inference_mode():
            encoded = torch.cat(
                [self._encoder.module(batch.to(device)).float().cpu() for batch in pictures.split(ENCODER_BATCH)]
            )
        # Rounded as the cache rounds, so that a validation case predicted anew comes out the same.
        encoded = encoded.to(CACHE_DTYPE).float()
        # Channels that are encoded alone stand side by side in the embedding's channels.
        return encoded.reshape(len(picks), -1, *encoded.shape[2:])


class CachedEmbeddings:
    """Embeddings of a case read from the cache; memory-mapped for each read, so that many cases need no open files."""

    def __init__(self, path: Path, frame: TileFrame, depth: int) -> None:
        self._path, self.frame, self.depth = path, frame, depth

    def read(self, picks: Sequence[tuple[int, int]]) -> Tensor:
        array = np.load(self._path, mmap_mode="r")
        return torch.from_numpy(np.stack([array[pick] for pick in picks]).astype(np.float32))


class EmbeddingStore:
    """<case>.npy, float16 (slices, tiles, D, g, g), and <case>.json, the signature, which is written last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def difference(self, name: str, expected: dict[str, Any]) -> str | None:
        """What keeps the cached case from being used: a sentence, or None where it matches."""
        if not (self.folder / f"{name}.json").exists() or not (self.folder / f"{name}.npy").exists():
            return "it was never written"
        found = read_json(self.folder / f"{name}.json")
        different = [
            f"{key}: cached {_short(found.get(key))}, needed {_short(value)}"
            for key, value in expected.items()
            if found.get(key) != value
        ]
        return "; ".join(different) or None

    def open(self, name: str, expected: dict[str, Any]) -> CachedEmbeddings:
        """The case's embeddings.

        Raises:
            UserError: the cache was written by another encoder, other plans or from other data; names the difference.
        """
        if difference := self.difference(name, expected):
            raise UserError("Cached embeddings must match the encoder, the plans and the data.",
                            where=self.folder / f"{name}.npy", found=difference,
                            mend="Run samunet_preprocess again; it encodes what does not match.")
        frame = TileFrame(tuple(expected["shape"][1:]), tuple(expected["tile_shape"]), expected["tile_step"])
        return CachedEmbeddings(self.folder / f"{name}.npy", frame, expected["shape"][0])

    def write(self, name: str, embeddings: LiveEmbeddings, signature: dict[str, Any]) -> None:
        """Encode every slice and tile of a case and write it whole, a batch at a time."""
        tiles = len(embeddings.frame.starts)
        picks = [(slice_, tile) for slice_ in range(embeddings.depth) for tile in range(tiles)]
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        with whole_file(self.folder / f"{name}.npy") as temporary:
            array = None
            for first in range(0, len(picks), ENCODER_BATCH):
                batch = picks[first : first + ENCODER_BATCH]
                encoded = embeddings.read(batch).numpy().astype(np.float16)
                if array is None:
                    shape = (embeddings.depth, tiles, *encoded.shape[1:])
                    array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
                slices, indices = zip(*batch, strict=True)
                array[slices, indices] = encoded
            assert array is not None
            array.flush()
            del array
        write_json(self.folder / f"{name}.json", signature)


def signature(
    properties: CaseProperties, dataset_plan: DatasetPlan, plan: EncoderPlan, encoder: Encoder
) -> dict[str, Any]:
    """What a case's embeddings depend on; JSON types only."""
    decided = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(plan).items()}
    return {
        "encoder": encoder.spec.id,
        "weights": encoder.digest,
        "family": encoder.spec.family,
        **{key: decided[key] for key in _PLAN_KEYS},
        "shape": list(properties.shape),
        "image": properties.image_digest,
        "intensity_limits": [list(pair) for pair in intensity_limits(properties, dataset_plan)],
    }


def ensure_embeddings(
    names: Sequence[str], arrays: ArrayStore, plans: Plans, encoder: Encoder, folder: Path
) -> EmbeddingStore:
    """Encode the cases whose embeddings are missing or do not match, with one progress bar; matching ones are kept.

    Raises:
        UserError: the disk has no room for what must be written.
    """
    store, plan = EmbeddingStore(folder), plans.for_encoder(encoder.spec.id)
    wanted = {name: signature(arrays.properties(name), plans.dataset, plan, encoder) for name in names}
    missing = []
    for name, expected in wanted.items():
        if difference := store.difference(name, expected):
            missing.append(name)
            if difference != "it was never written":
                say(f"{name}: cached embeddings do not match and are encoded anew ({difference})")
    _require_room(folder, missing, arrays, plans, plan)
    for name in progress(missing, f"embeddings ({encoder.spec.id})", len(missing)):
        live = LiveEmbeddings(arrays.load(name), plans, encoder)
        store.write(name, live, wanted[name])
    return store


def open_embeddings(
    name: str, arrays: ArrayStore, plans: Plans, encoder: Encoder, store: EmbeddingStore
) -> CachedEmbeddings:
    """One case of the cache, checked against what the run needs."""
    return store.open(name, signature(arrays.properties(name), plans.dataset, plans.for_encoder(encoder.spec.id), encoder))


def _require_room(folder: Path, names: Sequence[str], arrays: ArrayStore, plans: Plans, plan: EncoderPlan) -> None:
    import shutil

    from samunet.files import make_folder

    alone = 1 if plan.composition == "rgb" else len(plans.dataset.channel_names)
    per_picture = 256 * alone * (plan.input_size // 16) ** 2 * 2
    needed = 0
    for name in names:
        depth, rows, columns = arrays.properties(name).shape
        needed += depth * len(TileFrame((rows, columns), plan.tile_shape, plan.tile_step).starts) * per_picture
    free = shutil.disk_usage(make_folder(folder)).free
    if needed > free:
        raise UserError("The disk must have room for the embeddings.", where=folder,
                        found=f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free",
                        mend="Free the disk, or point samunet_preprocessed (--preprocessed) to a larger one.")


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
