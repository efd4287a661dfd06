"""Real nnU-Net v2 as a job of the benchmark: its own commands, on the draw's cases alone, cut to the same budget."""

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

from samunet.benchmark.jobs import NNUNET, Benchmark, Job
from samunet.benchmark.nnunet_files import asked_of, plans_with_batch, read_budget, read_seconds
from samunet.dataset.case_files import digests_of_case, image_files, label_files
from samunet.dataset.case_paths import SEQUENCE_READERS
from samunet.dataset.dataset import RawCase, RawDataset, load_dataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import copy_whole, digest_of_json, make_folder, read_json, write_json, writing
from samunet.locks import lock_beside, owned
from samunet.training.cases import cases_of

TRAINER, PLANS = "nnUNetTrainerBudget", "nnUNetPlansBudget"
# The batch with which nnU-Net's rules count memory. Its own, filled up to the card's memory, leaves no iterations to a
# small budget.
LARGEST_BATCH = {"2d": 12, "3d_fullres": 2, "3d_lowres": 2}
# What of dataset.json decides a run beside its channels' names.
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
        iterations, minutes: of training; one of them.
        device: torch's name.
    """

    dataset: RawDataset
    configuration: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    iterations: int | None
    minutes: float | None
    device: str

    @cached_property  # which may open a file
    def reader(self) -> str:
        """Name of the dataset's reader."""
        return choose_reader(self.dataset)

    @cached_property  # every file of the cases is read for it
    def asked(self) -> dict[str, Any]:
        """What decides the run; `data` is a SHA-256 over the cases' raw files and over what of dataset.json nnU-Net goes by."""
        cases, reader = {case.name: case for case in self.dataset.cases}, self.reader
        digests = {name: digests_of_case(cases[name], reader) for name in (*self.train, *self.val)}
        spacings = any(any(each.get("spacings", ())) for each in digests.values())
        data = digest_of_json({
            "dataset": {key: self.dataset.content.get(key) for key in DATA_KEYS},
            "channel_names": self.dataset.channel_names,
            "cases": digests,
            **({"spacings": "handed over"} if spacings else {}),  # which those of 3D TIFFs were not at first
        })
        return {"train": list(self.train), "val": list(self.val), "iterations": self.iterations, "minutes": self.minutes,
                "device": self.device, "data": data}

    def __call__(self, folder: Path) -> None:
        """Plan, preprocess, train, predict, evaluate. Leaves `folder` as a finished fold.

        What is finished is kept, and so is a step of an unfinished run, where all that decides it was the same. A finished run of
        other settings or data stays until the new one is whole.

        nnU-Net gets a raw dataset of the training cases alone, so that its fingerprint and plans know no others, and trains on
        `all` of them. It predicts the validation cases with its defaults, mirroring included.

        Raises:
            UserError: nnU-Net is not installed, or one of its commands failed (its last lines are told).
        """
        with owned(lock_beside(folder), folder, wait=True):
            if asked_of(folder / "run.json") != self.asked:
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
        """Where the run lives until it is finished; what an earlier try of other settings or data left there goes."""
        work = folder.with_name(f"{folder.name}.unfinished")
        asked = work / "asked.json"
        if not asked.is_file() or read_json(asked) != self.asked:
            shutil.rmtree(work, ignore_errors=True)
            write_json(make_folder(work) / asked.name, self.asked)
        return work

    def _steps(self, work: Path) -> list[tuple[str, list[str]]]:
        name, model = self.dataset.name.partition("_")[0].removeprefix("Dataset"), ["-device", self.device]
        return [
            ("preprocessing", ["nnUNetv2_plan_and_preprocess", "-d", name, "-c", self.configuration, "-np", "1", "-npfp", "1"]),
            ("training", ["nnUNetv2_train", name, self.configuration, "all", "-tr", TRAINER, "-p", PLANS, *model,
                          *(["--c"] if (_output(work, self) / "checkpoint_latest.pth").is_file() else [])]),
            ("validation", ["nnUNetv2_predict", "-i", str(work / "images"), "-o", str(work / "validation"), "-d", name, "-c",
                            self.configuration, "-f", "all", "-tr", TRAINER, "-p", PLANS, "-npp", "1", "-nps", "1", *model]),
        ]

    def _hand_over(self, work: Path) -> None:
        """The raw folder of the training cases, and the validation cases' images, as links where that can be."""
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
        """A folder with the labels of `names`, which a dataset may keep anywhere."""
        cases = {case.name: case for case in self.dataset.cases}
        for name in names:
            _link_label(cases[name], work / "labels", self.dataset.file_ending, self.reader)
        return work / "labels"

    def _limit_batch(self, work: Path) -> None:
        """A copy of nnU-Net's plans whose batch is at most its reference batch.

        Raises:
            UserError: nnU-Net's rules give this dataset no such configuration.
        """
        folder = work / "preprocessed" / self.dataset.name
        plans = plans_with_batch(folder / "nnUNetPlans.json", self.configuration, LARGEST_BATCH[self.configuration])
        write_json(folder / f"{PLANS}.json", {**plans, "plans_name": PLANS})

    def _call(self, arguments: Sequence[str], work: Path) -> None:
        module, _, function = COMMANDS[arguments[0]].partition(":")
        # In a group of its own, with the processes that nnU-Net starts, and ending when this process is killed.
        code = ("import sys; from samunet.workers import end_group_with_parent; end_group_with_parent(); "
                f"from {module} import {function}; sys.argv = {list(arguments)!r}; {function}()")
        environment = self._environment(work)
        if arguments[0] == "nnUNetv2_plan_and_preprocess" and environment["nnUNet_n_proc_DA"] == "0":
            environment["nnUNet_n_proc_DA"] = "1"  # 0 is valid for training; planning would ask torch for 0 threads
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True,
                              check=False, start_new_session=True)
        with writing(work / "commands.log"), open(work / "commands.log", "a", encoding="utf-8") as log:
            log.write(" ".join(arguments) + "\n" + done.stdout + done.stderr)
        if done.returncode:
            raise UserError(f"nnU-Net's command must end well: {' '.join(arguments[:3])} ...", where=work / "commands.log",
                            found="\n".join((done.stdout + done.stderr).splitlines()[-8:]))

    def _environment(self, work: Path) -> dict[str, str]:
        folders = {f"nnUNet_{part}": str(make_folder(work / part)) for part in ("raw", "preprocessed", "results")}
        budget = ({"SAMUNET_ITERATIONS": str(self.iterations)} if self.iterations else {"SAMUNET_MINUTES": str(self.minutes)})
        # nnU-Net itself takes all processors, whoever else works on them; in prediction its waiting threads spin on them.
        budget["SAMUNET_THREADS"] = str(torch.get_num_threads())
        return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **folders, **budget,
                "nnUNet_extTrainer": str(files("samunet.benchmark") / "nnunet_trainers"),
                "nnUNet_n_proc_DA": os.environ.get("nnUNet_n_proc_DA", "1"), "nnUNet_compile": "f"}

    def _record(self, work: Path, seconds: Mapping[str, float]) -> dict[str, Any]:
        """What run.json of a job has, as far as nnU-Net tells it."""
        from importlib import metadata

        budget = read_budget(_output(work, self) / "budget.json")
        return {
            "variant": f"{NNUNET}{self.configuration}", "asked": self.asked,
            "train_cases": list(self.train), "val_cases": list(self.val),
            "seconds": {"training": budget["seconds"], "validation": seconds["validation"]}, "budget": budget,
            "trainable_parameters": budget["parameters"], "threads": budget["threads"],
            "settings": {"iterations": budget["iterations"], "batch_size": budget["batch_size"], "seed": "none"},
            "versions": {"nnunetv2": metadata.version("nnunetv2"), "torch": metadata.version("torch")},
            "hardware": {"device": self.device}, "encoder": {"id": "none", "digest": None},
        }


def run_nnunet(benchmark: Benchmark, job: Job, paths: Paths) -> None:
    """Train and validate nnU-Net's configuration of a job, on the cases that a variant of the same job would have.

    A finished run of other settings or data is made anew.

    Raises:
        UserError: nnU-Net is not installed, no such configuration, a dataset of sequences, or one of its commands failed.
    """
    configuration = job.variant.removeprefix(NNUNET)
    if importlib.util.find_spec("nnunetv2") is None:
        raise UserError("nnU-Net must be installed to be compared with.", where="--nnunet", found="no package nnunetv2",
                        mend="Install the extra: pip install 'samunet[nnunet]'.")
    raw = find_dataset(paths.raw, benchmark.dataset)
    dataset, request = load_dataset(raw), benchmark.request(job)
    if choose_reader(dataset) in SEQUENCE_READERS:
        raise UserError("nnU-Net reads no sequences of frames, so it cannot be compared with on them.", where="--nnunet",
                        found=f"{dataset.name} is read by {choose_reader(dataset)}", mend="Leave --nnunet out.")
    cases = cases_of(request, dataset, paths.preprocessed / raw.name)
    run = NnunetRun(dataset, configuration, cases.train, cases.val, request.iterations, request.minutes, benchmark.device)
    run(benchmark.folder(job, paths))


def _output(work: Path, run: NnunetRun) -> Path:
    return work / "results" / run.dataset.name / f"{TRAINER}__{PLANS}__{run.configuration}" / "fold_all"


def link_images(case: RawCase, folder: Path, ending: str, reader: str) -> None:
    """Links to a case's images in `folder`, named as nnU-Net has them, a 3D TIFF's spacing with them; copies where a system grants no links."""
    places = [folder / f"{case.name}_{channel:04d}{ending}" for channel in range(len(case.images))]
    for source, place in zip(image_files(case.images, reader), image_files(places, reader), strict=True):
        _link(source, place)


def _link_label(case: RawCase, folder: Path, ending: str, reader: str) -> None:
    assert case.label is not None
    place = folder / f"{case.name}{ending}"
    for source, linked in zip(label_files(case.label, reader), label_files(place, reader), strict=True):
        _link(source, linked)


def _link(source: Path, place: Path) -> None:
    """A 3D TIFF may lack the file with its spacing; all else was found before."""
    make_folder(place.parent)
    if source.exists() and not place.exists():
        try:
            place.symlink_to(source.resolve())
        except OSError:  # Windows without the right to make links
            copy_whole(source, place)
