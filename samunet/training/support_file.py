"""The support file: which slices of which labelled cases ask a few-shot model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined, some
from samunet.files import read_json
from samunet.preprocessing.arrays import Arrays
from samunet.training.cases import foreground_slices, labels_of

SHAPE = '{"<case>": [<slice>, ...], ...}'


def read_support(path: Path, arrays: Arrays, cases: Collection[str], labels: LabelSpace) -> dict[str, tuple[int, ...]]:
    """Case -> its slices that ask, ascending, numbered from 0 on the plan's grid as in run.json's `labelled_slices`.

    Arguments:
        arrays: of the cases, with the labels that may be used.
        cases: that may be named.

    Raises:
        UserError: all faults together: no JSON of that shape, other cases, slices without a label above 0 that may be used.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content or not all(map(_are_slices, content.values())):
        raise UserError("A support file must name a case, and for each a slice, each once.", where=path,
                        mend=f"Write {SHAPE}, slices as whole numbers from 0.")
    problems = []
    if strangers := sorted(set(content) - set(cases)):
        problems.append(UserError("A support file must name labelled cases that the model may learn from.", where=path,
                                  found=some(strangers), mend=f"Choose of: {', '.join(sorted(cases))}."))
    for name in sorted(set(content) & set(cases)):
        shown = foreground_slices(labels_of(arrays, name), labels)
        if empty := sorted(set(content[name]) - set(shown)):
            problems.append(UserError("A support slice must show a class whose label may be used.", where=f"{path}, {name}",
                                      found=some([str(each) for each in empty]),
                                      mend=f"Choose of its slices {', '.join(map(str, shown)) or '(it has none)'}."))
    if problems:
        raise joined(problems)
    return {name: tuple(sorted(content[name])) for name in sorted(content)}


def _are_slices(found: Any) -> bool:
    return (isinstance(found, list) and bool(found) and all(type(each) is int and each >= 0 for each in found)
            and len(set(found)) == len(found))
