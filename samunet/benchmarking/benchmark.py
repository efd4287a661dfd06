"""A whole benchmark: runs the missing jobs, then gathers, compares and reports the results."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from samunet.benchmarking.comparison import REFERENCE, compare
from samunet.benchmarking.expected import Planned, announce_benchmark
from samunet.benchmarking.jobs import NNUNET, Benchmark, Job
from samunet.benchmarking.machines import Outcome, finished_jobs, run_here, run_on_dask
from samunet.benchmarking.nnunet_results import import_results
from samunet.benchmarking.report import write_report
from samunet.benchmarking.results import Result, gather
from samunet.benchmarking.tables import cases_csv, label_rows, markdown, summary_rows
from samunet.console import say
from samunet.dataset.dataset import RawDataset, load_dataset
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError, some
from samunet.files import write_json, write_text
from samunet.locks import lock_beside, owned
from samunet.planning.groups import known_groups
from samunet.planning.splits import ALL, ensure_splits, fold_cases
from samunet.preprocessing.prompts.kinds import places_of
from samunet.selection.crossval import accumulate
from samunet.variants.registry import check_kinds, check_prompts, entry
from samunet.workers import default_workers

SHORT = ("method", "shots", "Dice", "draws", "difference", "p (Holm)", "training s", "why")


def run_benchmark(
    benchmark: Benchmark, paths: Paths, *, workers: int | None, scheduler: str | None, reference: str | None,
    command: str,
    nnunet_results: Sequence[Path] = (),
) -> Path:
    """Run the jobs that have no finished run, then write cases.csv, summary.json, summary.md and report.html.

    Returns the folder that holds them.

    Arguments:
        workers: number of parallel jobs on this machine; None or 1 with no `scheduler`: one after the other.
        scheduler: address of a running dask scheduler.
        reference: method that all others are compared with, a variant's or an imported folder's name; None is
            label_prior.
        command: the command line that repeats the benchmark, for the report.
        nnunet_results: folders of finished nnU-Net models, see `import_results`.

    Raises:
        UserError: unknown dataset or variant; a dataset that is not planned; unknown folds, or folds that share
            validation
            cases with each other or with their training cases; nnU-Net without a length or with labelled slices; a
            promptable variant without prompts; an unknown reference; another benchmark of the dataset that is running;
            no memory for any job; see also `import_results` and `run_on_dask`. The error of a single job is reported in
            the tables instead.
    """
    _check(benchmark, nnunet_results)
    _check_reference(reference, [*benchmark.variants, *(model.resolve().name for model in nnunet_results)])
    dataset = load_dataset(find_dataset(paths.raw, benchmark.dataset))
    _check_folds(benchmark, dataset, paths)
    # first: an error must precede hours of training
    imported = import_results(nnunet_results, benchmark, dataset, paths)
    folder = paths.results / dataset.name / "benchmark"
    with owned(lock_beside(folder), folder):
        if scheduler is None:  # the memory of other machines is not known
            workers = _announced(benchmark, dataset, paths, workers)
        faults = _run_jobs(benchmark, paths, workers, scheduler)
        _write(folder, benchmark, dataset, faults, imported, paths, reference or REFERENCE, command)
    return folder


def _announced(benchmark: Benchmark, dataset: RawDataset, paths: Paths, workers: int | None) -> int:
    """Say what the unfinished jobs are expected to take; returns how many fit side by side."""
    folder = paths.preprocessed / dataset.name
    splits = ensure_splits(dataset, folder, None)
    jobs = [(job, job.shots or len(fold_cases(splits, job.fold, dataset)[0])) for job in benchmark.jobs()
            if not (benchmark.folder(job, paths) / "run.json").is_file()]
    planned = Planned.of(folder, benchmark.plans_name, benchmark.encoder)
    return announce_benchmark(benchmark, jobs, planned, folder, workers or 1)


def _run_jobs(benchmark: Benchmark, paths: Paths, workers: int | None, scheduler: str | None) -> dict[Job, str]:
    """Run every job that has no finished run; returns the errors of the jobs that failed."""
    faults: dict[Job, str] = {}
    finished = finished_jobs(benchmark, list(benchmark.jobs()), paths)
    jobs = [job for job in benchmark.jobs() if job not in finished]
    if finished:
        say(f"finished before: {len(finished)} of {len(finished) + len(jobs)} jobs")
    for number, outcome in enumerate(_outcomes(benchmark, jobs, paths, workers, scheduler), 1):
        say(f"{number}/{len(jobs)} {outcome.job}: {_one_line(outcome)}")
        if outcome.fault:
            faults[outcome.job] = outcome.fault
    return faults


def _write(
    folder: Path, benchmark: Benchmark, dataset: RawDataset, faults: dict[Job, str], imported: list[Result],
    paths: Paths,
    reference: str, command: str,
) -> None:
    """Gather and compare the results of jobs and imports, and write them into `folder`."""
    groups = known_groups(dataset, paths.preprocessed / dataset.name)
    results = gather(benchmark, paths, faults, dataset.label_ending)
    for result in results:
        _accumulate(benchmark, result, paths, dataset.label_ending)
    results += imported
    rows = list(summary_rows(results, compare(results, reference, groups), groups))
    write_text(folder / "cases.csv", cases_csv(results))
    write_json(folder / "summary.json", rows)
    text = markdown(rows, SHORT)
    write_text(folder / "summary.md", text + "\n")
    names = {str(label): dataset.labels.name_of(label) for label in dataset.labels.foreground}
    if by_label := list(label_rows(results, names, groups)):
        write_text(folder / "by_label.md", markdown(by_label, list(by_label[0])) + "\n")
    if importlib.util.find_spec("jinja2") is None:
        say("report.html is not written because it needs jinja2: pip install 'samunet[report]'")
    else:
        write_report(folder / "report.html", benchmark, results, rows, reference, groups, dataset, paths, command)
    say(text)
    for job, fault in faults.items():
        say(f"{job}:\n{fault}")


def _check_folds(benchmark: Benchmark, dataset: RawDataset, paths: Paths) -> None:
    """Check, before hours of training, that the folds share no validation case and train on none of their own."""
    if ALL in benchmark.folds:
        raise UserError("A benchmark needs folds with held-out validation cases.", where="--folds", found=ALL,
                        mend="Give fold numbers of splits_final.json.")
    folder = paths.preprocessed / dataset.name
    if not (plans := folder / f"{benchmark.plans_name}.json").is_file():  # splits must wait for --groups of planning
        raise UserError("A dataset must be planned before it is benchmarked.", where=plans, found="no such file",
                        mend="Run samunet_plan_and_preprocess first.")
    splits = ensure_splits(dataset, folder, None)
    known = [str(number) for number in range(len(splits))]
    if strange := [fold for fold in benchmark.folds if fold not in known]:
        raise UserError("The folds of a benchmark must be in splits_final.json.", where="--folds", found=some(strange),
                        mend=f"Choose of: {', '.join(known)}.")
    names = [name for fold in benchmark.folds for name in fold_cases(splits, fold, dataset)[1]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("A case must be validated in one fold only.", where=f"--folds {' '.join(benchmark.folds)}",
                        found=some(twice), mend="Give folds that share no validation case. Run the other folds "
                        "separately, with another --results folder.")


def _check(benchmark: Benchmark, nnunet_results: Sequence[Path]) -> None:
    nnunet = [variant for variant in benchmark.variants if variant.startswith(NNUNET)]
    for variant in benchmark.variants:
        if variant not in nnunet and entry(variant).prompts:
            check_prompts(variant, benchmark.oracle_prompts is not None)
            check_kinds(variant, [places_of(benchmark.oracle_prompts or "")], "--oracle_prompts")
    if nnunet and benchmark.iterations is None and benchmark.minutes_network is None:
        raise UserError("nnU-Net needs a training length.", where="--nnunet", found="neither iterations nor minutes",
                        mend="Give --minutes_network or --iterations.")
    trained_on_cases = [*nnunet, *map(str, nnunet_results)]
    if trained_on_cases and benchmark.shot_slices is not None:
        raise UserError("nnU-Net trains on whole cases, so it cannot be compared with variants trained on some slices.",
                        where="--shot_slices", found=", ".join(trained_on_cases),
                        mend="Leave out --nnunet and --nnunet_results, or leave out --shot_slices.")


def _check_reference(reference: str | None, methods: Sequence[str]) -> None:
    if (reference or REFERENCE) in methods:
        return
    if reference is not None:
        raise UserError("The reference must be one of the methods that are run or imported.", where="--reference",
                        found=reference, mend=f"Choose one of: {', '.join(methods)}; or add it to --variants.")
    say(f"no comparison: {REFERENCE} is not among the methods, and --reference is not given")


def _outcomes(
    benchmark: Benchmark, jobs: list[Job], paths: Paths, workers: int | None, scheduler: str | None
) -> Iterator[Outcome]:
    cores = default_workers()
    if scheduler is None and workers in (None, 1):
        return run_here(benchmark, jobs, paths, threads=cores)
    side_by_side = workers or cores
    return run_on_dask(benchmark, jobs, paths, threads=max(cores // side_by_side, 1), workers=side_by_side,
                       address=scheduler)


def _accumulate(benchmark: Benchmark, result: Result, paths: Paths, file_ending: str) -> None:
    """Write nnU-Net's folder of all folds for each complete draw."""
    for draw in result.cases:
        model = benchmark.folder(Job(result.variant, benchmark.folds[0], result.shots, draw, result.slices),
                                 paths).parent
        accumulate(model, benchmark.folds, file_ending)


def _one_line(outcome: Outcome) -> str:
    return f"failed: {outcome.fault.strip().splitlines()[-1]}" if outcome.fault else f"done in {outcome.seconds:.0f} s"
