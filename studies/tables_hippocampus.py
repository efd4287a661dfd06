"""Tables of the studies on hippocampus MRI: rows of `samunet_benchmark`, headline, choice, AutoSAM's directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from table_format import code, last, markdown, records, signed, span

BENCHMARK = "benchmark_hippocampus"
SHOTS = ("1", "5", "16", "all")  # labelled cases
SURFACES = ("HD95 mm", "ASSD mm")


def _rows(*commits: str, shots: Sequence[str], only: str = "") -> list[dict[str, Any]]:
    """Rows of `shots` that these commits left, in the order of `shots`.

    Of one method and number of cases it is the row of the last commit.

    `only`: a part of the command of the records that are meant.
    """
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for commit in commits:
        for record in records(BENCHMARK, commit):
            if only in record["command"]:
                chosen |= {(row["shots"], row["method"]): row | {"commit": commit} for row in record["rows"]}
    return [row for count in shots for (cases, _), row in chosen.items() if cases == count]


def _benchmark(rows: Sequence[dict[str, Any]], reference: str, columns: Sequence[str]) -> str:
    """`columns` are keys of the rows; `difference` is that of Dice to `reference`."""
    titles = {"difference": f"Dice over `{reference}`", "draws": "Dice of each draw"}
    cells = [[code(row["method"]), row["shots"], row["Dice"], *(_cell(row, name) for name in columns)] for row in rows]
    return markdown(["method", "cases", "Dice", *(titles.get(name, name) for name in columns)], cells)


def _cell(row: dict[str, Any], column: str) -> str:
    if column == "iterations":
        return span(row.get("iterations"))
    if column == "commit":
        return f"`{row['commit']}`"
    return row.get(column, "")


def few_labels() -> str:
    rows = _rows("8cac5c9", "5316a79", shots=SHOTS)
    return _benchmark(
        rows, "atlas", ("draws", *SURFACES, "difference", "p (Holm)", "training s", "iterations", "commit")
    )


def few_labels_short() -> str:
    """Dice alone, a row for each method and a column for each number of cases: the README's table."""
    dice = {(row["method"], row["shots"]): row["Dice"] for row in _rows("8cac5c9", "5316a79", shots=SHOTS)}
    methods = ("hybrid", "atlas", "unet", "cnn_head", "fewshot", "label_prior")
    return markdown(
        ["variant", "1 case", "5 cases", "16 cases", "all 162"],
        [[code(method), *(dice[method, count] for count in SHOTS)] for method in methods],
    )


def headline_rows() -> str:
    return _benchmark(
        _rows("8cac5c9", shots=("16", "all")), "atlas", (*SURFACES, "difference", "training s", "iterations")
    )


def headline() -> str:
    rows = last("headline", "8cac5c9")["rows"]
    return markdown(
        ["from", "cases", "Dice", "share of the full model's", "Dice over 0.98 of it", ""],
        [
            [
                code(row["variant"]),
                row["shots"],
                f"{row['dice']:.3f}",
                f"{row['share']:.3f}",
                signed(row["margin"]),
                row["verdict"],
            ]
            for row in rows
        ],
    )


def other_variants() -> str:
    rows = _rows("4443fbd", shots=("5",))
    return _benchmark(rows, "atlas", (*SURFACES, "difference", "p (Holm)", "training s", "iterations"))


def labelled_slices() -> str:
    shares = {(row["variant"], row["slices"]): row["share"] for row in last("headline")["rows"]}
    cells = []
    for count in (5, 10, 20, 50):
        for row in _rows("447b412", shots=(f"5 ({count} slices)",)):
            share = shares.get((row["method"], count))
            cells.append(
                [
                    code(row["method"]),
                    count,
                    row["Dice"],
                    *(row[name] for name in SURFACES),
                    row.get("difference", ""),
                    span(row["iterations"]),
                    f"{share:.3f}" if share else "",
                ]
            )
    return markdown(
        ["method", "slices", "Dice", *SURFACES, "Dice over `atlas`", "iterations", "share of the full model's"], cells
    )


def neighbours_16() -> str:
    return _benchmark(
        _rows("8cda095", shots=("16",)), "3d_adapter", (*SURFACES, "difference", "p (Holm)", "training s", "iterations")
    )


def neighbours_all() -> str:
    return _benchmark(
        _rows("8cda095", shots=("all",)),
        "3d_adapter",
        (*SURFACES, "difference", "p (Holm)", "training s", "iterations"),
    )


def first_benchmark() -> str:
    return _benchmark(
        _rows("e3a3e43", shots=("5", "all"), only="nnunet"), "label_prior", (*SURFACES, "difference", "training s")
    )


def second_benchmark() -> str:
    return _benchmark(
        _rows("7bb3e14", shots=("5", "all")),
        "atlas",
        (*SURFACES, "difference", "training s", "iterations", "validation s"),
    )


def choice() -> str:
    cells = []
    for record in records("choice_regret"):
        for row in record["rows"]:
            lead = row["told"].partition("held-out cases, ")[2].partition(" against")[0]
            cells.append(
                [
                    record["shots"],
                    row["draw"],
                    code(row["chosen"]),
                    f"{row['dice'][row['chosen']]:.3f}",
                    code(row["best"]),
                    f"{row['dice'][row['best']]:.3f}",
                    f"{row['regret']:.3f}",
                    lead,
                    f"`{record['commit'][:7]}`",
                ]
            )
    return markdown(
        [
            "cases",
            "draw",
            "chosen",
            "Dice",
            "best in hindsight",
            "Dice",
            "regret",
            "its lead over the runner-up, on labelled cases",
            "commit",
        ],
        cells,
    )


def directions() -> str:
    of = {(row["metric"], row["better"], row["worse"], row["shots"]): row for row in last("autosam_directions")["rows"]}
    cells = [
        [
            metric.replace("_", " "),
            f"`{better}` {_claim(better, worse)} `{worse}`",
            *(_direction(of[metric, better, worse, shots]) for shots in ("1", "5")),
        ]
        for metric, better, worse in dict.fromkeys(key[:3] for key in of)
    ]
    return markdown(["metric", "the paper's direction", "1 case", "5 cases"], cells)


def _claim(better: str, worse: str) -> str:
    return "about equal to" if (better, worse) == ("cnn_head", "autosam") else "better than"


def _direction(row: dict[str, Any]) -> str:
    verdict = row["verdict"].replace("not told from equal", "undecided").replace("not told", "undecided")
    return f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]: {verdict}"


TABLES = {
    "few labels": few_labels,
    "few labels, short": few_labels_short,
    "headline, rows": headline_rows,
    "headline": headline,
    "other variants": other_variants,
    "labelled slices": labelled_slices,
    "neighbours, 16 cases": neighbours_16,
    "neighbours, all cases": neighbours_all,
    "first benchmark": first_benchmark,
    "second benchmark": second_benchmark,
    "choice": choice,
    "directions": directions,
}
