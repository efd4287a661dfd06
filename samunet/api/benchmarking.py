"""Cross-validate variants and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samunet.api.defaults import Folder, announced, default_device
from samunet.benchmarking.benchmark import run_benchmark
from samunet.benchmarking.jobs import NNUNET, Benchmark
from samunet.dataset.paths import resolve_paths
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.planner import DEFAULT_PLANS_NAME
from samunet.preprocessing.prompts.kinds import places_of
from samunet.variants.registry import entry, listed


def benchmark(
    dataset: int | str, *, variants: Sequence[str] | None = None, folds: Sequence[int | str] = (0, 1, 2, 3, 4),
    shots: Sequence[int | None] = (None,), draws: int = 1, shot_slices: int | None = None,
    nnunet: Sequence[str] = (), nnunet_results: Sequence[str | Path] = (), minutes_head: float | None = None,
    minutes_network: float | None = None, iterations: int | None = None, reference: str | None = None,
    oracle_prompts: str | None = None, box_relax: float | None = None, encoder: str = DEFAULT_ENCODER,
    plans_name: str = DEFAULT_PLANS_NAME, seed: int = 0, device: str | None = None, workers: int | None = None,
    scheduler: str | None = None, command: str = "samunet.benchmark", raw: Folder = None, preprocessed: Folder = None,
    results: Folder = None,
) -> Path:
    """Train and validate variants on folds, numbers of labelled cases and draws, and compare them. As
    `samunet_benchmark`. Finished jobs with the same settings are not repeated.

    Arguments:
        dataset, encoder, plans_name, raw, preprocessed: see `samunet.plan`; device, seed, results: see `samunet.train`.
        variants: names; None: all but the largest networks, promptable ones only with `oracle_prompts`.
        shots: numbers of labelled cases; None in it is all of them. draws: of each number of shots.
        shot_slices: total number of labelled slices of each job; None: all.
        nnunet: configurations of nnU-Net to train as well, of 2d and 3d_fullres (extra `nnunet`).
        nnunet_results: folders of finished nnU-Net models to import.
        minutes_head, minutes_network, iterations: training length, in minutes of a head and of a network, or in
            optimiser steps of every job; None: the plans' or the variant's own.
        reference: method that all others are compared with; None: label_prior.
        oracle_prompts: kind of the prompts taken from the reference labels; box_relax: percent, enlarges its boxes.
        workers: number of jobs in parallel here; scheduler: address of a dask scheduler instead.
        command: what the report says repeats it.

    Returns:
        The folder of cases.csv, summary.json, summary.md and report.html.

    Raises:
        UserError: see `samunet.benchmarking.benchmark.run_benchmark`. The error of a single job is in the tables.

    Example:
        >>> import samunet
        >>> folder = samunet.benchmark(900, variants=["label_prior"], folds=[0])
        >>> (folder / "summary.json").is_file()
        True
    """
    announced(encoder)
    place = places_of(oracle_prompts) if oracle_prompts else None
    chosen = variants or [name for name in listed() if not entry(name).only_named
                          and (not entry(name).prompts or place in entry(name).prompts)]
    settings = Benchmark(
        dataset=str(dataset), variants=(*chosen, *(f"{NNUNET}{name}" for name in nnunet)),
        folds=tuple(map(str, folds)), shots=tuple(shots), draws=draws, encoder=encoder, plans_name=plans_name,
        device=device or default_device(), seed=seed, minutes_head=minutes_head, minutes_network=minutes_network,
        iterations=iterations, oracle_prompts=oracle_prompts, shot_slices=shot_slices, box_relax=box_relax)
    return run_benchmark(settings, resolve_paths(raw, preprocessed, results), workers=workers, scheduler=scheduler,
                         reference=reference, nnunet_results=[Path(each) for each in nnunet_results], command=command)
