"""What a benchmark, or the search for a configuration, is expected to take, said before its first job starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samunet.benchmarking.jobs import NNUNET, Benchmark, Job
from samunet.console import say
from samunet.dataset.memory import free_bytes
from samunet.errors import UserError
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.adapter_memory import PROCESS_BYTES
from samunet.planning.expected_cost import Cost, announce, embeddings_cost, registration_seconds
from samunet.planning.plans import Plans
from samunet.training.expected import planned_bytes, registered_pairs
from samunet.variants.registry import built_settings, entry

NOT_COUNTED = "validation is not counted"


@dataclass(frozen=True)
class Planned:
    """A dataset's plans for one encoder, and where its embeddings are cached."""

    plans: Plans
    encoder: str
    folder: Path

    @classmethod
    def of(cls, folder: Path, plans_name: str, encoder: str) -> Planned:
        """The plans in the dataset's preprocessed `folder`. `encoder` is a value of --encoder."""
        return cls(Plans.load(folder / f"{plans_name}.json"), encoder, folder)

    def registration_seconds(self, variant: str, cases: int) -> float:
        """Of registering `cases` training cases to each other for one run."""
        if variant.startswith(NNUNET) or not built_settings(variant, {}).registers:
            return 0.0
        return registration_seconds(registered_pairs(cases), self.plans.dataset)

    def encoding(self, variants: Sequence[str]) -> Cost:
        """Of the cache, where a variant reads it and it has not been begun."""
        spec = encoder_spec(self.encoder)
        reads = any(not name.startswith(NNUNET) and entry(name).reads_embeddings
                    and built_settings(name, {}).needs_encoder for name in variants)
        if not reads or (self.folder / self.plans.plans_name / "embeddings" / spec.id).is_dir():
            return Cost(0.0, 0, 0)
        return embeddings_cost(self.plans.for_encoder(spec.id), spec.size)

    def job_bytes(self, variant: str) -> int:
        """Of a run of `variant` on the CPU: a process, or what the plan counted where it counted one."""
        if variant.startswith(NNUNET):
            return PROCESS_BYTES
        return planned_bytes(entry(variant), self.plans.for_encoder(encoder_spec(self.encoder).id)) or PROCESS_BYTES


def announce_benchmark(
    benchmark: Benchmark, jobs: Sequence[tuple[Job, int]], planned: Planned, output: Path, workers: int
) -> int:
    """Say the expected cost of `jobs`, each with its number of training cases; returns how many fit side by side.

    Time is the minutes of training where minutes are given, registration and encoding; it is not known where a job's
    length is not.

    Raises:
        UserError: no job fits into the free memory, or the cache not onto the disk. Nothing is trained.
    """
    if not jobs:
        return workers
    variants = [job.variant for job, _ in jobs]
    held = {name: planned.job_bytes(name) for name in variants} if benchmark.device == "cpu" else {}
    fit = jobs_that_fit(list(held.values()), planned.folder, workers)
    minutes = [0.0 if _trains_nothing(job.variant) else benchmark.request(job).minutes for job, _ in jobs]
    encoding = planned.encoding(variants)
    seconds = None
    if None not in minutes:
        registration = sum(planned.registration_seconds(job.variant, cases) for job, cases in jobs)
        seconds = (60 * sum(each or 0.0 for each in minutes) + registration) / fit + (encoding.seconds or 0.0)
    ram = fit * max([each for each in held.values() if each <= free_bytes()], default=0)
    announce(f"{len(jobs)} jobs", Cost(seconds, ram, encoding.disk_bytes), output, "Close other programs.")
    _say_what_is_left_out(fit, workers)
    return fit


def announce_search(
    variants: Sequence[str], minutes: float | None, device: str, cases: int, planned: Planned, output: Path
) -> None:
    """Say what a search by cross-validation on `cases` labelled cases is expected to take.

    Time is the search's minutes, one registration of the cases, whose votes all of its runs share, and encoding. The
    training of the chosen variant has its own line.

    Raises:
        UserError: no candidate fits into the free memory, or the cache not onto the disk. Nothing is trained.
    """
    held = [planned.job_bytes(name) for name in variants] if device == "cpu" else []
    jobs_that_fit(held, planned.folder, 1)
    encoding, seconds = planned.encoding(variants), None
    if minutes is not None:
        registration = max((planned.registration_seconds(name, cases) for name in variants), default=0.0)
        seconds = 60 * minutes + registration + (encoding.seconds or 0.0)
    ram = max([each for each in held if each <= free_bytes()], default=0)
    announce(f"comparing {len(variants)} variants", Cost(seconds, ram, encoding.disk_bytes), output,
             "Close other programs.")
    _say_what_is_left_out(1, 1)


def jobs_that_fit(held: Sequence[int], where: Path, workers: int) -> int:
    """As many of `workers` jobs side by side as the free memory holds, each as large as the largest that fits alone.

    Arguments:
        held: bytes of each kind of job; empty where they are not known.

    Raises:
        UserError: none fits.
    """
    free = free_bytes()
    fitting = [each for each in held if each <= free]
    if held and not fitting:
        raise UserError("The memory must have room for a training.", where=where,
                        found=f"{min(held) / 1e9:.1f} GB are expected, for {free / 1e9:.1f} GB that are free",
                        mend="Close other programs, or choose smaller variants.")
    return min(workers, free // max(fitting)) if fitting else workers


def _trains_nothing(variant: str) -> bool:
    return not variant.startswith(NNUNET) and entry(variant).needs == "arrays"


def _say_what_is_left_out(fit: int, workers: int) -> None:
    fewer = f"; {fit} of {workers} jobs fit into memory side by side" if fit < workers else ""
    say(f"({NOT_COUNTED}{fewer})")
