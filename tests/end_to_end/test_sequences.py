"""Sequences of colour frames: planned, trained, predicted under their frames' names, evaluated and plotted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage import io

SHAPE = (5, 24, 32)  # frames, rows, columns
FRAMES = tuple(f"frame_{number}" for number in (8, 9, 10, 11, 100))
CASES = ("a", "b", "c")


def labels() -> np.ndarray:
    """A box, from the second frame to the fourth, the same in all cases."""
    segmentation = np.zeros(SHAPE, np.uint8)
    segmentation[1:4, 6:18, 8:24] = 1
    return segmentation


def pictures(seed: int) -> np.ndarray:
    """uint8 (T, Y, X, 3): a red box on grey noise."""
    frames = np.random.default_rng([seed]).integers(60, 100, (*SHAPE, 3)).astype(np.uint8)
    frames[labels() == 1] = (220, 40, 40)
    return frames


def write_frames(folder: Path, frames: np.ndarray, names: tuple[str, ...] = FRAMES) -> None:
    folder.mkdir(parents=True)
    for name, frame in zip(names, frames, strict=True):
        io.imsave(folder / f"{name}.png", frame, check_contrast=False)


def write_case(dataset: Path, name: str, seed: int, ending: str) -> None:
    image, label = dataset / "imagesTr" / f"{name}_0000", dataset / "labelsTr" / name
    for folder in (image.parent, label.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if ending == ".tif":
        tifffile.imwrite(image.with_suffix(ending), pictures(seed), photometric="rgb")
        tifffile.imwrite(label.with_suffix(ending), labels(), photometric="minisblack")
        return
    write_frames(label, labels())
    if ending == "/":
        write_frames(image, pictures(seed))
        return
    av = pytest.importorskip("av", reason="videos need the extra `video`, which is not installed")
    with av.open(str(image.with_suffix(ending)), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SHAPE[1:], "yuv420p"
        for frame in pictures(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def make_dataset(workplace, ending: str) -> Path:
    dataset = workplace.root / "raw" / "Dataset006_Sequences"
    for seed, name in enumerate(CASES):
        write_case(dataset, name, seed, ending)
    content = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "tool": 1},
               "numTraining": len(CASES), "file_ending": ending}
    if ending == ".tif":
        content["overwrite_image_reader_writer"] = "TiffSequenceIO"
    (dataset / "dataset.json").write_text(json.dumps(content))
    return dataset


def done(workplace, command: str, *arguments: str | Path) -> str:
    finished = workplace.here(command, *arguments)
    assert finished.code == 0, finished.err
    return finished.err


def read(folder: Path, name: str, ending: str) -> np.ndarray:
    """A prediction (T, Y, X), from the files by hand."""
    if ending == ".tif":
        return tifffile.imread(folder / f"{name}.tif")
    names = FRAMES if ending == "/" else tuple(f"{number:06d}" for number in range(SHAPE[0]))
    assert {path.name for path in (folder / name).iterdir()} == {f"{frame}.png" for frame in names}
    return np.stack([io.imread(folder / name / f"{frame}.png") for frame in names])


@pytest.mark.parametrize("ending", ["/", ".tif", ".mp4", ".avi"])
def test_the_whole_way_with_a_prior_that_knows_the_answer(workplace, ending):
    dataset, out = make_dataset(workplace, ending), workplace.root / "out"
    done(workplace, "plan_and_preprocess", "-d", "6", "--no_embeddings", "--verify_dataset_integrity", "-np", "1")
    plans = json.loads((workplace.root / "preprocessed" / dataset.name / "samunetPlans.json").read_text())
    assert plans["dataset"]["median_shape"] == list(SHAPE) and plans["dataset"]["transpose_forward"] == [0, 1, 2]
    assert plans["dataset"]["spacing_mm"] == [4, 1, 1] and plans["dataset"]["anisotropic"] is True
    (section,) = plans["encoders"].values()
    assert section["embeddings"]["composition"] == "rgb" and section["adapters"]["slices"] == 5

    done(workplace, "train", "6", "label_prior", "0", "-np", "1")
    validation = next((workplace.root / "results").glob("*/label_prior__*/fold_0/validation"))
    assert json.loads((validation / "summary.json").read_text())["foreground_mean"]["Dice"] == 1.0

    predict = ("predict", "-i", dataset / "imagesTr", "-o", out, "-device", "cpu", "--save_probabilities")
    done(workplace, *predict)
    for name in CASES:
        np.testing.assert_array_equal(read(out, name, ending), labels())
        assert np.load(out / f"{name}.npz")["probabilities"].shape == (2, *SHAPE)
    assert "3 of 3 cases were predicted already" in done(workplace, *predict, "--continue_prediction")
    done(workplace, *predict)  # writes over what is there

    done(workplace, "evaluate_folder", dataset / "labelsTr", out, "-djfile", dataset / "dataset.json", "-np", "1")
    summary = json.loads((out / "summary.json").read_text())
    assert [case["metrics"]["1"]["TP"] for case in summary["metric_per_case"]] == [3 * 12 * 16] * 3
    done(workplace, "plot_overlay_pngs", "-i", dataset / "imagesTr", "-s", out, "-o", workplace.root / "sheets", "-np",
         "1")
    assert len(list((workplace.root / "sheets").glob("*.png"))) == 3


def test_preprocessing_again_keeps_what_is_unchanged_and_sees_a_changed_frame(workplace):
    dataset = make_dataset(workplace, "/")
    arguments = ("plan_and_preprocess", "-d", "6", "--no_embeddings", "-np", "1")
    done(workplace, *arguments)
    told = done(workplace, *arguments)
    assert "the data have not changed" in told and "3 of 3 cases were preprocessed already" in told
    path = dataset / "labelsTr" / "b" / f"{FRAMES[0]}.png"
    io.imsave(path, labels()[1], check_contrast=False)
    (dataset / "labelsTr" / "c").rename(dataset / "c")
    content = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps({**content, "unlabelled": ["c"]}))
    (workplace.root / "preprocessed" / dataset.name / "splits_final.json").unlink()  # it names c
    assert "1 of 3 cases were preprocessed already" in done(workplace, *arguments)
    copies = workplace.root / "preprocessed" / dataset.name / "gt_segmentations"
    assert sorted(path.name for path in copies.iterdir()) == ["a", "b"]
    np.testing.assert_array_equal(io.imread(copies / "b" / path.name), labels()[1])


@pytest.mark.slow
def test_a_head_on_embeddings_of_colour_frames(workplace):
    dataset, out = make_dataset(workplace, "/"), workplace.root / "out"
    done(workplace, "plan_and_preprocess", "-d", "6", "--encoder", "untrained", "-np", "1")
    path = workplace.root / "preprocessed" / dataset.name / "samunetPlans.json"
    plans = json.loads(path.read_text())
    plans["encoders"]["untrained"]["embeddings"]["view_pictures"] = 0  # the test needs no augmented views
    path.write_text(json.dumps(plans))
    done(workplace, "train", "6", "probe", "0", "--encoder", "untrained", "--iterations", "20", "-np", "1", "-device",
         "cpu")
    done(workplace, "predict", "-i", dataset / "imagesTr", "-o", out, "-device", "cpu")
    predicted = read(out, "a", "/")
    assert 2 * (predicted & labels()).sum() / (predicted.sum() + labels().sum()) > 0.5
