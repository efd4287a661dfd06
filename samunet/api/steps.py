"""The steps from a raw dataset to arrays and embeddings, shared by the functions that do one or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.api.defaults import default_device
from samunet.console import say
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


@dataclass(frozen=True)
class Steps:
    """The steps of one dataset, in the order in which they run. Each continues where it was interrupted.

    Parallel commands wait for each other, step by step, and the second reuses the files of the first.

    Arguments:
        dataset: the raw dataset.
        folder: <preprocessed>/<Dataset>, which receives everything but the model.
        plans_name: name of the plans file that is written and read.
        workers: number of processes that work on cases in parallel.
    """

    dataset: RawDataset
    folder: Path
    plans_name: str
    workers: int

    @classmethod
    def of(cls, dataset: str, paths: Paths, plans_name: str, workers: int, *, verify: bool = False) -> Steps:
        """The steps of the dataset with id or name `dataset`, after checking that its output folder is writable.

        Arguments:
            verify: open and check every file of every case first, and report all problems.

        Raises:
            UserError: unknown dataset, broken dataset.json or case files, invalid plans name, output folder that is not
                writable.
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
        """The plans file."""
        return self.folder / f"{self.plans_name}.json"

    @property
    def plans_folder(self) -> Path:
        """The folder of arrays and embeddings that belong to the plans."""
        return self.folder / self.plans_name

    @property
    def _arrays_folder(self) -> Path:
        return self.plans_folder / "arrays"

    def fingerprint(self, clean: bool) -> Fingerprint:
        """Write dataset.json and dataset_fingerprint.json into the dataset's preprocessed folder."""
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
        """Write the plans file, with a section for the encoder."""
        from samunet.planning.planner import plan_experiment

        with self._alone():
            return plan_experiment(
                self.dataset, fingerprint, spec, self.plans_file, plans_name=self.plans_name,
                memory_target_gb=memory_target_gb, overwrite_spacing_mm=overwrite_spacing_mm, cache_dtype=cache_dtype,
            )

    def load_plans(self) -> Plans:
        """Read the existing plans.

        Raises:
            UserError: the plans file does not exist.
        """
        from samunet.planning.plans import Plans

        if not self.plans_file.is_file():
            raise UserError("A dataset must be planned before it is preprocessed.", where=self.plans_file,
                            found="no such file", mend="Run samunet_plan_and_preprocess, or samunet_plan_experiment.")
        return Plans.load(self.plans_file)

    def splits(self, groups: str | None) -> None:
        """Write splits_final.json, grouped by patient where groups are known."""
        from samunet.planning.groups import find_groups
        from samunet.planning.splits import ensure_splits

        with self._alone():
            ensure_splits(self.dataset, self.folder, find_groups(self.dataset, groups, self.folder))

    def preprocess(self, plans: Plans, encoder_name: str, spec: EncoderSpec | None) -> None:
        """Write the arrays and, unless `spec` is None, the embeddings of every case.

        Raises:
            UserError: the disk has no room for the arrays, or the memory none for any case. Nothing is written.
            BadCases: some cases failed; all others are finished.
        """
        workers = self._expected(plans, spec)
        problems: list[UserError] = []
        try:
            replace(self, workers=workers).arrays(plans)
        except BadCases as fault:
            problems.append(fault)
        if spec is not None:
            try:
                self.embeddings(plans, encoder_name, spec)
            except BadCases as fault:
                problems.append(fault)
        if problems:
            raise BadCases(problems)

    def _expected(self, plans: Plans, spec: EncoderSpec | None) -> int:
        """Say what is expected before it starts; returns the number of processes that fit into memory.

        Plans that came without a fingerprint say nothing of the cases' sizes: nothing is expected then.
        """
        from samunet.planning.expected_cost import announce, arrays_cost, embeddings_cost, workers_that_fit
        from samunet.planning.fingerprint import Fingerprint

        file = self.folder / "dataset_fingerprint.json"
        if not file.is_file():
            return self.workers
        fingerprint = Fingerprint.load(file)
        there = sum(path.stat().st_size for path in self._arrays_folder.glob("*.b2nd"))
        announce("preprocessing all cases", arrays_cost(fingerprint, plans.dataset, self.workers), self.folder,
                 "Close other programs, or crop or split the images.", there=there)
        if spec is not None:
            cost = embeddings_cost(plans.for_encoder(spec.id), spec.size)
            say(f"encoding all cases: expected {cost}")  # without room for the cache nothing is cached
        return workers_that_fit(fingerprint, plans.dataset, self.workers)

    def arrays(self, plans: Plans) -> None:
        """Write the preprocessed arrays, and copies of the labels so that validation does not need the raw folder.

        Raises:
            UserError: dataset.json has another reader or other channels than the plans.
            BadCases: some cases failed; all others are finished.
        """
        from samunet.preprocessing.preprocess import preprocess_dataset

        self._require_planned(plans)
        bad = None
        try:
            preprocess_dataset(self.dataset, plans, self._arrays_folder, self.workers)
        except BadCases as fault:
            bad = fault
        with self._alone():
            self._copy_labels(plans.dataset.reader)
        if bad is not None:
            raise bad

    def _require_planned(self, plans: Plans) -> None:
        """Refuse a dataset.json that has changed since planning, also where no case has to be preprocessed again."""
        from samunet.dataset.io.readers import choose_reader

        choose_reader(self.dataset)
        if tuple(self.dataset.channel_names) != plans.dataset.channel_names:
            raise UserError("`channel_names` in dataset.json must be those of the plans.",
                            where=self.dataset.folder / "dataset.json", found=", ".join(self.dataset.channel_names),
                            mend=f"The plans have {', '.join(plans.dataset.channel_names)}. Correct the file, or plan "
                                 "again with samunet_plan_and_preprocess.")

    def embeddings(self, plans: Plans, encoder_name: str, spec: EncoderSpec) -> None:
        """Write the cached embeddings, without augmentation, of every case with arrays.

        Prints a line if the disk is full.

        Raises:
            BadCases: some cases failed; all others are finished.
        """
        from samunet.inputs.embedding_cache import ensure_embeddings
        from samunet.networks.checkpoints.encoders import load_encoder
        from samunet.preprocessing.store import ArrayStore

        store = ArrayStore(self._arrays_folder)
        encoder = load_encoder(encoder_name, plans.for_encoder(spec.id).input_size, default_device())
        ensure_embeddings(store.names(), store, plans, encoder, self.plans_folder / "embeddings" / spec.id)

    def _alone(self) -> AbstractContextManager[None]:
        """The lock to hold while writing into the dataset's folder: parallel commands write the same files."""
        return locked(self.folder / "preprocessing.lock")

    def _copy_labels(self, reader: str) -> None:
        """Copy the label files or folders (with a 3D TIFF's spacing file) to gt_segmentations, named by case.

        Removes all other files there.
        """
        from samunet.dataset.case_files import label_files

        target = make_folder(self.folder / "gt_segmentations")
        copied = set()
        for case in self.dataset.cases:
            if case.label is None:
                continue
            copy = target / f"{case.name}{self.dataset.label_ending}"
            for source, place in zip(label_files(case.label, reader), label_files(copy, reader), strict=True):
                if source.exists():
                    copy_whole(source, place)
                    copied.add(place.name)
        for path in target.iterdir():
            if path.name not in copied and not is_temporary(path):
                remove_path(path)
        clear_abandoned(target)
