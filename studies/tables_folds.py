"""Tables of the five-fold cross-validation: the README's, that of each fold, and the AutoSAM paper's beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from statistics import mean
from typing import Any

from case_results import chosen, decoded, from_lines
from paper_table import autosam_rows, direction_rows
from sittings import Key
from table_format import code, markdown, records, signed, span

from samunet.benchmarking.comparison import summarise
from samunet.benchmarking.results import Result
from samunet.evaluation.statistics import paired_differences, paired_interval

LINES = "five_folds"
FOLDS = ("0", "1", "2", "3", "4")
DATASETS = {"Dataset004_Hippocampus": "hippocampus", "Dataset027_ACDC": "ACDC"}
ACDC = {"1": "RV", "2": "Myo", "3": "LV"}
ROWS = ("hybrid", "hybrid_off", "atlas", "cnn_head", "autosam", "unet", "label_prior")  # of the README
NAMES = {"hybrid_off": "`hybrid --transport off`", "nnunet_2d": "nnU-Net `2d`"}
PAIRS = (("hybrid", "hybrid_off"), ("hybrid", "atlas"), ("hybrid_off", "atlas"), ("hybrid_off", "cnn_head"),
         ("atlas", "cnn_head"), ("cnn_head", "autosam"))
Line = Mapping[str, Any]


def five_folds_short() -> str:
    """A row for each method; for each dataset Dice from 5 cases and from all, means over all folds' cases."""
    lines = _lines()
    there = [(dataset, shots) for dataset in DATASETS for shots in (5, None)
             if any((key.dataset, key.shots) == (dataset, shots) for key in lines)]
    header = ["variant"]
    for dataset, shots in there:
        header += [f"{DATASETS[dataset]}, {'all' if shots is None else shots} cases", "iterations"]
    return markdown(header, ([NAMES.get(row, code(row)), *(cell for dataset, shots in there
                                                           for cell in _short_cells(lines, dataset, row, shots))]
                             for row in ROWS))


def differences() -> str:
    """Dice of one method over another on the cases that both have, from 5 cases, paired over patients."""
    rows = []
    for dataset, name in DATASETS.items():
        lines = _of(_lines(), dataset)
        results, patients = from_lines(lines, FOLDS), _patients(lines.values())
        for one, other in PAIRS:
            first, second = (chosen(results, row, 5) for row in (one, other))
            if first is None or second is None:
                continue
            scores, others = first.scores(0, "Dice"), second.scores(0, "Dice")
            common = [case for case in scores if case in others]
            found = paired_interval([paired_differences({case: scores[case] for case in common},
                                                        {case: others[case] for case in common}, patients)])
            rows.append([name, NAMES.get(one, code(one)), NAMES.get(other, code(other)), len(common),
                         signed(asdict(found))])
    return markdown(["dataset", "", "over", "cases", "difference"], rows)


def paper_beside_ours() -> str:
    lines = _of(_lines(), "Dataset027_ACDC")
    results = from_lines(lines, FOLDS)
    rows = []
    for row in autosam_rows(results, ACDC, _patients(lines.values())):
        if result := chosen(results, row[1].strip("`"), row[2]):
            rows.append([*row, ", ".join(result.missing)])
    organs = list(ACDC.values())
    return markdown(["paper", "here", "labelled", "Dice, paper", "Dice", *organs, "ASSD, paper", "ASSD mm",
                     *(f"{organ} mm" for organ in organs), "folds missing"], rows)


def paper_directions() -> str:
    lines = _of(_lines(), "Dataset027_ACDC")
    return markdown(["labelled", "metric", "the paper's direction", "difference", ""],
                    direction_rows(from_lines(lines, FOLDS), _patients(lines.values())))


def _lines() -> dict[Key, Line]:
    """Of a job that has several lines, the last."""
    return {Key(**record["key"]): record for record in records(LINES)}


def _of(lines: Mapping[Key, Line], dataset: str) -> dict[Key, Line]:
    return {key: line for key, line in lines.items() if key.dataset == dataset}


def _patients(lines: Iterable[Line]) -> dict[str, str]:
    """Case -> patient. Lines of ACDC until commit 4bab85f do not say it: its cases are patientNNN_frameNN."""
    return {case: line.get("patients", {}).get(case, case.split("_frame")[0]) for line in lines
            for case in line["cases"]}


def _short_cells(lines: Mapping[Key, Line], dataset: str, row: str, shots: int | None) -> tuple[str, str]:
    """Mean Dice with its interval over patients, the folds if not all are there; the iterations of the folds."""
    those = {key: line for key, line in _of(lines, dataset).items() if (key.row, key.shots) == (row, shots)}
    if not those:
        return "", ""
    (result,) = from_lines(those, FOLDS)
    found = summarise(result, "Dice", _patients(those.values()))
    if found is None:
        return "", ""
    interval, folds = found.interval, sorted(key.fold for key in those)
    part = "" if len(folds) == len(FOLDS) else f" (fold{'s' * (len(folds) > 1)} {', '.join(folds)})"
    return (f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]{part}",
            span([line["iterations"] for line in those.values()]))


def five_folds_each() -> str:
    """A row for each dataset, method, number of cases and length, of draw 0; a column for each fold."""
    found: dict[tuple[str, str, int | None, float | None], dict[str, Line]] = {}
    for key, line in _lines().items():
        if key.draw == 0:
            found.setdefault((key.dataset, key.row, key.shots, key.minutes), {})[key.fold] = line
    rows = []
    for (dataset, row, shots, minutes), folds in sorted(found.items(), key=lambda job: (job[0][0], job[0][2] or 999)):
        commits = sorted({f"`{line['commit'][:7]}`" for line in folds.values()})
        rows.append([DATASETS[dataset], "all" if shots is None else shots, NAMES.get(row, code(row)),
                     minutes, span([line["iterations"] for line in folds.values()]),
                     *(f"{_dice(folds[fold]):.3f}" if fold in folds else "" for fold in FOLDS),
                     f"{sum(line['core_hours'] for line in folds.values()):.2f}", ", ".join(commits)])
    return markdown(["dataset", "cases", "variant", "minutes", "iterations", *FOLDS, "core-hours", "commit"], rows)


def _dice(line: Line) -> float:
    """The mean over a fold's cases; an undefined Dice of a class is left out of its case's mean."""
    key = Key(**line["key"])
    scores = Result(key.row, key.shots, {0: decoded(line["cases"])}, {}).scores(0, "Dice")
    return mean(score for score in scores.values() if not math.isnan(score))


TABLES = {"five folds, short": five_folds_short, "five folds": five_folds_each,
          "five folds, differences": differences,
          "paper beside ours": paper_beside_ours, "paper directions": paper_directions}
