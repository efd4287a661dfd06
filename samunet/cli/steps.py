"""The steps from a raw dataset to arrays and embeddings, shared by the commands that do one or all of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.errors import BadCases, UserError
from samunet.files import copy_whole, make_folder, remove_path
from samunet.locks import locked
from samunet.temporaries import clear_abandoned, is_temporary

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawDataset
    from samunet.dataset.paths import Paths
    from samunet.planning.encoder_spec import EncoderSpec
    from samunet.planning.fingerprint import Fingerprint
    from samunet.planning.plans import Plans



def add_no_embeddings(parser: argparse.ArgumentParser) -> None:
    """`--no_embeddings`."""
    parser.add_argument("--no_embeddings", action="store_true",
                        help="leave out the embedding cache; training makes what it needs")


@dataclass(frozen=True)
class Steps:
    """The steps of one dataset, in the order in which they are run. Each continues where it was interrupted.

    Commands side by side wait for each other, step by step, and the second finds what the first has made.

    Arguments:
        dataset: the raw dataset.
        folder: <preprocessed>/<Dataset>, where all but the model goes.
        plans_name: which plans file is written and read.
        workers: processes that work on cases side by side.
    """

    dataset: RawDataset
    folder: Path
    plans_name: str
    workers: int

    @classmethod
    def of(cls, dataset: str, paths: Paths, plans_name: str, workers: int, *, verify: bool = False) -> Steps:
        """The steps of the dataset with id or name `dataset`, its output folder proven writable.

        Arguments:
            verify: open and check every file of every case first, and tell all problems together.

        Raises:
            UserError: unknown dataset, broken dataset.json or case files, a plans name that cannot be used, output that cannot be
                written.
        """
        from samunet.dataset.dataset import load_dataset
        from samunet.dataset.integrity import verify_folder
        from samunet.dataset.paths import find_dataset
        from samunet.files import require_writable
        from samunet.planning.plans import require_plans_name

        require_plans_name(plans_name)
        folder = find_dataset(paths.raw, dataset)
        raw = verify_folder(folder, workers) if verify else load_dataset(folder)
        return cls(raw, require_writable(paths.preprocessed / raw.name), plans_name, workers)

    @property
    def plans_file(self) -> Path:
        return self.folder / f"{self.plans_name}.json"

    @property
    def plans_folder(self) -> Path:
        return self.folder / self.plans_name

    @property
    def _arrays_folder(self) -> Path:
        return self.plans_folder / "arrays"

    def fingerprint(self, clean: bool) -> Fingerprint:
        """dataset.json and dataset_fingerprint.json, in the dataset's preprocessed folder."""
        from samunet.planning.fingerprint import extract_fingerprint

        with self._alone():
            copy_whole(self.dataset.folder / "dataset.json", self.folder / "dataset.json")
            return extract_fingerprint(self.dataset, self.folder / "dataset_fingerprint.json", self.workers, clean)

    def plan(
        self,
        fingerprint: Fingerprint,
        spec: EncoderSpec,
        memory_target_gb: float,
        overwrite_spacing_mm: Sequence[float] | None,
        cache_dtype: str,
    ) -> Plans:
        """The plans file, with a section for the encoder."""
        from samunet.planning.planner import plan_experiment

        with self._alone():
            return plan_experiment(
                self.dataset, fingerprint, spec, self.plans_file, plans_name=self.plans_name,
                memory_target_gb=memory_target_gb, overwrite_spacing_mm=overwrite_spacing_mm, cache_dtype=cache_dtype,
            )

    def load_plans(self) -> Plans:
        """The plans that were written before.

        Raises:
            UserError: there are none.
        """
        from samunet.planning.plans import Plans

        if not self.plans_file.is_file():
            raise UserError("A dataset must be planned before it is preprocessed.", where=self.plans_file,
                            found="no such file", mend="Run samunet_plan_and_preprocess, or samunet_plan_experiment.")
        return Plans.load(self.plans_file)

    def splits(self, groups: str | None) -> None:
        """splits_final.json, grouped by patient where groups are known."""
        from samunet.planning.groups import find_groups
        from samunet.planning.splits import ensure_splits

        with self._alone():
            ensure_splits(self.dataset, self.folder, find_groups(self.dataset, groups, self.folder))

    def preprocess(self, plans: Plans, encoder_name: str, spec: EncoderSpec | None) -> None:
        """The arrays and, unless `spec` is None, the embeddings of every case.

        Raises:
            BadCases: when both are there for all other cases.
        """
        problems: list[UserError] = []
        try:
            self.arrays(plans)
        except BadCases as fault:
            problems.append(fault)
        if spec is not None:
            try:
                self.embeddings(plans, encoder_name, spec)
            except BadCases as fault:
                problems.append(fault)
        if problems:
            raise BadCases(problems)

    def arrays(self, plans: Plans) -> None:
        """The preprocessed arrays, and copies of the labels by which a fold is evaluated without the raw folder.

        Raises:
            BadCases: when both are there for all other cases.
        """
        from samunet.preprocessing.preprocess import preprocess_dataset

        bad = None
        try:
            preprocess_dataset(self.dataset, plans, self._arrays_folder, self.workers)
        except BadCases as fault:
            bad = fault
        with self._alone():
            self._copy_labels(plans.dataset.reader)
        if bad is not None:
            raise bad

    def embeddings(self, plans: Plans, encoder_name: str, spec: EncoderSpec) -> None:
        """The cached embeddings of the clean slices of every case with arrays; where the disk has no room, a line says so.

        Raises:
            BadCases: when those of all other cases are there.
        """
        from samunet.inputs.embedding_cache import ensure_embeddings
        from samunet.networks.checkpoints.encoders import load_encoder
        from samunet.preprocessing.store import ArrayStore

        store = ArrayStore(self._arrays_folder)
        encoder = load_encoder(encoder_name, plans.for_encoder(spec.id).input_size, _device())
        ensure_embeddings(store.names(), store, plans, encoder, self.plans_folder / "embeddings" / spec.id)

    def _alone(self) -> AbstractContextManager[None]:
        """To be held while files of the dataset's folder are written: commands side by side write the same ones."""
        return locked(self.folder / "preprocessing.lock")

    def _copy_labels(self, reader: str) -> None:
        """Copy the label files or folders (with a 3D TIFF's spacing file) to gt_segmentations, named by case; remove others."""
        from samunet.dataset.case_files import label_files

        target = make_folder(self.folder / "gt_segmentations")
        kept = set()
        for case in self.dataset.cases:
            if case.label is None:
                continue
            copy = target / f"{case.name}{self.dataset.label_ending}"
            for source, place in zip(label_files(case.label, reader), label_files(copy, reader), strict=True):
                if source.exists():
                    copy_whole(source, place)
                    kept.add(place.name)
        for path in target.iterdir():
            if path.name not in kept and not is_temporary(path):
                remove_path(path)
        clear_abandoned(target)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
