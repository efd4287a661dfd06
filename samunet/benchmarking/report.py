"""A self-contained HTML page: the answer, tables, charts, overlays of cases, and the command that reproduces it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from samunet.benchmarking import charts
from samunet.benchmarking.answer import answers
from samunet.benchmarking.comparison import MARGIN, REFERENCE
from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.overlays import CaseOverlay, case_overlay, chosen_cases
from samunet.benchmarking.results import Result, shots_text
from samunet.dataset.dataset import RawDataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import Paths
from samunet.training.logbook import read_log

Section = tuple[str, list[tuple[str, str]]]
FIRST_COLUMNS = ("method", "shots", "Dice", "difference", "HD95 mm", "training s", "why")  # the others need a click


def write_report(
    path: Path, benchmark: Benchmark, results: Sequence[Result], rows: Sequence[Mapping[str, Any]], reference: str,
    groups: Mapping[str, str] | None, dataset: RawDataset, paths: Paths, command: str,
) -> None:
    """Write the page. It loads nothing from other files or servers.

    Arguments:
        rows: of `tables.summary_rows`.
        reference: the method that all others were compared with.
        command: the command line that repeats the benchmark.
    """
    from jinja2 import Environment, StrictUndefined

    from samunet.files import write_text

    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        files("samunet.benchmarking").joinpath("report.html.j2").read_text(encoding="utf-8"))
    complete = [result for result in results if result.cases]
    shots = ", ".join(shots_text(count, benchmark.shot_slices) for count in benchmark.shots)
    write_text(path, template.render(
        title=f"Benchmark of {dataset.name}",
        introduction=f"{len(complete)} of {len(results)} settings are complete. Folds: {', '.join(benchmark.folds)}. "
        f"Labelled cases: {shots}. Draws: {benchmark.draws}. Encoder: {benchmark.encoder}.",
        answers=answers(results, reference, REFERENCE, groups), rows=rows, columns=_columns(rows),
        first_columns=FIRST_COLUMNS, reference=_shown(reference, results), margin=MARGIN,
        sections=_sections(benchmark, complete, reference, groups, paths, dataset.labels),
        overlays=_overlays(complete, dataset), commands=command, facts=_facts(complete)))


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that some row fills, those of `FIRST_COLUMNS` first."""
    filled = dict.fromkeys(name for row in rows for name, value in row.items() if value not in ("", None))
    return sorted(filled, key=lambda name: FIRST_COLUMNS.index(name) if name in FIRST_COLUMNS else len(FIRST_COLUMNS))


def _shown(reference: str, results: Sequence[Result]) -> str:
    """The method's name in tables, where an oracle is marked as such."""
    return next((result.method for result in results if result.named(reference)), reference)


def _sections(
    benchmark: Benchmark, results: Sequence[Result], reference: str, groups: Mapping[str, str] | None, paths: Paths,
    labels: LabelSpace,
) -> list[Section]:
    """(title, charts with their captions), without charts and sections that have nothing to show."""
    base = {result.shots: result for result in results if result.named(reference)}
    pairs = [((f"{result.method}, {result.labelled} labelled cases. Points above the line are better than "
               f"{base[result.shots].method}."), charts.paired(result, base[result.shots]))
             for result in results if not result.named(reference) and result.shots in base]
    classes = [(labels.name_of(label), str(label)) for label in labels.foreground]
    sections = [
        ("Label efficiency", [("Mean Dice against labelled cases, with 95 % intervals.",
                               charts.label_efficiency(results, groups))]),
        ("Dice against training time", [("One point for each setting.", charts.dice_over_time(results, groups))]),
        (f"Case by case against {_shown(reference, results)}", pairs),
        ("Dice of each class", [(f"{name}: every case and draw.", charts.boxes(results, key, name))
                                for name, key in classes]),
        ("Training", _training(benchmark, results, paths)),
    ]
    drawn = [(title, [(caption, chart) for caption, chart in each if chart]) for title, each in sections]
    return [(title, each) for title, each in drawn if each]


def _training(benchmark: Benchmark, results: Sequence[Result], paths: Paths) -> list[tuple[str, str | None]]:
    found = []
    for shots in dict.fromkeys(result.shots for result in results):
        curves = _curves(benchmark, [result for result in results if result.shots == shots], paths)
        caption = f"{shots_text(shots, benchmark.shot_slices)} labelled cases, draw 0, fold {benchmark.folds[0]}."
        found.append((caption, charts.training_curves(curves)))
    return found


def _curves(benchmark: Benchmark, results: Sequence[Result], paths: Paths) -> dict[str, list[dict[str, float]]]:
    found = {}
    for result in results:
        job = Job(result.variant, benchmark.folds[0], result.shots, 0, result.slices)
        if entries := read_log(benchmark.folder(job, paths) / "log.jsonl"):  # empty for some variants without training
            found[result.method] = [asdict(entry) for entry in entries]
    return found


def _overlays(results: Sequence[Result], dataset: RawDataset) -> list[tuple[str, list[CaseOverlay]]]:
    cases, reader = {case.name: case for case in dataset.cases}, choose_reader(dataset)
    found = []
    for result in results:
        draw = min(result.cases)
        if not result.segmentations[draw]:
            continue
        overlays = []
        for which, name, dice in chosen_cases(result, draw):
            folder = result.segmentations[draw][name]
            label = cases[name].label
            if label is None:
                raise ValueError(f"{name} has no label")
            overlays.append(case_overlay(f"{which}: {name}, Dice {dice:.3f}", cases[name].images,
                                         folder / f"{name}{dataset.label_ending}", label, reader))
        found.append((f"{result.method}, {result.labelled} labelled cases", overlays))
    return found


def _facts(results: Sequence[Result]) -> dict[str, str]:
    """Versions, seeds, machines and encoders, comma-separated where runs differ."""
    runs = [run for result in results for run in result.runs.values()]

    def distinct(values: Sequence[Any]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    return {
        **{name: distinct([run["versions"].get(name) for run in runs])
           for name in (runs[0]["versions"] if runs else ())},
        "seed": distinct([run["settings"]["seed"] for run in runs]),
        "device": distinct([run["hardware"]["device"] for run in runs]),
        "threads": distinct([run["threads"] for run in runs]),
        "encoder": distinct([f"{run['encoder']['id']} ({str(run['encoder']['digest'])[:12]})" for run in runs
                             if run["encoder"]["digest"]]),
    }


def command_of(arguments: Sequence[str]) -> str:
    """The command line, quoted for a shell."""
    return shlex.join(["samunet_benchmark", *arguments])
