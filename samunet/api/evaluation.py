"""Compare a folder of predicted segmentations with references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samunet.api.defaults import processes
from samunet.dataset.case_paths import label_ending
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.segmentations import reader_of_listing
from samunet.evaluation.evaluate import evaluate_folder
from samunet.evaluation.report import metrics_path

__all__ = ["evaluate", "metrics_path"]


def evaluate(
    reference: str | Path, prediction: str | Path, dataset_json: str | Path, *, output: str | Path | None = None,
    chill: bool = False, workers: int | None = None,
) -> dict[str, Any]:
    """Score every case and class of a folder. As `samunet_evaluate_folder`.

    Writes nnU-Net's summary.json and, beside it, metrics.json with HD95, ASSD and NSD in mm and volumes in ml.

    Arguments:
        reference: folder of the reference segmentations.
        prediction: folder of the predicted ones, with the same file names.
        dataset_json: the dataset's dataset.json, which says the labels and the file ending.
        output: the summary's file, ending in .json; None: summary.json in `prediction`.
        chill: skip references that have no prediction, and name them; False refuses them.
        workers: number of processes; None: one for each processor, at most 8.

    Returns:
        The content of summary.json: `foreground_mean`, `mean` by class (str of the label value) and `metric_per_case`,
        sorted by file name. Dice and IoU are between 0 and 1, NaN where a class is in neither segmentation.

    Raises:
        UserError: a folder or files are missing or cannot be read, values that dataset.json does not list, a prediction
            on another grid than its reference.

    Example:
        >>> import samunet
        >>> raw = "raw/Dataset900_Phantom"
        >>> summary = samunet.evaluate(f"{raw}/labelsTr", f"{raw}/labelsTr", f"{raw}/dataset.json", output="equal.json")
        >>> summary["foreground_mean"]["Dice"]
        1.0
    """
    reference, prediction, dataset_json = Path(reference), Path(prediction), Path(dataset_json)
    content, labels = read_dataset_json(dataset_json)
    ending = label_ending(content["file_ending"])
    reader = reader_of_listing(content, list_folder(reference, ending), dataset_json)
    return evaluate_folder(reference, prediction, labels, ending, reader, None if output is None else Path(output),
                           processes(workers), chill=chill)
