"""Which cases belong to one patient: from a CSV file, an id pattern, or what an earlier command was told."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.console import say, say_once
from samunet.errors import UserError, some
from samunet.files import read_json, write_json
from samunet.schema import decode

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawDataset

GROUPS_CSV = "groups.csv"
GROUPS_JSON = "groups.json"
DELIMITERS = ",;\t"

# Endings by which files of one patient differ. Bare consecutive numbers are no sign of a pair.
_VARYING_END = re.compile(
    r"[-_. ](?:ed|es|left|right|l|r|pre|post|baseline|followup|follow-up|fu)$"
    r"|[-_. ](?:frame|phase|visit|scan|session|ses|time|timepoint|tp|t|run|week|month|day|year|fu)[-_ ]?\d+$",
    re.IGNORECASE,
)


def find_groups(
    dataset: RawDataset, option: str | None, folder_preprocessed: Path | None = None
) -> dict[str, str] | None:
    """Case -> patient for the cases of `dataset`, or None where nothing is known.

    Looked for in this order: `option`; `groups.csv` beside dataset.json; `groups.json` in `folder_preprocessed`, kept
    from an earlier --groups. The first two give every case's patient; what was kept is given as it is, which is of the
    cases that were labelled then. A warning is told where nothing is known but ids look like files of one patient.

    Arguments:
        option: what --groups gives: the path of a CSV file with the columns case and patient, or a regular expression
            that is searched in each case id and whose first group is the patient.

    Raises:
        UserError: a file or pattern that cannot be read, or that leaves a case without a patient.
    """
    names = [case.name for case in dataset.cases]
    beside = dataset.folder / GROUPS_CSV
    if option is not None:
        is_file = option.lower().endswith(".csv") or Path(option).is_file()
        return read_groups(Path(option), names) if is_file else groups_from_pattern(option, names)
    if beside.is_file():
        return read_groups(beside, names)
    if folder_preprocessed is not None and (kept := kept_groups(folder_preprocessed)) is not None:
        return kept
    pairs = looking_paired(names)
    if pairs:
        say(
            f"warning: {' and '.join(pairs[0][:3])} look like files of one patient ({len(pairs)} such groups), but no "
            f"groups are known: one patient may be in training and in validation. Write {beside} (case,patient) or "
            f"give --groups."
        )
    return None


def read_groups(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Case -> patient for `names`, from a CSV file with the columns `case` and `patient`.

    Its delimiter is a comma, a semicolon or a tab, as in the first line. Other columns are ignored, as are rows of
    other cases, which are named.

    Raises:
        UserError: no such file, not UTF-8, columns missing, rows with more columns than the first line, cases under two
            patients, a case of `names` missing.
    """
    columns, rows = _rows(path)
    if columns.count("case") != 1 or columns.count("patient") != 1:
        raise UserError(
            "The groups file must have the columns case and patient.",
            where=path,
            found=", ".join(columns) or "nothing",
            mend="Make its first line: case,patient",
        )
    patients: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        case, patient = (row[columns.index(column)].strip() for column in ("case", "patient"))
        if patient:
            patients[case].add(patient)
    if torn := [f"{case}: {' and '.join(sorted(found))}" for case, found in sorted(patients.items()) if len(found) > 1]:
        raise UserError("A case must belong to one patient.", where=path, found=some(torn),
                        mend="Remove the rows that are wrong.")
    names = list(names)
    if strangers := sorted(set(patients) - set(names)):
        say_once(f"warning: rows of {path} name no case of the dataset: {some(strangers)}")
    return covering({case: next(iter(found)) for case, found in patients.items()}, names, str(path),
                    "Add a line for each of these cases.")


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The columns' names in lower case and the rows of a CSV file; empty lines are skipped."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            delimiter = max(DELIMITERS, key=first.count)
            lines = [line for line in csv.reader(stream, delimiter=delimiter, strict=True) if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise UserError(
            "The groups file must be a readable CSV file in UTF-8.", where=path, found=str(fault),
            mend="Save it as CSV (UTF-8), with the columns case and patient.",
        ) from fault
    columns, rows = [column.strip().lower() for column in lines[0]] if lines else [], lines[1:]
    if longer := [delimiter.join(row) for row in rows if len(row) > len(columns)]:
        raise UserError(
            "No row of a CSV file may have more columns than its first line.",
            where=path,
            found=some(longer),
            mend="Put values that hold the delimiter in double quotes.",
        )
    return columns, [row + [""] * (len(columns) - len(row)) for row in rows]


def groups_from_pattern(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """Case -> patient: the first group of the regular expression `pattern`, searched in each of `names`.

    Raises:
        UserError: no valid expression with a group, or a case in which it finds nothing.
    """
    try:
        expression = re.compile(pattern)
    except re.error as fault:
        raise UserError(
            "--groups must be a CSV file or a valid regular expression.",
            where="--groups",
            found=f"{pattern!r}: {fault}",
        ) from fault
    if expression.groups < 1:
        raise UserError(
            "A --groups pattern must have a group in brackets that finds the patient.",
            where="--groups",
            found=repr(pattern),
            mend=r"Write for example '(patient\d+)_frame'.",
        )
    names = list(names)
    found = {name: match.group(1) for name in names if (match := expression.search(name)) and match.group(1)}
    return covering(
        found, names, f"--groups {pattern!r}", "Widen the pattern until it finds a patient in every case id."
    )


def kept_groups(folder_preprocessed: Path) -> dict[str, str] | None:
    """What `keep_groups` wrote, or None.

    Raises:
        UserError: the file does not name a patient for each case.
    """
    path = folder_preprocessed / GROUPS_JSON
    if not path.is_file():
        return None
    return decode(
        dict[str, str],
        read_json(path),
        rule='The patients of cases must be stored as {"<case>": "<patient>", ...}.',
        where=path,
        mend="Remove the file, and give --groups again to samunet_plan_experiment.",
    )


def known_groups(dataset: RawDataset, folder_preprocessed: Path) -> dict[str, str] | None:
    """What planning was told, else what a `groups.csv` says that was put beside dataset.json later; None where nothing
    is known.

    Raises:
        UserError: see `read_groups`.
    """
    kept, beside = kept_groups(folder_preprocessed), dataset.folder / GROUPS_CSV
    if kept is None and beside.is_file():
        return read_groups(beside, [case.name for case in dataset.cases])
    return kept


def keep_groups(folder_preprocessed: Path, groups: Mapping[str, str]) -> None:
    """Write `groups.json`, by which training knows the patients that planning was told of."""
    content = dict(sorted(groups.items()))
    if kept_groups(folder_preprocessed) != content:
        write_json(folder_preprocessed / GROUPS_JSON, content)


def looking_paired(names: Iterable[str]) -> list[list[str]]:
    """Sets of ids that differ only in an ending such as _ED and _ES, _frame01 and _frame12, _pre and _post."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        ending = _VARYING_END.search(name)
        if ending and ending.start() > 0:
            by_stem[name[: ending.start()]].append(name)
    return [members for members in by_stem.values() if len(members) > 1]


def covering(groups: Mapping[str, str], names: Iterable[str], where: str, mend: str) -> dict[str, str]:
    """`groups` for `names` alone.

    Raises:
        UserError: a name without a patient.
    """
    names = list(names)
    missing = [name for name in names if name not in groups]
    if missing:
        raise UserError(
            "Every case must have a patient, or none.",
            where=where,
            found=f"{len(missing)} of {len(names)} cases without one: {some(missing)}",
            mend=mend,
        )
    return {name: groups[name] for name in names}
