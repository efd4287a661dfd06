"""The table of the study on SAM's mask decoder with few labels: forms of `autosam`, paired by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from table_format import code, markdown, records, signed

from samunet.evaluation.statistics import paired_differences, paired_interval

Record = Mapping[str, Any]
Job = tuple[str, int, int]  # fold, draw, seed


def head_start() -> str:
    """A line for each dataset, length and row; differences from `autosam` are over the jobs that both have."""
    groups: dict[tuple[str, str, str], dict[str, dict[Job, Record]]] = {}
    for record in records("head_start"):
        group = groups.setdefault((record["dataset"], record["plans"], length(record)), {})
        group.setdefault(record["row"], {})[record["fold"], record["draw"], record["seed"]] = record
    return markdown(
        ["dataset", "plans", "length", "row", "jobs", "Dice", "over `autosam`", "last loss", "processor s"],
        [[*group, code(row), len(jobs), f"{mean(map(dice, jobs.values())):.3f}",
          gain(list(jobs.items()), rows.get("autosam", {})) if row != "autosam" else "",
          f"{mean(job['loss'][-1] for job in jobs.values()):.3f}",
          f"{mean(job['core_seconds'] for job in jobs.values()):.0f}"]
         for group, rows in groups.items() for row, jobs in rows.items()])


def length(record: Record) -> str:
    """Minutes of one core where they were fixed, else iterations."""
    minutes = record["core_minutes"]
    return f"{record['iterations']} iterations" if minutes is None else f"{minutes:g} min"


def dice(record: Record) -> float:
    """Mean over cases."""
    return mean(record["dice"].values())


def gain(jobs: Sequence[tuple[Job, Record]], others: Mapping[Job, Record]) -> str:
    """The paired difference from `others`; empty where no job is common."""
    pairs = [paired_differences(record["dice"], others[job]["dice"], record["groups"])
             for job, record in jobs if job in others]
    return signed(vars(paired_interval(pairs))) if pairs else ""


TABLES = {"head start": head_start}
