"""postprocessing.json: which largest components are kept. nnU-Net's file of this name is read as well, no pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import read_json
from samunet.schema import decode

NAME = "postprocessing.json"
FUNCTION = "remove_all_but_largest_component_from_segmentation"  # nnU-Net's
RULE = "postprocessing.json must be from samunet_determine_postprocessing or nnU-Net."
MEND = "Run samunet_determine_postprocessing again."

Step = tuple[int, ...]
"""The label values of which together the largest component is kept."""


@dataclass(frozen=True)
class _Arguments:
    labels_or_regions: int | list[int | list[int]]
    background_label: int = 0


@dataclass(frozen=True)
class _File:
    postprocessing_fns: list[str]
    postprocessing_kwargs: list[_Arguments]


def read_postprocessing(path: Path, labels: LabelSpace) -> list[Step]:
    """The steps of a postprocessing.json, in order; none where nothing improved the score.

    Raises:
        UserError: a pickle, no such file, other functions than keeping the largest component, or values that are not in
            `labels`.
    """
    if path.suffix == ".pkl":
        raise UserError("Post-processing is read from JSON; a pickle can run any code, so none is opened.", where=path,
                        mend=f"Name {path.with_suffix('.json')}, which nnU-Net writes beside it.")
    content = decode(_File, read_json(path), rule=RULE, where=path, mend=MEND, finite=False)
    if strange := sorted({name for name in content.postprocessing_fns if name != FUNCTION}):
        raise UserError(RULE, where=path, found=f"the function {', '.join(strange)}", mend=MEND)
    if len(content.postprocessing_fns) != len(content.postprocessing_kwargs):
        raise UserError(RULE, where=path, found="other numbers of functions and of their arguments", mend=MEND)
    if any(each.background_label != 0 for each in content.postprocessing_kwargs):
        raise UserError(RULE, where=path, found="another background label than 0", mend=MEND)
    steps = [_values(each.labels_or_regions) for each in content.postprocessing_kwargs]
    if unknown := sorted({value for step in steps for value in step} - set(labels.values)):
        raise UserError("The labels of postprocessing.json must be in dataset.json.", where=path,
                        found=", ".join(map(str, unknown)), mend="Name the postprocessing.json of this dataset.")
    return steps


def postprocessing_content(steps: Sequence[Step]) -> dict[str, Any]:
    """The keys that `read_postprocessing` reads, as nnU-Net writes them."""
    return {"postprocessing_fns": [FUNCTION] * len(steps),
            "postprocessing_kwargs": [{"labels_or_regions": list(step)} for step in steps]}


def _values(given: int | list[int | list[int]]) -> Step:
    if isinstance(given, int):
        return (given,)
    return tuple(value for each in given for value in (each if isinstance(each, list) else [each]))
