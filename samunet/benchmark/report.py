"""One self-contained page: tables, charts, pictures of cases, and how to repeat it."""

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
from samunet.benchmark.overlays import CaseImageCrops, case_pictures, chosen_cases
from samunet.benchmark.results import Result, shots_told
from samunet.dataset.dataset import RawDataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import Paths
from samunet.training.logbook import read_log

Section = tuple[str, list[tuple[str, str]]]


def write_report(
    path: Path, benchmark: Benchmark, results: Sequence[Result], rows: Sequence[Mapping[str, Any]], reference: str,
    groups: Mapping[str, str] | None, dataset: RawDataset, paths: Paths, command: str,
) -> None:
    """Write the page; nothing in it is fetched from anywhere when it is opened.

    Arguments:
        rows: of `tables.summary_rows`.
        reference: the method that the others were compared with.
        command: that repeats the benchmark.
    """
    from jinja2 import Environment, StrictUndefined

    from samunet.files import write_text

    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        files("samunet.benchmark").joinpath("report.html.j2").read_text(encoding="utf-8"))
    whole = [result for result in results if result.cases]
    write_text(path, template.render(
        title=f"Benchmark of {dataset.name}",
        introduction=f"{len(whole)} of {len(results)} settings are whole: folds {', '.join(benchmark.folds)}; labelled cases "
        f"{', '.join(shots_told(count, benchmark.shot_slices) for count in benchmark.shots)}; {benchmark.draws} draw(s); "
        f"encoder {benchmark.encoder}.",
        rows=rows, columns=[*dict.fromkeys(name for row in rows for name in row)], reference=_shown(reference, results), margin=MARGIN,
        sections=_sections(benchmark, whole, reference, groups, paths), overlays=_overlays(whole, dataset),
        commands=command, facts=_facts(whole)))


def _shown(reference: str, results: Sequence[Result]) -> str:
    """The name that tables have for it: an oracle is called so everywhere."""
    return next((result.method for result in results if result.named(reference)), reference)


def _sections(
    benchmark: Benchmark, results: Sequence[Result], reference: str, groups: Mapping[str, str] | None, paths: Paths
) -> list[Section]:
    sections: list[Section] = []
    if curve := charts.label_efficiency(results, groups):
        sections.append(("Label efficiency", [("Mean Dice over labelled cases, with 95 % intervals.", curve)]))
    if not results:
        return sections
    sections.append(("Dice against time", [("One point for each setting.", charts.dice_over_time(results, groups))]))
    base = {result.shots: result for result in results if result.named(reference)}
    pairs = [(f"{result.method}, {result.labelled} labelled cases. Above the line it is better than {base[result.shots].method}.",
              charts.paired(result, base[result.shots]))
             for result in results if not result.named(reference) and result.shots in base]
    if pairs:
        sections.append((f"Case by case against {_shown(reference, results)}", pairs))
    sections.append(("Dice of each class", [(f"Class {label}: every case and draw.", charts.boxes(results, label))
                                            for label in results[0].labels()]))
    for shots in dict.fromkeys(result.shots for result in results):
        if curves := _curves(benchmark, [result for result in results if result.shots == shots], paths):
            caption = f"{shots_told(shots, benchmark.shot_slices)} labelled cases, draw 0, fold {benchmark.folds[0]}."
            sections.append(("Training", [(caption, charts.training_curves(curves))]))
    return sections


def _curves(benchmark: Benchmark, results: Sequence[Result], paths: Paths) -> dict[str, list[dict[str, float]]]:
    found = {}
    for result in results:
        log = benchmark.folder(Job(result.variant, benchmark.folds[0], result.shots, 0, result.slices), paths) / "log.jsonl"
        if entries := read_log(log):  # a variant that trains nothing may have an empty log
            found[result.method] = [asdict(entry) for entry in entries]
    return found


def _overlays(results: Sequence[Result], dataset: RawDataset) -> list[tuple[str, list[CaseImageCrops]]]:
    cases, reader = {case.name: case for case in dataset.cases}, choose_reader(dataset)
    found = []
    for result in results:
        draw = min(result.cases)
        if not result.segmentations[draw]:
            continue
        pictures = []
        for which, name, dice in chosen_cases(result, draw):
            folder = result.segmentations[draw][name]
            label = cases[name].label
            assert label is not None
            pictures.append(case_pictures(f"{which}: {name}, Dice {dice:.3f}", cases[name].images,
                                          folder / f"{name}{dataset.label_ending}", label, reader))
        found.append((f"{result.method}, {result.labelled} labelled cases", pictures))
    return found


def _facts(results: Sequence[Result]) -> dict[str, str]:
    """Versions, seeds, machines and encoders, joined where runs differ."""
    runs = [run for result in results for run in result.runs.values()]

    def told(values: Sequence[Any]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    return {
        **{name: told([run["versions"].get(name) for run in runs]) for name in (runs[0]["versions"] if runs else ())},
        "seed": told([run["settings"]["seed"] for run in runs]),
        "device": told([run["hardware"]["device"] for run in runs]),
        "threads": told([run["threads"] for run in runs]),
        "encoder": told([f"{run['encoder']['id']} ({str(run['encoder']['digest'])[:12]})" for run in runs
                         if run["encoder"]["digest"]]),
    }


def command_of(arguments: Sequence[str]) -> str:
    """The command line as a person would type it."""
    return shlex.join(["samunet_benchmark", *arguments])
