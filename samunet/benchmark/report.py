"""A self-contained HTML page: tables, charts, overlays of cases, and the command that reproduces it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from samunet.benchmark import charts
from samunet.benchmark.comparison import MARGIN
from samunet.benchmark.jobs import Benchmark, Job
from samunet.benchmark.overlays import CaseOverlay, case_overlay, chosen_cases
from samunet.benchmark.results import Result, shots_text
from samunet.dataset.dataset import RawDataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import Paths
from samunet.training.logbook import read_log

Section = tuple[str, list[tuple[str, str]]]


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
        files("samunet.benchmark").joinpath("report.html.j2").read_text(encoding="utf-8"))
    complete = [result for result in results if result.cases]
    shots = ", ".join(shots_text(count, benchmark.shot_slices) for count in benchmark.shots)
    write_text(path, template.render(
        title=f"Benchmark of {dataset.name}",
        introduction=f"{len(complete)} of {len(results)} settings are complete. Folds: {', '.join(benchmark.folds)}. "
        f"Labelled cases: {shots}. Draws: {benchmark.draws}. Encoder: {benchmark.encoder}.",
        rows=rows, columns=[*dict.fromkeys(name for row in rows for name in row)], reference=_shown(reference, results),
        margin=MARGIN, sections=_sections(benchmark, complete, reference, groups, paths),
        overlays=_overlays(complete, dataset), commands=command, facts=_facts(complete)))


def _shown(reference: str, results: Sequence[Result]) -> str:
    """The method's name in tables, where an oracle is marked as such."""
    return next((result.method for result in results if result.named(reference)), reference)


def _sections(
    benchmark: Benchmark, results: Sequence[Result], reference: str, groups: Mapping[str, str] | None, paths: Paths
) -> list[Section]:
    sections: list[Section] = []
    if curve := charts.label_efficiency(results, groups):
        sections.append(("Label efficiency", [("Mean Dice against labelled cases, with 95 % intervals.", curve)]))
    if not results:
        return sections
    sections.append(("Dice against training time",
                     [("One point for each setting.", charts.dice_over_time(results, groups))]))
    base = {result.shots: result for result in results if result.named(reference)}
    pairs = [((f"{result.method}, {result.labelled} labelled cases. Points above the line are better than "
               f"{base[result.shots].method}."), charts.paired(result, base[result.shots]))
             for result in results if not result.named(reference) and result.shots in base]
    if pairs:
        sections.append((f"Case by case against {_shown(reference, results)}", pairs))
    sections.append(("Dice of each class", [(f"Class {label}: every case and draw.", charts.boxes(results, label))
                                            for label in results[0].labels()]))
    for shots in dict.fromkeys(result.shots for result in results):
        if curves := _curves(benchmark, [result for result in results if result.shots == shots], paths):
            caption = f"{shots_text(shots, benchmark.shot_slices)} labelled cases, draw 0, fold {benchmark.folds[0]}."
            sections.append(("Training", [(caption, charts.training_curves(curves))]))
    return sections


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
