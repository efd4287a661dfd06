"""nnU-Net v2 as a job of the benchmark: its own commands, on the cases of the draw, with the same budget."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from samunet.benchmarking.jobs import NNUNET, Benchmark, Job
from samunet.benchmarking.nnunet_files import finished_request, plans_with_batch, read_budget, read_seconds
from samunet.dataset.case_files import digests_of_case, image_files, label_files
from samunet.dataset.case_paths import SEQUENCE_READERS
from samunet.dataset.dataset import RawCase, RawDataset, load_dataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError, some
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import copy_whole, digest_of_json, make_folder, read_json, write_json, writing
from samunet.locks import lock_beside, owned
from samunet.training.cases import cases_of
from samunet.training.finished_run import is_validated

TRAINER, PLANS = "nnUNetTrainerBudget", "nnUNetPlansBudget"
# The reference batch of nnU-Net's memory rules. Its planned batch fills the GPU's memory, which leaves too few
# iterations for a small budget.
LARGEST_BATCH = {"2d": 12, "3d_fullres": 2, "3d_lowres": 2}
# The keys of dataset.json that a run depends on, apart from the channel names.
DATA_KEYS = ("labels", "regions_class_order", "file_ending", "overwrite_image_reader_writer")
COMMANDS = {"nnUNetv2_plan_and_preprocess":
                "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:plan_and_preprocess_entry",
            "nnUNetv2_train": "nnunetv2.run.run_training:run_training_entry",
            "nnUNetv2_predict": "nnunetv2.inference.predict_from_raw_data:predict_entry_point"}


@dataclass(frozen=True)
class NnunetRun:
    """One training of nnU-Net and the prediction of a fold's validation cases.

    Arguments:
        configuration: `2d` or `3d_fullres`.
        train, val: names of cases.
        iterations, minutes: training length; exactly one of them.
        device: torch's name.
    """

    dataset: RawDataset
    configuration: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    iterations: int | None
    minutes: float | None
    device: str

    @cached_property  # may open a file
    def reader(self) -> str:
        """Name of the dataset's reader."""
        return choose_reader(self.dataset)

    @cached_property  # reads every file of the cases
    def request(self) -> dict[str, Any]:
        """Settings and data of the run; `data` is a SHA-256 over the raw files and nnU-Net's keys of dataset.json."""
        cases, reader = {case.name: case for case in self.dataset.cases}, self.reader
        digests = {name: digests_of_case(cases[name], reader) for name in (*self.train, *self.val)}
        spacings = any(any(each.get("spacings", ())) for each in digests.values())
        data = digest_of_json({
            "dataset": {key: self.dataset.content.get(key) for key in DATA_KEYS},
            "channel_names": self.dataset.channel_names,
            "cases": digests,
            **({"spacings": "handed over"} if spacings else {}),
            # earlier versions did not link spacing files of 3D TIFFs
        })
        return {"train": list(self.train), "val": list(self.val), "iterations": self.iterations,
                "minutes": self.minutes,
                "device": self.device, "data": data}

    def __call__(self, folder: Path) -> None:
        """Plan, preprocess, train, predict, evaluate. Leaves `folder` as a finished fold.

        Reuses a finished run and finished steps of an unfinished one if settings and data are the same. A finished run
        with other settings or data stays until the new one is complete.

        nnU-Net gets a raw dataset with only the training cases, so that its fingerprint and plans depend on no others,
        and trains on fold `all` of it. It predicts the validation cases with its defaults, mirroring included.

        Raises:
            UserError: nnU-Net is not installed, or one of its commands failed (with its last lines of output).
        """
        with owned(lock_beside(folder), folder, wait=True):
            if (finished_request(folder / "run.json") != self.request
                    or not is_validated(folder, self.val)):
                self._run(folder)

    def _run(self, folder: Path) -> None:
        work = self._work_folder(folder)
        seconds = read_seconds(work / "seconds.json")
        self._hand_over(work)
        for step, arguments in self._steps(work):
            if step not in seconds:
                started = time.perf_counter()
                self._call(arguments, work)
                seconds[step] = time.perf_counter() - started
                if step == "preprocessing":
                    self._limit_batch(work)
                write_json(work / "seconds.json", seconds)
        validation = work / "validation"
        evaluate_folder(self._labels_of(work, self.val), validation, self.dataset.labels, self.dataset.file_ending,
                        self.reader, None, 1, names=self.val, shown_prediction_folder=folder / "validation")
        write_json(work / "run.json", self._record(work, seconds))
        for part in ("raw", "preprocessed", "images", "labels"):
            shutil.rmtree(work / part, ignore_errors=True)
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)

    def _work_folder(self, folder: Path) -> Path:
        """The folder of the unfinished run; removes what an attempt with other settings or data left there."""
        work = folder.with_name(f"{folder.name}.unfinished")
        asked = work / "asked.json"
        if not asked.is_file() or read_json(asked) != self.request:
            shutil.rmtree(work, ignore_errors=True)
            write_json(make_folder(work) / asked.name, self.request)
        return work

    def _steps(self, work: Path) -> list[tuple[str, list[str]]]:
        name, model = self.dataset.name.partition("_")[0].removeprefix("Dataset"), ["-device", self.device]
        return [
            ("preprocessing", ["nnUNetv2_plan_and_preprocess", "-d", name, "-c", self.configuration,
                               "-np", "1", "-npfp", "1"]),
            ("training", ["nnUNetv2_train", name, self.configuration, "all", "-tr", TRAINER, "-p", PLANS, *model,
                          *(["--c"] if (_output(work, self) / "checkpoint_latest.pth").is_file() else [])]),
            ("validation", ["nnUNetv2_predict", "-i", str(work / "images"), "-o", str(work / "validation"), "-d", name,
                            "-c", self.configuration, "-f", "all", "-tr", TRAINER, "-p", PLANS, "-npp", "1", "-nps",
                            "1",
                            *model]),
        ]

    def _hand_over(self, work: Path) -> None:
        """Write the raw dataset of the training cases and the folder of validation images, as links where possible."""
        raw = work / "raw" / self.dataset.name
        if (raw / "dataset.json").is_file():
            return
        cases = {case.name: case for case in self.dataset.cases}
        for name in self.train:
            link_images(cases[name], raw / "imagesTr", self.dataset.file_ending, self.reader)
            _link_label(cases[name], raw / "labelsTr", self.dataset.file_ending, self.reader)
        for name in self.val:
            link_images(cases[name], work / "images", self.dataset.file_ending, self.reader)
        content = {key: value for key, value in self.dataset.content.items() if key not in ("dataset", "unlabelled")}
        write_json(raw / "dataset.json", {**content, "numTraining": len(self.train)})

    def _labels_of(self, work: Path, names: Sequence[str]) -> Path:
        """A folder with links to the labels of `names`, which may be anywhere in a dataset."""
        cases = {case.name: case for case in self.dataset.cases}
        for name in names:
            _link_label(cases[name], work / "labels", self.dataset.file_ending, self.reader)
        return work / "labels"

    def _limit_batch(self, work: Path) -> None:
        """Write a copy of nnU-Net's plans with a batch of at most the reference batch.

        Raises:
            UserError: nnU-Net plans no such configuration for this dataset.
        """
        folder = work / "preprocessed" / self.dataset.name
        plans = plans_with_batch(folder / "nnUNetPlans.json", self.configuration, LARGEST_BATCH[self.configuration])
        write_json(folder / f"{PLANS}.json", {**plans, "plans_name": PLANS})

    def _call(self, arguments: Sequence[str], work: Path) -> None:
        module, _, function = COMMANDS[arguments[0]].partition(":")
        # In its own process group, with the processes that nnU-Net starts; it ends when this process is killed.
        code = ("import sys; from samunet.workers import end_group_with_parent; end_group_with_parent(); "
                f"from {module} import {function}; sys.argv = {list(arguments)!r}; {function}()")
        environment = self._environment(work)
        if arguments[0] == "nnUNetv2_plan_and_preprocess" and environment["nnUNet_n_proc_DA"] == "0":
            environment["nnUNet_n_proc_DA"] = "1"  # 0 is valid for training; planning would set 0 torch threads
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True,
                              check=False, start_new_session=True)
        with writing(work / "commands.log"), open(work / "commands.log", "a", encoding="utf-8") as log:
            log.write(" ".join(arguments) + "\n" + done.stdout + done.stderr)
        if done.returncode:
            raise UserError(f"nnU-Net's command must succeed: {' '.join(arguments[:3])} ...",
                            where=work / "commands.log",
                            found="\n".join((done.stdout + done.stderr).splitlines()[-8:]))

    def _environment(self, work: Path) -> dict[str, str]:
        folders = {f"nnUNet_{part}": str(make_folder(work / part)) for part in ("raw", "preprocessed", "results")}
        length = ("ITERATIONS", self.iterations) if self.iterations else ("MINUTES", self.minutes)
        budget = {f"SAMUNET_{length[0]}": str(length[1])}
        # By default nnU-Net uses all cores, whatever else runs there, and its idle threads in prediction spin on them.
        budget["SAMUNET_THREADS"] = str(torch.get_num_threads())
        defaults = {"OMP_WAIT_POLICY": "PASSIVE", "nnUNet_n_proc_DA": "1"}
        return {**defaults, **os.environ, **folders, **budget, "nnUNet_compile": "f",
                "nnUNet_extTrainer": str(files("samunet.benchmarking") / "nnunet_trainers")}

    def _record(self, work: Path, seconds: Mapping[str, float]) -> dict[str, Any]:
        """The content of run.json, as far as nnU-Net reports it."""
        from importlib import metadata

        budget = read_budget(_output(work, self) / "budget.json")
        return {
            "variant": f"{NNUNET}{self.configuration}", "asked": self.request,
            "train_cases": list(self.train), "val_cases": list(self.val),
            "seconds": {"training": budget["seconds"], "validation": seconds["validation"]}, "budget": budget,
            "trainable_parameters": budget["parameters"], "threads": budget["threads"],
            "settings": {"iterations": budget["iterations"], "batch_size": budget["batch_size"], "seed": "none"},
            "versions": {"nnunetv2": metadata.version("nnunetv2"), "torch": metadata.version("torch")},
            "hardware": {"device": self.device}, "encoder": {"id": "none", "digest": None},
        }


def run_nnunet(benchmark: Benchmark, job: Job, paths: Paths) -> None:
    """Train and validate nnU-Net's configuration of a job, on the cases that a variant of the same job would have.

    Replaces a finished run with other settings or data.

    Raises:
        UserError: nnU-Net is not installed, no such configuration, a dataset of sequences or DICOM, or one of its
        commands failed.
    """
    configuration = job.variant.removeprefix(NNUNET)
    if importlib.util.find_spec("nnunetv2") is None:
        raise UserError("--nnunet needs an installed nnU-Net.", where="--nnunet", found="no package nnunetv2",
                        mend="Install the extra: pip install 'samunet[nnunet]'.")
    raw = find_dataset(paths.raw, benchmark.dataset)
    dataset, request = load_dataset(raw), benchmark.request(job)
    if choose_reader(dataset) in SEQUENCE_READERS:
        raise UserError("nnU-Net does not support sequences of frames.", where="--nnunet",
                        found=f"{dataset.name} is read by {choose_reader(dataset)}", mend="Leave out --nnunet.")
    if series := [case.name for case in dataset.cases if case.images[0].is_dir()]:
        raise UserError("nnU-Net does not read DICOM.", where="--nnunet", found=f"series: {some(series)}",
                        mend="Convert the series to NIfTI, or leave out --nnunet.")
    cases = cases_of(request, dataset, paths.preprocessed / raw.name)
    run = NnunetRun(dataset, configuration, cases.train, cases.val, request.iterations, request.minutes,
                    benchmark.device)
    run(benchmark.folder(job, paths))


def _output(work: Path, run: NnunetRun) -> Path:
    return work / "results" / run.dataset.name / f"{TRAINER}__{PLANS}__{run.configuration}" / "fold_all"


def link_images(case: RawCase, folder: Path, ending: str, reader: str) -> None:
    """Link a case's images, and the spacing file of a 3D TIFF, into `folder` under nnU-Net's names.

    Copies the files where the system does not allow links.
    """
    places = [folder / f"{case.name}_{channel:04d}{ending}" for channel in range(len(case.images))]
    for source, place in zip(image_files(case.images, reader), image_files(places, reader), strict=True):
        _link(source, place)


def _link_label(case: RawCase, folder: Path, ending: str, reader: str) -> None:
    if case.label is None:
        raise ValueError(f"{case.name} has no label")
    place = folder / f"{case.name}{ending}"
    for source, linked in zip(label_files(case.label, reader), label_files(place, reader), strict=True):
        _link(source, linked)


def _link(source: Path, place: Path) -> None:
    """Link one file if it exists: the spacing file of a 3D TIFF is optional, all others were checked before."""
    make_folder(place.parent)
    if source.exists() and not place.exists():
        try:
            place.symlink_to(source.resolve())
        except OSError:  # Windows without the permission to create links
            copy_whole(source, place)
