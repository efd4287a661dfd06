"""The corpus of bad input, each entry against every command that meets it: `python -m tests.faults.corpus`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from random import Random

from tests.faults import (
    bad_datasets,
    bad_flags,
    bad_headers,
    bad_json,
    bad_pictures,
    bad_user_files,
    bad_voxels,
)
from tests.faults.bases import prepared
from tests.faults.entry import Entry, Finding, try_entry
from tests.faults.place import Place
from tests.faults.warm import scratch
from tests.helpers.warm import warm_up

SOURCES = (bad_headers, bad_voxels, bad_datasets, bad_json, bad_user_files, bad_pictures, bad_flags)
VERDICTS = ("right", "refused", "warned", "false alarm", "unclear", "accepted", "wrong", "stray", "traceback")


def entries() -> list[Entry]:
    """The whole corpus."""
    return [entry for source in SOURCES for entry in source.entries()]


def share(count: int, seed: int) -> list[Entry]:
    """`count` entries of the corpus, evenly over its groups; all of them where `count` is 0."""
    every = entries()
    if not count:
        return every
    Random(f"corpus {seed}").shuffle(every)
    groups: dict[str, list[Entry]] = {}
    for entry in every:
        groups.setdefault(entry.group, []).append(entry)
    turns = sorted((place, name, entry.name) for name, group in groups.items()
                   for place, entry in enumerate(group))[:count]
    wanted = {(name, entry) for _, name, entry in turns}
    return [entry for entry in every if (entry.group, entry.name) in wanted]


def try_all(chosen: Sequence[Entry], folder: Path, workers: int) -> Iterator[Finding]:
    """Try each entry, `workers` at a time, in processes forked from this one."""
    bases = prepared(folder, {entry.base for entry in chosen})
    with ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=_keep, initargs=(chosen,)) as pool:
        for done in as_completed([pool.submit(_one, number, bases, folder) for number in range(len(chosen))]):
            yield from done.result()


_chosen: Sequence[Entry] = ()


def _keep(chosen: Sequence[Entry]) -> None:
    """Entries hold functions that cannot be sent; a forked process has them already."""
    global _chosen
    _chosen = chosen


def _one(number: int, bases: dict[str, Place], folder: Path) -> list[Finding]:
    entry = _chosen[number]
    return try_entry(entry, bases[entry.base], folder / f"place_{os.getpid()}")


def table(findings: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """Group -> how many commands met an entry of it, and how many ended in each way."""
    rows: dict[str, Counter[str]] = {}
    for finding in findings:
        rows.setdefault(finding.entry.split(": ")[0].split(",")[0], Counter())[finding.verdict] += 1
    return {row: {"tried": sum(counts.values()), **{name: counts[name] for name in VERDICTS}}
            for row, counts in sorted(rows.items())}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.corpus", description=__doc__)
    parser.add_argument("--entries", type=int, default=0, metavar="N",
                        help="so many, evenly over the groups (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="entries side by side (default: %(default)s)")
    parser.add_argument("--only", help="entries whose group and name contain this")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append one line of JSON with the table")
    parser.add_argument("--verbose", action="store_true", help="also print what is right and refused")
    parser.add_argument("--findings", type=Path, metavar="FILE",
                        help="write what each command made of each entry, as JSON")
    options = parser.parse_args(arguments)
    chosen = [entry for entry in share(options.entries, options.seed) if not options.only
              or options.only in f"{entry.group}: {entry.name}"]
    began = time.monotonic()
    warm_up()
    with scratch("corpus-") as folder:
        findings = []
        for finding in try_all(chosen, folder, options.workers):
            findings.append(finding)
            if len(findings) % 200 == 0:
                print(f"{len(findings)} commands, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if options.verbose or not finding.good:
                print(f"{finding.verdict:<11} {finding.entry} | {finding.command}: {finding.detail}", flush=True)
    rows = table(findings)
    for row, counts in rows.items():
        print(f"{row:<16}", *(f"{name} {count}" for name, count in counts.items() if count))
    bad = [finding for finding in findings if not finding.good]
    seconds = round(time.monotonic() - began)
    print(f"{len(chosen)} entries, {len(findings)} commands, {len(bad)} bad, {seconds} s")
    if options.findings:
        options.findings.write_text(json.dumps([asdict(finding) for finding in findings]))
    if options.record:
        from tests.faults.record import record

        record(options.record, ["tests.faults.corpus", *(sys.argv[1:] if arguments is None else arguments)],
               {"corpus": len(chosen), "seconds": seconds, "table": rows})
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
