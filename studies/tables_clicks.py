"""Tables of the studies of clicks. Whatever answers clicks is an oracle's, and says so."""

from __future__ import annotations

from typing import Any

from table_format import RESULTS, code, markdown, records, signed

SHOWN = ("1", "3", "5")  # clicks
UNMEASURED = "Not measured yet."


def _last(name: str, **wanted: str) -> dict[str, Any] | None:
    """The youngest record of `name` with these values; None before the first."""
    known = records(name) if (RESULTS / f"{name}.jsonl").is_file() else []
    fitting = [record for record in known if all(record[key] == value for key, value in wanted.items())]
    return fitting[-1] if fitting else None


def _name(method: str) -> str:
    """`3d_promptable`, 5 cases (oracle clicks); a grown region is no variant."""
    variant, comma, cases = method.partition(", ")
    return f"{variant if ' ' in variant else code(variant)}{comma}{cases}"


def one_click() -> str:
    if (record := _last("one_click")) is None:
        return UNMEASURED
    rows = []
    for method, row in record["rows"].items():
        rows.append([
            _name(method), "one click (oracle)" if row.get("oracle") else "none", f"{row['score']:.3f}",
            signed(row["one_click_ahead"]) if "one_click_ahead" in row else "", row["empty"],
            f"{row['training_seconds']:.0f}" if row.get("training_seconds") else ""])
    return markdown(["", "prompt", "Dice, cases with a tumour", f"one click of `{record['judged']}` is ahead by",
                     "empty without prompt and tumour", "training s"], rows)


def negative_clicks() -> str:
    if (record := _last("one_click")) is None:
        return UNMEASURED
    return markdown(["negative clicks (oracle)", "remove their distractor", "change nothing else", "both"],
                    [[record["negative"][key] for key in ("clicks", "removed", "nothing_else", "both")]])


def one_click_marks() -> str:
    if (record := _last("one_click")) is None:
        return UNMEASURED
    return markdown(["must be shown", ""],
                    [[mark, "holds" if met else "missed"] for mark, met in record["met"].items()])


def _real(dataset: str) -> str:
    if (record := _last("clicks", dataset=dataset)) is None:
        return UNMEASURED
    first = next(iter(record["rows"]))
    rows = []
    for method, row in record["rows"].items():
        ahead = [signed(row["first_ahead"][clicks]) if "first_ahead" in row else "" for clicks in SHOWN]
        rows.append([_name(method), *(f"{row['dice'][int(clicks)]:.3f}" for clicks in SHOWN),
                     f"{row['NSD_area']:.3f}", "yes" if row["rises"] else "no", *ahead])
    return markdown(
        ["oracle clicks", *(f"Dice after {clicks}" for clicks in SHOWN), "NSD area, at most 4", "rises with each click",
         *(f"{_name(first)} ahead after {clicks}" for clicks in SHOWN)], rows)


def clicks_hippocampus() -> str:
    return _real("Dataset004_Hippocampus")


def clicks_acdc() -> str:
    return _real("Dataset027_ACDC")


def long_target() -> str:
    """Every record; columns are numbers of corrections."""
    if _last("long_target") is None:
        return UNMEASURED
    shown = (0, 1, 3, 5, 10, 15)
    rows = []
    for record in records("long_target"):
        steps = list(record["cases"].values())
        cells = [f"{record['whole'][number]}; {sum(case[number]['dice'] for case in steps) / len(steps):.3f}"
                 if number < len(record["whole"]) else "" for number in shown]
        rows.append([record["commit"][:7], record["iterations"], record["train_cases"], *cells])
    return markdown(["commit", "iterations", "training cases",
                     *(f"whole, of 8; Dice after {number} corrections" for number in shown)], rows)


TABLES = {
    "one click": one_click,
    "negative clicks": negative_clicks,
    "one click marks": one_click_marks,
    "clicks hippocampus": clicks_hippocampus,
    "clicks acdc": clicks_acdc,
    "long target": long_target,
}
