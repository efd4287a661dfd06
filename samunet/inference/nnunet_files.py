"""Predictions as files, and the files that nnU-Net's tools (nnUNetv2_ensemble and others) need next to them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samunet.dataset.case_paths import is_there
from samunet.dataset.io.readers import reader_named
from samunet.dataset.label_colours import write_label_colours
from samunet.dataset.labels import LabelSpace
from samunet.dataset.nnunet_properties import reader_properties
from samunet.files import whole_file, write_json
from samunet.inference.export import Exported
from samunet.planning.plans import Plans
from samunet.preprocessing.case import CaseProperties

PICKLE_PROTOCOL = 4


def write_prediction(exported: Exported, folder: Path, properties: CaseProperties, label_ending: str) -> None:
    """Write one case's segmentation and, if `exported` has them, its probabilities.

    <case><ending>, or a folder of frames if the ending is "/", has the grid of the image files. Probabilities go to
    <case>.npz (`probabilities` float32 (K, Z, Y, X), axes of the file), with <case>.pkl (nnU-Net's properties, built-in
    types only) and <case>.properties.json (samunet's; <case>.json is the spacing file of 3D TIFFs). The segmentation
    is written last, so if it exists, all files do.

    Raises:
        UserError: the folder cannot be written.
    """
    name = properties.name
    if exported.probabilities is not None:
        with whole_file(folder / f"{name}.npz") as temporary:
            np.savez_compressed(temporary, probabilities=exported.probabilities)
        with whole_file(folder / f"{name}.pkl") as temporary, open(temporary, "wb") as stream:
            pickle.dump(nnunet_properties(properties), stream, protocol=PICKLE_PROTOCOL)
        write_json(folder / f"{name}.properties.json", properties.to_json())
    reader = reader_named(properties.geometry.reader)
    reader.write_segmentation(exported.segmentation, folder / f"{name}{label_ending}", properties.geometry)


def prediction_is_whole(folder: Path, name: str, label_ending: str, with_probabilities: bool) -> bool:
    """Whether all files of `write_prediction` for case `name` exist; existing files and folders are complete."""
    endings = (label_ending, ".npz", ".pkl", ".properties.json") if with_probabilities else (label_ending,)
    return all(is_there(folder / f"{name}{ending}", ending) for ending in endings)


def nnunet_properties(properties: CaseProperties) -> dict[str, Any]:
    """The case's properties under nnU-Net's keys: only lists, tuples, numbers and strings, so that loading runs no
    code.

    Shapes and the half-open box are (z, y, x) after the transpose; `spacing` has the file's axes.
    """
    return {
        **reader_properties(properties.geometry),
        "shape_before_cropping": tuple(properties.shape_before_cropping),
        "bbox_used_for_cropping": [list(bounds) for bounds in properties.bbox],
        "shape_after_cropping_and_before_resampling": tuple(properties.shape_after_cropping),
    }


def nnunet_plans(plans: Plans) -> dict[str, Any]:
    """The keys of nnU-Net's PlansManager that ensembling and postprocessing read; no configuration."""
    return {
        "dataset_name": plans.dataset_name,
        "plans_name": plans.plans_name,
        "original_median_spacing_after_transp": list(plans.dataset.spacing_mm),
        "original_median_shape_after_transp": list(plans.dataset.median_shape),
        # SimpleITKIO if a dataset names NibabelIO; the .pkl has the properties of either.
        "image_reader_writer": reader_named(plans.dataset.reader).name,
        "transpose_forward": list(plans.dataset.transpose_forward),
        "transpose_backward": list(plans.dataset.transpose_backward),
        "configurations": {},
        "experiment_planner_used": "samunet",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(channel): statistics for channel, statistics in enumerate(plans.dataset.foreground_intensity)
        },
    }


def write_companions(folder: Path, plans: Plans, dataset: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Write dataset.json, plans.json and predict_from_raw_data_args.json to the predictions' folder, as nnU-Net does,
    and names and colours of the labels for viewers (`samunet.dataset.label_colours`).

    Arguments:
        dataset: the content of dataset.json.
        arguments: the settings of the prediction, JSON types.
    """
    write_json(folder / "dataset.json", dict(dataset))
    write_json(folder / "plans.json", nnunet_plans(plans))
    write_json(folder / "predict_from_raw_data_args.json", dict(arguments))
    write_label_colours(folder, LabelSpace.from_dataset_json(dataset))
