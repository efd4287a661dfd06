"""nnU-Net's own ensembling, run on our probability folders and its own together."""

from __future__ import annotations

import json
import math
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.inference.export import Exported, export_case
from samunet.inference.nnunet_files import (
    nnunet_plans,
    nnunet_properties,
    prediction_is_whole,
    write_companions,
    write_prediction,
)
from samunet.planning.plans import DatasetPlan, Plans
from samunet.preprocessing.case import CaseProperties

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
DATASET = {"channel_names": {"0": "MRI"}, "labels": dict(LABELS.names), "numTraining": 2, "file_ending": ".nii.gz"}
FORWARD, BACKWARD = (1, 0, 2), (1, 0, 2)
PLAN = DatasetPlan("SimpleITKIO", FORWARD, BACKWARD, (3.5, 1.0, 1.2), (6, 9, 8), False, ("MRI",), ("zscore",), (False,),
                   ({},))
PLANS = Plans("samunetPlans", "Dataset900_Phantom", PLAN, {})
COSINE, SINE = math.cos(0.3), math.sin(0.3)
GEOMETRY = Geometry("SimpleITKIO", (12, 10, 11), (0.9, 4.0, 1.1), (-12.5, 3.25, 40.0),
                    (COSINE, -SINE, 0.0, SINE, COSINE, 0.0, 0.0, 0.0, 1.0))
NAMES = ("case_1", "case_2")


def properties_of(name: str) -> CaseProperties:
    return CaseProperties(name, GEOMETRY, (10, 12, 11), ((1, 9), (0, 11), (2, 11)), (8, 11, 9), (9, 10, 8),
                          ((0.0, 1.0),),
                          "", None, {})


def logits_of(seed: int) -> np.ndarray:
    noise = np.random.default_rng([seed]).normal(size=(3, 9, 10, 8)).astype(np.float32)
    return 10 * np.stack([gaussian_filter(channel, 1.0) for channel in noise])


def our_folder(folder):
    for number, name in enumerate(NAMES):
        exported = export_case([(0, logits_of(number))], properties_of(name), PLAN, LABELS, with_probabilities=True)
        write_prediction(exported, folder, properties_of(name), ".nii.gz")
    write_companions(folder, PLANS, DATASET, {})


def nnunets_folder(folder):
    """The same cases with other logits, written by nnU-Net's own export."""
    from nnunetv2.inference.export_prediction import export_prediction_from_logits
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder.mkdir()
    content = nnunet_plans(PLANS) | {"configurations": {"3d_fullres": {
        "architecture": {}, "spacing": list(PLAN.spacing_mm),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }}}
    manager = PlansManager(content)
    for number, name in enumerate(NAMES):
        export_prediction_from_logits(
            logits_of(10 + number), nnunet_properties(properties_of(name)), manager.get_configuration("3d_fullres"),
            manager,
            DATASET, str(folder / name), save_probabilities=True, num_threads_torch=1,
        )
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    (folder / "plans.json").write_text(json.dumps(content))


@pytest.mark.parametrize("ours_first", [True, False])
def test_nnunet_ensembles_our_folder_with_its_own(tmp_path, ours_first):
    pytest.importorskip("nnunetv2")
    our_folder(tmp_path / "ours")
    nnunets_folder(tmp_path / "theirs")
    folders = [str(tmp_path / "ours"), str(tmp_path / "theirs")][:: 1 if ours_first else -1]
    command = Path(sys.executable).with_name("nnUNetv2_ensemble")
    subprocess.run([command, "-i", *folders, "-o", tmp_path / "out", "-np", "1", "--save_npz"], check=True)
    for name in NAMES:
        ours, theirs = (np.load(tmp_path / each / f"{name}.npz")["probabilities"] for each in ("ours", "theirs"))
        assert ours.shape == theirs.shape == (3, *GEOMETRY.shape) and ours.dtype == theirs.dtype == np.float32
        image = sitk.ReadImage(str(tmp_path / "out" / f"{name}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ((ours + theirs) / 2).argmax(0))
        assert image.GetSpacing() == pytest.approx(GEOMETRY.spacing_mm[::-1])
        assert image.GetOrigin() == pytest.approx(GEOMETRY.origin)
        assert image.GetDirection() == pytest.approx(GEOMETRY.direction, abs=1e-6)


def test_the_pickle_calls_nothing(tmp_path):
    our_folder(tmp_path)
    data = (tmp_path / "case_1.pkl").read_bytes()
    called = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
    assert not called & {opcode.name for opcode, _, _ in pickletools.genops(data)}
    content = pickle.loads(data)
    assert content["spacing"] == [0.9, 4.0, 1.1]
    assert content["sitk_stuff"]["spacing"] == (1.1, 4.0, 0.9)
    assert content["bbox_used_for_cropping"] == [[1, 9], [0, 11], [2, 11]]


def test_a_prediction_is_whole_when_all_its_files_are(tmp_path):
    segmentation = np.zeros(GEOMETRY.shape, np.uint8)
    write_prediction(Exported(segmentation, None), tmp_path, properties_of("case_1"), ".nii.gz")
    assert prediction_is_whole(tmp_path, "case_1", ".nii.gz", False)
    assert not prediction_is_whole(tmp_path, "case_1", ".nii.gz", True)
    assert [path.name for path in tmp_path.iterdir()] == ["case_1.nii.gz"]
    exported = Exported(segmentation, np.zeros((3, *GEOMETRY.shape), np.float32))
    write_prediction(exported, tmp_path, properties_of("case_1"), ".nii.gz")
    assert prediction_is_whole(tmp_path, "case_1", ".nii.gz", True)
    assert CaseProperties.from_json(json.loads((tmp_path
                                                / "case_1.properties.json").read_text())) == properties_of("case_1")


def test_probabilities_do_not_displace_a_tiffs_spacing(tmp_path):
    geometry = Geometry("Tiff3DIO", (2, 3, 4), (2.0, 1.0, 1.0))
    properties = CaseProperties("case", geometry, (2, 3, 4), ((0, 2), (0, 3), (0, 4)), (2, 3, 4), (2, 3, 4), (), "",
                                None, {})
    exported = Exported(np.ones((2, 3, 4), np.uint8), np.ones((3, 2, 3, 4), np.float32))
    write_prediction(exported, tmp_path, properties, ".tif")
    assert json.loads((tmp_path / "case.json").read_text()) == {"spacing": [2.0, 1.0, 1.0]}
