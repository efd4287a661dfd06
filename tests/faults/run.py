"""Many faults, one after another, and a table of what became of them: `python -m tests.faults.run --faults 1000`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

from tests.faults.damages import MEANS, TARGETS, damage
from tests.faults.disturbances import DISTURBANCES
from tests.faults.job import Job, undisturbed
from tests.faults.record import record
from tests.faults.verdict import Outcome, Verdict
from tests.faults.warm import scratch
from tests.helpers.warm import warm_up

# Of all faults, the share that meets running commands; the others damage files.
RUNNING_SHARE = 0.5
NEEDS_ROOT = ("full disk",)


@dataclass(frozen=True)
class Fault:
    """One fault, which (kind, seed) repeats as far as moments can be repeated."""

    kind: str
    seed: int

    @property
    def row(self) -> str:
        """The line of the table that counts it: without how a file is damaged."""
        return self.kind.split(": ")[0] if self.kind in KINDS and ": " in self.kind else self.kind


KINDS = (*DISTURBANCES, *(f"damaged {name}: {means}" for name in TARGETS for means in MEANS))


def chosen(count: int, seed: int) -> list[Fault]:
    """`count` faults over all kinds; those that need root are left out where they cannot be had."""
    running = [kind for kind in DISTURBANCES if kind not in NEEDS_ROOT or os.geteuid() == 0]
    damaged = [kind for kind in KINDS if kind not in DISTURBANCES]
    Random(f"order {seed}").shuffle(damaged)
    there = round(count * RUNNING_SHARE)
    kinds = [running[number % len(running)] for number in range(there)]
    kinds += [damaged[number % len(damaged)] for number in range(count - there)]
    return [Fault(kind, seed * 1_000_000 + number) for number, kind in enumerate(kinds)]


def strike_with(fault: Fault, job: Job, root: Path) -> Outcome:
    """Meet the job with a fault; the place at `root` is used up."""
    random = Random(f"{fault.kind} {fault.seed}")
    if fault.kind in DISTURBANCES:
        return DISTURBANCES[fault.kind](job, root, random)
    name, means = fault.kind.removeprefix("damaged ").rsplit(": ", 1)
    return damage(name, means, job, root, random)


def strike_with_all(faults: Sequence[Fault], job: Job, folder: Path, workers: int) -> Iterator[tuple[Fault, Outcome]]:
    """Meet the job with each fault, `workers` at a time, in processes forked from this one."""
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        jobs = {pool.submit(_one, fault, job, folder): fault for fault in faults}
        for done in as_completed(jobs):
            yield jobs[done], done.result()


def _one(fault: Fault, job: Job, folder: Path) -> Outcome:
    try:
        return strike_with(fault, job, folder / f"place_{os.getpid()}")
    except Exception:  # noqa: BLE001 - a fault of the harness must not end the others; the run fails at the end
        return Outcome(Verdict.HARNESS, traceback.format_exc())


def table(outcomes: Sequence[tuple[Fault, Outcome]]) -> dict[str, dict[str, int]]:
    """Row -> how many were tried, and how many had each verdict."""
    rows: dict[str, Counter[str]] = {}
    for fault, outcome in outcomes:
        rows.setdefault(fault.row, Counter())[outcome.verdict.value] += 1
    return {row: {"tried": sum(counts.values()), **{verdict.value: counts[verdict.value] for verdict in Verdict}}
            for row, counts in sorted(rows.items())}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--faults", type=int, default=60, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="faults side by side (default: %(default)s)")
    parser.add_argument("--kind", help="only faults whose kind contains this")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append one line of JSON with the table")
    parser.add_argument("--outcomes", type=Path, metavar="FILE",
                        help="write every fault and what became of it, as JSON")
    options = parser.parse_args(arguments)
    faults = chosen(options.faults, options.seed)
    if options.kind:
        kinds = [kind for kind in KINDS if options.kind in kind]
        faults = [Fault(kinds[number % len(kinds)], options.seed * 1_000_000 + number)
                  for number in range(options.faults)]
    began = time.monotonic()
    warm_up()
    outcomes = []
    with scratch("faults-") as folder:
        for fault, outcome in strike_with_all(faults, undisturbed(folder), folder, options.workers):
            outcomes.append((fault, outcome))
            if len(outcomes) % 25 == 0:
                print(f"{len(outcomes)} of {len(faults)} faults, {time.monotonic() - began:.0f} s", file=sys.stderr,
                      flush=True)
            if not outcome.verdict.good:
                print(f"{outcome.verdict.value:<9} {fault.kind} (seed {fault.seed}): {outcome.detail}", flush=True)
    rows = table(outcomes)
    for row, counts in rows.items():
        print(f"{row:<42}", *(f"{name} {count}" for name, count in counts.items() if count))
    bad = [fault for fault, outcome in outcomes if not outcome.verdict.good]
    print(f"{len(outcomes)} faults, {len(bad)} bad, {time.monotonic() - began:.0f} s")
    if options.outcomes:
        options.outcomes.write_text(json.dumps([{"kind": fault.kind, "seed": fault.seed,
                                                 "verdict": outcome.verdict.value, "detail": outcome.detail}
                                                for fault, outcome in outcomes]))
    if options.record:
        record(options.record, ["tests.faults.run", *(sys.argv[1:] if arguments is None else arguments)],
               {"faults": len(outcomes), "seconds": round(time.monotonic() - began), "table": rows})
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
