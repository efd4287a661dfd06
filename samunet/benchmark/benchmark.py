"""A whole benchmark: what is missing is run, what is there is gathered, compared and reported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from samunet.benchmark.comparison import compare
from samunet.benchmark.crossval import accumulate
from samunet.benchmark.jobs import NNUNET, Benchmark, Job
from samunet.benchmark.machines import Outcome, run_here, run_on_dask
from samunet.benchmark.nnunet_results import import_results
from samunet.benchmark.report import write_report
from samunet.benchmark.results import Result, gather
from samunet.benchmark.tables import cases_csv, markdown, summary_rows
from samunet.console import say
from samunet.dataset.dataset import RawDataset, load_dataset
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError, some
from samunet.files import write_json, write_text
from samunet.locks import lock_beside, owned
from samunet.planning.groups import known_groups
from samunet.planning.splits import ALL, ensure_splits, fold_cases
from samunet.preprocessing.prompts.kinds import places_of
from samunet.variants.registry import check_kinds, check_prompts, entry
from samunet.workers import default_workers

REFERENCE = "label_prior"
SHORT = ("method", "shots", "Dice", "draws", "difference", "p (Holm)", "training s", "why")


def run_benchmark(
    benchmark: Benchmark, paths: Paths, *, workers: int | None, scheduler: str | None, reference: str | None, command: str,
    nnunet_results: Sequence[Path] = (),
) -> Path:
    """Run the jobs that have no finished run, then write cases.csv, summary.json, summary.md and report.html.

    Returns the folder that holds them.

    Arguments:
        workers: jobs side by side on this machine; None or 1 with no `scheduler`: one after the other.
        scheduler: a running dask scheduler's address.
        reference: method that the others are compared with: a variant's name or an imported folder's; None takes label_prior.
        command: that repeats this, for the report.
        nnunet_results: folders of models that nnU-Net has trained already, see `import_results`.

    Raises:
        UserError: unknown dataset or variant, a dataset that is not planned, folds that are not there or that have validation cases in
            common with each other or with their training cases, nnU-Net without a length or with labelled slices alone, a variant
            without its prompts, a reference that is none of the methods, another benchmark of the dataset at work, and see `import_results` and `run_on_dask`. A job's own fault
            is told in the tables instead.
    """
    _check(benchmark, nnunet_results)
    _check_reference(reference, [*benchmark.variants, *(model.resolve().name for model in nnunet_results)])
    dataset = load_dataset(find_dataset(paths.raw, benchmark.dataset))
    _check_folds(benchmark, dataset, paths)
    imported = import_results(nnunet_results, benchmark, dataset, paths)  # before hours of training, since it may be refused
    folder = paths.results / dataset.name / "benchmark"
    with owned(lock_beside(folder), folder):
        faults = _run_jobs(benchmark, paths, workers, scheduler)
        _write(folder, benchmark, dataset, faults, imported, paths, reference or REFERENCE, command)
    return folder


def _run_jobs(benchmark: Benchmark, paths: Paths, workers: int | None, scheduler: str | None) -> dict[Job, str]:
    """Run every job that has no finished run; returns what was wrong with those that failed."""
    faults: dict[Job, str] = {}
    jobs = list(benchmark.jobs())
    for number, outcome in enumerate(_outcomes(benchmark, jobs, paths, workers, scheduler), 1):
        say(f"{number}/{len(jobs)} {outcome.job}: {_told(outcome)}")
        if outcome.fault:
            faults[outcome.job] = outcome.fault
    return faults


def _write(
    folder: Path, benchmark: Benchmark, dataset: RawDataset, faults: dict[Job, str], imported: list[Result], paths: Paths,
    reference: str, command: str,
) -> None:
    """Gather and compare what the jobs and others have reached, and write it into `folder`."""
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
    if importlib.util.find_spec("jinja2") is None:
        say("no report.html, which needs jinja2: pip install 'samunet[report]'")
    else:
        write_report(folder / "report.html", benchmark, results, rows, reference, groups, dataset, paths, command)
    say(text)
    for job, fault in faults.items():
        say(f"{job}:\n{fault}")


def _check_folds(benchmark: Benchmark, dataset: RawDataset, paths: Paths) -> None:
    """Before hours of training: the folds' validation cases stand beside each other in one table, and nobody has learned from them."""
    if ALL in benchmark.folds:
        raise UserError("A benchmark needs folds that hold cases out for validation.", where="--folds", found=ALL,
                        mend="Give numbers of the splits file.")
    folder = paths.preprocessed / dataset.name
    if not (plans := folder / f"{benchmark.plans_name}.json").is_file():  # else folds would be made before patients are told
        raise UserError("A dataset must be planned before it is benchmarked.", where=plans, found="no such file",
                        mend="Run samunet_plan_and_preprocess first.")
    splits = ensure_splits(dataset, folder, None)
    known = [str(number) for number in range(len(splits))]
    if strange := [fold for fold in benchmark.folds if fold not in known]:
        raise UserError("A benchmark's folds must be those of the splits file.", where="--folds", found=some(strange),
                        mend=f"Choose of: {', '.join(known)}.")
    names = [name for fold in benchmark.folds for name in fold_cases(splits, fold, dataset)[1]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("A case must be validated in one fold alone.", where=f"--folds {' '.join(benchmark.folds)}", found=some(twice),
                        mend="Give folds that share no validation case, the others in calls with results folders of their own.")


def _check(benchmark: Benchmark, nnunet_results: Sequence[Path]) -> None:
    nnunet = [variant for variant in benchmark.variants if variant.startswith(NNUNET)]
    for variant in benchmark.variants:
        if variant not in nnunet and entry(variant).prompts:
            check_prompts(variant, benchmark.oracle_prompts is not None)
            check_kinds(variant, [places_of(benchmark.oracle_prompts or "")], "--oracle_prompts")
    if nnunet and benchmark.iterations is None and benchmark.minutes_network is None:
        raise UserError("nnU-Net must be told how long to train.", where="--nnunet", found="neither iterations nor minutes",
                        mend="Give --minutes_network or --iterations.")
    whole = [*nnunet, *map(str, nnunet_results)]
    if whole and benchmark.shot_slices is not None:
        raise UserError("nnU-Net learns from whole cases, and is compared with nothing that had some of their slices alone.",
                        where="--shot_slices", found=", ".join(whole),
                        mend="Leave --nnunet and --nnunet_results out, or benchmark without --shot_slices.")


def _check_reference(reference: str | None, methods: Sequence[str]) -> None:
    if (reference or REFERENCE) in methods:
        return
    if reference is not None:
        raise UserError("The method that the others are compared with must be one of those that are run or imported.",
                        where="--reference", found=reference, mend=f"Choose one of: {', '.join(methods)}; or add it to --variants.")
    say(f"nothing is compared, since {REFERENCE} is not among the methods and no --reference is given")


def _outcomes(
    benchmark: Benchmark, jobs: list[Job], paths: Paths, workers: int | None, scheduler: str | None
) -> Iterator[Outcome]:
    cores = default_workers()
    if scheduler is None and workers in (None, 1):
        return run_here(benchmark, jobs, paths, threads=cores)
    side_by_side = workers or cores
    return run_on_dask(benchmark, jobs, paths, threads=max(cores // side_by_side, 1), workers=side_by_side, address=scheduler)


def _accumulate(benchmark: Benchmark, result: Result, paths: Paths, file_ending: str) -> None:
    """nnU-Net's folder of all folds for each whole draw."""
    for draw in result.cases:
        model = benchmark.folder(Job(result.variant, benchmark.folds[0], result.shots, draw, result.slices), paths).parent
        accumulate(model, benchmark.folds, file_ending)


def _told(outcome: Outcome) -> str:
    return f"failed: {outcome.fault.strip().splitlines()[-1]}" if outcome.fault else f"done in {outcome.seconds:.0f} s"
