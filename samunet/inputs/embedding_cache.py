"""Filling the cache of embeddings where the disk has room for it, and encoding on the fly where it has not."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samunet.console import progress, say
from samunet.errors import BadCases, UserError
from samunet.files import require_writable
from samunet.inputs.embedding_store import (
    NEVER_WRITTEN,
    CachedEmbeddings,
    EmbeddingStore,
    signature,
    stored_bytes,
)
from samunet.inputs.embeddings import (
    LiveEmbeddings,
    RecentInputs,
    StoredCaseEmbeddings,
    all_picks,
    encode,
    images_at_once,
)
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.read_ahead import read_ahead
from samunet.locks import locked
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.arrays import Arrays

# Of the free disk, what the cache may take. The rest is for what is written beside it: runs, predictions, other users.
SHARE_OF_FREE = 0.9
SHOWN_NAMES = 3

Piece = tuple[str, Tensor]


def ensure_embeddings(
    names: Sequence[str], arrays: Arrays, plans: Plans, encoder: Encoder, folder: Path
) -> EmbeddingStore:
    """Encode the cases whose embeddings are missing or do not match, with one progress bar; matching ones stay.

    Says how much will be written before it is. Where the disk has no room, nothing is written, and one line says so.
    Runs side by side want the same cases: one fills the folder, the others wait and find them.

    Raises:
        BadCases: when the embeddings of all other cases are there, arrays that cannot be read.
    """
    store, plan = EmbeddingStore(folder), plans.for_encoder(encoder.spec.id)
    wanted = {name: signature(arrays.properties(name), plans.dataset, plan, encoder) for name in names}
    if _differences(store, wanted):
        with locked(cache_lock(require_writable(folder))):
            _fill(store, wanted, arrays, plans, encoder)
    return store


def cache_lock(folder: Path) -> Path:
    """The lock file of a folder of embeddings: who holds it may write and remove there."""
    return folder.with_name(f"{folder.name}.lock")


def _fill(
    store: EmbeddingStore, wanted: dict[str, dict[str, Any]], arrays: Arrays, plans: Plans, encoder: Encoder
) -> None:
    differences, plan = _differences(store, wanted), plans.for_encoder(encoder.spec.id)
    missing = {name: wanted[name] for name in differences}
    if not missing:
        return
    _say_stale(differences)
    alone = plan.channels_alone(plans.dataset)
    if _has_room(store, missing, alone, encoder.spec.id):
        faults: list[UserError] = []
        with closing(read_ahead(_encoded(missing, arrays, plans, encoder, faults))) as encoded:
            by_case = groupby(encoded, key=lambda piece: piece[0])
            for name, pieces in progress(by_case, f"embeddings ({encoder.spec.id})", len(missing)):
                store.write(name, missing[name], alone, (embeddings for _, embeddings in pieces))
        if faults:
            raise BadCases(faults)


def _differences(store: EmbeddingStore, wanted: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Why cached cases cannot be used, for those that cannot be."""
    return {name: found for name, expected in wanted.items() if (found := store.difference(name, expected))}


def open_embeddings(
    name: str, arrays: Arrays, plans: Plans, encoder: Encoder, store: EmbeddingStore
) -> CachedEmbeddings:
    """One case of the cache, checked against what the run needs."""
    plan = plans.for_encoder(encoder.spec.id)
    return store.open(name, signature(arrays.properties(name), plans.dataset, plan, encoder))


def embeddings_of(
    names: Sequence[str], arrays: Arrays, plans: Plans, encoder: Encoder, folder: Path
) -> dict[str, CaseInputs]:
    """The embeddings of cases by name: cached where there is room for it, else encoded whenever they are read.

    The numbers are the same either way.
    """
    store, plan = ensure_embeddings(names, arrays, plans, encoder, folder), plans.for_encoder(encoder.spec.id)
    inputs = RecentInputs(arrays, plans, encoder)
    sources: dict[str, CaseInputs] = {}
    for name in names:
        expected = signature(arrays.properties(name), plans.dataset, plan, encoder)
        sources[name] = (StoredCaseEmbeddings(name, inputs) if store.difference(name, expected)
                         else store.open(name, expected))
    return sources


def size_text(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _encoded(
    names: Iterable[str], arrays: Arrays, plans: Plans, encoder: Encoder, faults: list[UserError]
) -> Iterator[Piece]:
    """The images' embeddings (n, 256, g, g) case by case, in the files' order; short cases share a batch."""
    with closing(read_ahead(_images(names, arrays, plans, encoder, faults))) as images:
        size = images_at_once(encoder, plans.for_encoder(encoder.spec.id).input_size)
        for owners, batch in _batches(images, size):
            shares = [(name, len(list(each))) for name, each in groupby(owners)]
            embeddings = encode(encoder, batch).split([count for _, count in shares])
            yield from zip([name for name, _ in shares], embeddings, strict=True)


def _images(
    names: Iterable[str], arrays: Arrays, plans: Plans, encoder: Encoder, faults: list[UserError]
) -> Iterator[Piece]:
    """The images (n, 3, S, S) of all slices and tiles, a few at a time; `faults` gets the errors of bad cases."""
    few = images_at_once(encoder, plans.for_encoder(encoder.spec.id).input_size)
    for name in names:
        try:
            live = LiveEmbeddings(arrays.load(name), plans, encoder)
        except UserError as fault:
            faults.append(fault)
            continue
        picks = all_picks(live.depth, live.frame)
        for first in range(0, len(picks), few):
            yield name, live.images(picks[first : first + few])


def _batches(pieces: Iterable[Piece], size: int) -> Iterator[tuple[list[str], Tensor]]:
    """The same images in batches of `size`, the last may be smaller, with the case of each image."""
    owners: list[str] = []
    held: list[Tensor] = []
    for name, images in pieces:
        owners += [name] * len(images)
        held.append(images)
        while len(owners) >= size:
            joined = torch.cat(held)
            yield owners[:size], joined[:size]
            owners, held = owners[size:], [joined[size:]]
    if owners:
        yield owners, torch.cat(held)


def _say_stale(differences: dict[str, str]) -> None:
    """One line for each way in which cached cases do not match."""
    cases = defaultdict(list)
    for name, found in differences.items():
        if found != NEVER_WRITTEN:
            cases[found].append(name)
    for found, names in cases.items():
        more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        say(f"{', '.join(names[:SHOWN_NAMES])}{more}: cached embeddings do not match and are encoded again ({found})")


def _has_room(store: EmbeddingStore, missing: dict[str, dict[str, Any]], channels_alone: int, encoder: str) -> bool:
    """Whether the disk has room for the missing cases; says how much either way."""
    needed = sum(stored_bytes(each, channels_alone) for each in missing.values())
    replaced = sum(path.stat().st_size for path in map(store.array_path, missing) if path.is_file())
    free = shutil.disk_usage(store.folder).free
    sizes = f"{size_text(needed)}, {size_text(free)} free in {store.folder}"
    needs = f"embeddings of {len(missing)} cases ({encoder}): {sizes}"
    if needed - replaced <= SHARE_OF_FREE * free:
        say(needs)
        return True
    say(f"{needs}; not cached but encoded on the fly whenever they are read, which is slower")
    return False
