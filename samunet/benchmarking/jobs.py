"""The jobs of a benchmark: one training with its validation for each variant, fold, number of shots and draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samunet.dataset.paths import Paths, find_dataset
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.shots import draw_folder
from samunet.training.settings import Request
from samunet.variants.registry import entry

TRAINED_BY = "samunet_benchmark"
NNUNET = "nnunet_"  # before a configuration's name


@dataclass(frozen=True)
class Job:
    """One variant, trained on the cases of one fold.

    `shots` is how many of the cases are used (draw `draw`) and `slices` how many of their slices; None is all.
    `variant` is a name of the registry, or `nnunet_<configuration>` for nnU-Net itself.
    """

    variant: str
    fold: str
    shots: int | None
    draw: int
    slices: int | None = None

    def __str__(self) -> str:
        parts = [self.variant, f"fold {self.fold}", _counted(self.shots, "shot") if self.shots else "all cases"]
        parts += [_counted(self.slices, "slice")] if self.slices else []
        return ", ".join(parts + ([f"draw {self.draw}"] if self.shots or self.slices else []))


@dataclass(frozen=True)
class Benchmark:
    """The settings of a benchmark.

    Arguments:
        dataset: id or full name.
        variants: names of the registry, and `nnunet_<configuration>`.
        folds: numbers of the splits file.
        shots: numbers of labelled cases; None is all of them.
        draws: number of draws for each number of shots; one for all slices of all cases.
        minutes_head, minutes_network: training time of a head and of a network; None is the variant's own length.
        iterations: number of iterations for every job; excludes minutes.
        oracle_prompts: kind of the prompts from the reference labels, for promptable variants.
        shot_slices: total number of labelled slices of each job; None is all.
        box_relax: percent by which the oracle's boxes are enlarged on each side; None is tight boxes.
    """

    dataset: str
    variants: tuple[str, ...]
    folds: tuple[str, ...]
    shots: tuple[int | None, ...]
    draws: int
    encoder: str
    plans_name: str
    device: str
    seed: int = 0
    minutes_head: float | None = None
    minutes_network: float | None = None
    iterations: int | None = None
    oracle_prompts: str | None = None
    shot_slices: int | None = None
    box_relax: float | None = None

    def jobs(self) -> Iterator[Job]:
        """All jobs, few shots first; the variants of a setting follow each other."""
        for shots in sorted(self.shots, key=lambda count: (count is None, count)):
            for draw in range(1 if shots is None and self.shot_slices is None else self.draws):
                for fold in self.folds:
                    for variant in self.variants:
                        yield Job(variant, fold, shots, draw, self.shot_slices)

    def request(self, job: Job) -> Request:
        """The job as the request of `samunet_train`."""
        minutes = None if self.iterations else self._minutes(job.variant)
        prompted = not job.variant.startswith(NNUNET) and entry(job.variant).prompts
        return Request(self.dataset, job.variant, job.fold, self.encoder, self.plans_name, self.iterations, minutes,
                       job.shots,
                       job.draw, self.seed, device=self.device,
                       oracle_prompts=self.oracle_prompts if prompted else None,
                       shot_slices=job.slices, box_relax=self.box_relax if prompted else None)

    def folder(self, job: Job, paths: Paths) -> Path:
        """The folder of the job's finished fold."""
        name = find_dataset(paths.raw, self.dataset).name
        model = paths.results / name / f"{job.variant}__{self.plans_name}__{encoder_spec(self.encoder).id}"
        if job.variant.startswith(NNUNET):
            model = paths.results / name / "benchmark" / job.variant
        return model / draw_folder(job.shots, job.draw, job.slices) / f"fold_{job.fold}"

    def _minutes(self, variant: str) -> float | None:
        if variant.startswith(NNUNET):
            return self.minutes_network
        needs = entry(variant).needs
        return {"embeddings": self.minutes_head, "arrays": None}.get(needs, self.minutes_network)


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
