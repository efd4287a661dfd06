"""Which caches of embeddings there are, whether plans, arrays and weights still fit them, and what nothing can use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samunet.errors import UserError
from samunet.inputs.embedding_store import damage, difference, layout_fault, planned_signature, read_signature
from samunet.planning.plans import EncoderPlan, Plans
from samunet.preprocessing.arrays import Arrays
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.view_names import case_and_view, digest_in_name
from samunet.preprocessing.views import ViewedArrays, clean_images, views_for
from samunet.temporaries import is_abandoned, is_temporary

CHUNK_BYTES = 2**26


@dataclass(frozen=True)
class Entry:
    """One case's, or one view's, cached embeddings.

    `fault` says in one sentence why no command would use them; None where one would.
    """

    name: str
    signature: dict[str, Any]
    files: tuple[Path, ...]
    fault: str | None

    @property
    def is_view(self) -> bool:
        """Whether it is a view's, not a case's."""
        return case_and_view(self.name)[1] is not None


@dataclass(frozen=True)
class Cache:
    """The embeddings of one dataset, plans file and encoder.

    `fault` is why none of it can be used. `leftovers` are unfinished files and halves of cases. `waits`
    says that the arrays are gone, without which nothing can be compared; the cache may be right again when they are
    back.
    """

    folder: Path
    dataset: str
    plans_name: str
    encoder: str
    entries: tuple[Entry, ...]
    leftovers: tuple[Path, ...]
    fault: str | None
    waits: bool

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    @property
    def number_types(self) -> tuple[str, ...]:
        """The number types that the entries are stored in, sorted."""
        return tuple(sorted({str(entry.signature.get("cache_dtype")) for entry in self.entries}))

    def state(self) -> str:
        """One line: what differs, or that plans and arrays match."""
        faults = [entry.fault for entry in self.entries if entry.fault]
        faults_in_words = []
        if self.fault:
            faults_in_words.append(self.fault)
        elif faults:
            faults_in_words.append(f"{len(faults)} of {len(self.entries)} cannot be used, as in: {faults[0]}")
        if self.leftovers:
            faults_in_words.append(f"{len(self.leftovers)} unfinished files")
        return "; ".join(faults_in_words) or "matches plans and arrays"


def find_caches(preprocessed: Path, dataset: str | None = None, encoder: str | None = None) -> Iterator[Cache]:
    """The caches below `preprocessed`, sorted by path; of one dataset (folder name) or encoder (id) if given."""
    for folder in sorted(preprocessed.glob(f"{dataset or '*'}/*/embeddings/{encoder or '*'}")):
        if folder.is_dir():
            yield read_cache(folder)


def differing_weights(cache: Cache, digest: str, family: str) -> dict[str, str]:
    """The sound entries that were encoded with other weights or another input than the encoder's: name, difference."""
    expected = {"weights": digest, "family": family}
    found = {entry.name: difference(entry.signature, expected) for entry in cache.entries if not entry.fault}
    return {name: each for name, each in found.items() if each}


def damaged_entries(cache: Cache) -> dict[str, str]:
    """The entries of the right layout whose arrays are damaged or not finite: name, fault. Reads every byte."""
    faults = {}
    for entry in cache.entries:
        if layout_fault(entry.signature, entry.files[1]) is None:
            fault = damage(entry.signature, entry.files[1])
            if fault or not _finite(entry.files[1]):
                faults[entry.name] = fault or "numbers that are not finite"
    return faults


def damaged_cases(preprocessed: Path, dataset: str | None = None) -> dict[Path, list[str]]:
    """The preprocessed cases below `preprocessed` with damaged files, by their folder.

    Of one dataset (folder name) if it is given.
    """
    found = {}
    for folder in sorted(preprocessed.glob(f"{dataset or '*'}/*/arrays")):
        store = ArrayStore(folder)
        if names := [name for name in store.names() if store.whole(name) is None]:
            found[folder] = names
    return found


def useless_files(cache: Cache, stale: dict[str, str]) -> list[Path]:
    """The files of a cache that no command can use, a case's signature before its array.

    Arguments:
        stale: what `differing_weights` found.
    """
    abandoned = [path for path in cache.leftovers if is_abandoned(path)]
    if cache.waits:
        return abandoned
    return abandoned + [path for entry in cache.entries if cache.fault or entry.fault or entry.name in stale
                        for path in entry.files]


def remove(cache: Cache, files: list[Path]) -> int:
    """Remove `files`, and the cache's folder if it is empty then; returns the bytes that are free now."""
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    if not any(cache.folder.iterdir()):
        cache.folder.rmdir()
    return size


def read_cache(folder: Path) -> Cache:
    """The embeddings in `folder`, as they are now."""
    plans_folder = folder.parents[1]
    plans, fault = _plans(plans_folder.with_name(f"{plans_folder.name}.json"), folder.name)
    waits = fault is None and not ArrayStore(plans_folder / "arrays").names()
    if waits:
        fault = "the arrays are gone; run samunet_preprocess"
    whole = {path.stem for path in folder.glob("*.json") if path.with_suffix(".npy").is_file()}
    entries, leftovers = [], []
    for path in sorted(folder.iterdir()):
        if is_temporary(path) or path.stem not in whole:
            leftovers.append(path)
        elif path.suffix == ".json":
            entries.append(_entry(path, None if fault else plans))
    return Cache(folder, plans_folder.parent.name, plans_folder.name, folder.name, tuple(entries), tuple(leftovers),
                 fault,
                 waits)


def _plans(path: Path, encoder: str) -> tuple[Plans | None, str | None]:
    """The plans with a section for the encoder, or why there are none."""
    if not path.is_file():
        return None, f"there is no {path.name}"
    try:
        plans = Plans.load(path)
        plans.for_encoder(encoder)
    except UserError as fault:
        return None, fault.rule
    return plans, None


def _entry(path: Path, plans: Plans | None) -> Entry:
    """The entry with signature file `path`; it is compared where there are plans and arrays to compare it with."""
    files, signature = (path, path.with_suffix(".npy")), {}
    try:
        signature = read_signature(path)
        fault = layout_fault(signature, files[1]) or (_misfit(path, signature, plans) if plans else None)
    except UserError as broken:
        fault = broken.rule
    return Entry(path.stem, signature, files, f"{path.stem}: {fault}" if fault else None)


def _misfit(path: Path, signature: dict[str, Any], plans: Plans) -> str | None:
    """In what plans and arrays differ from a signature.

    Views in which several cases have a part are compared with their own name instead.
    """
    arrays = ViewedArrays(ArrayStore(path.parents[2] / "arrays"), plans.dataset)
    if case_and_view(path.stem)[0] not in arrays:
        return "no such case is preprocessed"
    section = plans.for_encoder(path.parent.name)
    expected = planned_signature(arrays.properties(path.stem), plans.dataset, section)
    content = digest_in_name(path.stem)
    if content and str(signature.get("image")).startswith(content):
        del expected["image"]  # which cases those are is the run's to know
    return difference(signature, expected) or _needless_view(path.stem, plans, section, arrays)


def _needless_view(name: str, plans: Plans, section: EncoderPlan, arrays: Arrays) -> str | None:
    """Why no run uses a view: a run on its case alone, which is the one with most views, has fewer.

    `hybrid` learns of its only case by the views alone, and has one in any event.
    """
    case, view = case_and_view(name)
    if view is None:
        return None
    most = max(1, views_for(clean_images(arrays.properties(case), plans.dataset, section), section.view_pictures))
    return f"no run has more than {most} views of this case" if view.number > most else None


def _finite(path: Path) -> bool:
    rows = np.load(path, mmap_mode="r")
    rows = rows.reshape(-1, *rows.shape[2:])
    step = max(1, CHUNK_BYTES // rows[0].nbytes)
    chunks = (rows[first : first + step] for first in range(0, len(rows), step))
    return all(np.isfinite(chunk if chunk.dtype.names is None else chunk["scales"]).all() for chunk in chunks)
