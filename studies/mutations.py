"""Faults put into the code, one at a time, and whether the tests notice.

Each of `mutation_list.MUTATIONS` is written into a temporary copy of the tree, and the tests named there run on it. A
fault is killed where a test fails, and survives where all pass. Prints the table of documentation/mutations.md; exit
code 1 if any survives or no longer applies.

    python studies/mutations.py                      all, one after the other: minutes
    python studies/mutations.py --only registration  those whose file's path holds a word
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mutation_list import MUTATIONS, Mutation
from record import append, facts

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "studies" / "results" / "mutations.jsonl"
PASSED, FAILED = 0, 1  # pytest's exit codes
_FAILURE = re.compile(r"^(?:FAILED|ERROR) \S*::(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """`state` is killed, survived, stale (the text is not in its file just once) or broken (the tests fail on
    the sound code, or cannot run).

    `by` is the first test that failed.
    """

    mutation: Mutation
    state: str
    by: str = ""


def copy_of_tree(source: Path, target: Path) -> None:
    """Copy the files that git knows, and those that it does not ignore."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=source,
                           capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code and the name of the first failed test, with the package of `tree`, not the installed one."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests], check=False,
                          cwd=tree, env=environment, capture_output=True, text=True)
    failure = _FAILURE.search(done.stdout)
    return done.returncode, failure[1] if failure else ""


def tried(mutation: Mutation, tree: Path) -> Outcome:
    """The outcome of one mutation, which `tree` no longer holds afterwards."""
    path = tree / mutation.file
    sound = path.read_text(encoding="utf-8") if path.is_file() else ""
    if sound.count(mutation.old) != 1:
        return Outcome(mutation, "stale")
    path.write_text(sound.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        code, by = run_tests(tree, mutation.tests)
    finally:
        path.write_text(sound, encoding="utf-8")
    return Outcome(mutation, {PASSED: "survived", FAILED: "killed"}.get(code, "broken"), by)


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    rows = ["| file | fault | when first tried | now | by |", "|---|---|---|---|---|"]
    rows += [f"| `{each.mutation.file.removeprefix('samunet/')}` | {each.mutation.note} | "
             f"{'survived' if each.mutation.survived_first else 'killed'} | {each.state} | "
             f"{f'`{each.by}`' if each.by else ''} |"
             for each in outcomes]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="mutations of files whose path holds WORD")
    parser.add_argument("--record", type=Path, default=RECORD, help="file to append the run to (default: %(default)s)")
    options = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.file]
    with TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_of_tree(ROOT, tree)
        passing = cache(lambda tests: run_tests(tree, tests)[0] == PASSED)
        outcomes = []
        for mutation in chosen:
            outcomes.append(tried(mutation, tree) if passing(mutation.tests) else Outcome(mutation, "broken"))
            print(f"{outcomes[-1].state}: {mutation.file}: {mutation.note}", file=sys.stderr, flush=True)
    print(table(outcomes))
    append(options.record, facts() | {"outcomes": [
        {"file": each.mutation.file, "note": each.mutation.note, "state": each.state, "by": each.by}
        for each in outcomes]})
    sys.exit(any(each.state != "killed" for each in outcomes))


if __name__ == "__main__":
    main()
