"""Evaluate folders of segmentations that have no dataset.json: labels are given, file ending and reader are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samunet.dataset.io.readers import ending_of, reader_of_file
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, some
from samunet.evaluation.evaluate import evaluate_folder


def evaluate_simple(
    reference: Path, prediction: Path, labels: Sequence[int], ignore: int | None, output: Path, workers: int, *,
    chill: bool = False,
) -> dict[str, Any]:
    """As `evaluate_folder`, for the given labels; voxels of all others belong to no class.

    Arguments:
        labels: above 0.
        ignore: the label whose voxels in the reference are not evaluated.
        chill: evaluate the cases that have a prediction, and report the others.

    Raises:
        UserError: no references, several file endings among them, the ignore label is one of `labels`, and what
            `evaluate_folder` raises.
    """
    if ignore in labels:
        raise UserError("The ignore label must not be evaluated.", where="-il", found=str(ignore),
                        mend="Leave it out of -l.")
    if not reference.is_dir():
        raise UserError("A folder to evaluate must exist.", where=reference)
    files = [path for path in sorted(reference.iterdir()) if not path.name.startswith(".") and ending_of(path)]
    endings = sorted({ending_of(path) for path in files})
    if len(endings) != 1:
        raise UserError("The reference folder must hold segmentations of one file ending.", where=reference,
                        found=some(endings) or "no image file", mend="Name the folder with the labels.")
    names = {"background": 0, **{str(label): label for label in labels}}
    space = LabelSpace(names if ignore is None else {**names, "ignore": ignore})
    return evaluate_folder(reference, prediction, space, endings[0], reader_of_file(files[0]), output, workers,
                           other_values=True, chill=chill)
