"""The support file: which slices of which labelled cases prompt a few-shot model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined, some
from samunet.files import read_json
from samunet.preprocessing.arrays import Arrays, labels_of
from samunet.schema import decode
from samunet.training.cases import foreground_slices

Slices = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
SHAPE = '{"<case>": [<slice>, ...], ...}'


def read_support(path: Path, arrays: Arrays, cases: Collection[str], labels: LabelSpace) -> dict[str, tuple[int, ...]]:
    """Case -> its prompting slices, ascending, numbered from 0 on the plan's grid as in run.json's `labelled_slices`.

    Arguments:
        arrays: of the cases, with the labels that may be used.
        cases: that may be named.

    Raises:
        UserError: all faults together: no JSON of that shape, other cases, slices without a label above 0 that may be
            used.
    """
    rule, mend = (
        "A support file must name a case, and for each a slice, each once.",
        f"Write {SHAPE}, slices as whole numbers from 0.",
    )
    content = decode(dict[str, Slices], read_json(path), rule=rule, where=path, mend=mend)
    twice = sorted(name for name, slices in content.items() if len(set(slices)) < len(slices))
    if twice or not content:
        raise UserError(rule, where=path, found=f"a slice twice: {some(twice)}" if twice else "no case", mend=mend)
    problems = []
    if strangers := sorted(set(content) - set(cases)):
        problems.append(UserError("A support file must name labelled cases that the model may learn from.", where=path,
                                  found=some(strangers), mend=f"Choose of: {', '.join(sorted(cases))}."))
    for name in sorted(set(content) & set(cases)):
        shown = foreground_slices(labels_of(arrays, name), labels)
        if empty := sorted(set(content[name]) - set(shown)):
            problems.append(
                UserError(
                    "A support slice must show a class whose label may be used.",
                    where=f"{path}, {name}",
                    found=some([str(each) for each in empty]),
                    mend=f"Choose of its slices {', '.join(map(str, shown)) or '(it has none)'}.",
                )
            )
    if problems:
        raise joined(problems)
    return {name: tuple(sorted(content[name])) for name in sorted(content)}
