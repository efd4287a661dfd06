"""`Predictor` gives arrays the same bytes that `samunet_predict` writes, whatever the image comes from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from small_phantom import shorten, small_phantom

import samunet
from samunet.cli import predict
from samunet.dataset.io.readers import reader_named
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.training.finished_run import FinishedRun

IMAGE, NAME = "phantom_005_0000.nii.gz", "phantom_005"


class Trained:
    """A dataset with a model: of a variant that looks at the image, or of `label_prior`, which takes no encoder."""

    def __init__(self, folder: Path, variant: str = "linear_head", **dataset_json: str) -> None:
        self.raw = small_phantom(folder / "raw", cases=5, test_cases=1)
        write_json(self.raw / "dataset.json", {**read_json(self.raw / "dataset.json"), **dataset_json})
        self.places = {name: folder / name for name in ("raw", "preprocessed", "results")}
        two = {name: self.places[name] for name in ("raw", "preprocessed")}
        samunet.plan(900, encoder="pixels", workers=1, **two)
        samunet.preprocess(900, encoder="pixels", embeddings=variant != "label_prior", workers=1, **two)
        shorten(self.places["preprocessed"] / "Dataset900_Phantom" / "samunetPlans.json", view_pictures=80)
        self.run: FinishedRun = samunet.train(900, variant, 0, encoder="pixels", iterations=30, device="cpu",
                                              workers=1, **self.places)
        self.predictor = samunet.Predictor(dataset=900, device="cpu", results=self.places["results"])

    def commands(self, output: Path, *flags: str) -> Path:
        """The command's segmentation of the test image."""
        assert predict.main(["-i", str(self.raw / "imagesTs"), "-o", str(output), "-device", "cpu", "--results",
                             str(self.places["results"]), *flags]) == 0
        return output / f"{NAME}.nii.gz"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    yield Trained(tmp_path_factory.mktemp("plain"))


def in_file(path: Path) -> np.ndarray:
    """A file's array (Z, Y, X) as it is stored."""
    return np.asarray(nibabel.load(path).dataobj).transpose()


def test_a_file_an_array_and_a_folder_give_the_commands_labels_and_probabilities(
    trained: Trained, tmp_path: Path
) -> None:
    image = trained.raw / "imagesTs" / IMAGE
    expected = in_file(trained.commands(tmp_path / "out", "--save_probabilities"))
    assert len(np.unique(expected)) > 1  # not background alone
    probabilities = np.load(tmp_path / "out" / f"{NAME}.npz")["probabilities"]
    voxels, geometry = reader_named("SimpleITKIO").read_images([image])

    for labels, chances in (trained.predictor.predict(image, probabilities=True),
                            trained.predictor.predict([str(image)], probabilities=True),
                            trained.predictor.predict(voxels, geometry.spacing_mm, probabilities=True),
                            trained.predictor.predict(in_file(image), geometry.spacing_mm, probabilities=True)):
        assert labels.dtype == expected.dtype and np.array_equal(labels, expected)
        assert np.array_equal(chances, probabilities)
    assert np.array_equal(trained.predictor.predict(image), expected)

    assert trained.predictor.predict_folder(image.parent, tmp_path / "again") == 1
    assert (tmp_path / "again" / f"{NAME}.nii.gz").read_bytes() == (tmp_path / "out" / f"{NAME}.nii.gz").read_bytes()


def test_cases_that_other_processes_prepare_have_the_same_bytes_and_a_bad_one_does_not_stop_them(
    trained: Trained, tmp_path: Path
) -> None:
    images = shutil.copytree(trained.raw / "imagesTr", tmp_path / "images")
    alone, ahead = tmp_path / "alone", tmp_path / "ahead"
    assert trained.predictor.predict_folder(images, alone) == 5
    (images / "phantom_001_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError, match="phantom_001_0000.nii.gz"):
        trained.predictor.predict_folder(images, ahead, preparing_workers=2)
    names = [f"phantom_{number:03d}.nii.gz" for number in (0, 2, 3, 4)]
    assert sorted(path.name for path in ahead.glob("*.nii.gz")) == names
    assert all((ahead / name).read_bytes() == (alone / name).read_bytes() for name in names)
    with pytest.raises(UserError, match="-npp must be 1 or more"):
        trained.predictor.predict_folder(images, ahead, preparing_workers=0)


def test_a_file_that_its_reader_reorients_comes_back_with_its_own_axes(tmp_path: Path) -> None:
    oriented = Trained(tmp_path / "oriented", "label_prior", overwrite_image_reader_writer="SimpleITKIOWithReorient")
    image = oriented.raw / "imagesTs" / IMAGE
    flipped = nibabel.load(image)  # the first axis reversed, so that the reader has to turn it
    flipped = flipped.slicer[::-1]
    nibabel.save(flipped, image)
    expected = in_file(oriented.commands(tmp_path / "out", "--save_probabilities"))
    labels, chances = oriented.predictor.predict(image, probabilities=True)
    assert np.array_equal(labels, expected) and np.array_equal(chances.argmax(0), expected)
    with pytest.raises(UserError, match="(?s)array can be predicted.*SimpleITKIOWithReorient.*Give the file"):
        oriented.predictor.predict(in_file(image), (1.0, 1.0, 1.0))


def test_what_cannot_be_predicted_is_refused(trained: Trained) -> None:
    predictor, array = trained.predictor, np.zeros((8, 48, 44))
    assert predictor.labels == {"background": 0, "shell": 1, "core": 2, "tube": 3}
    with pytest.raises(UserError, match="needs its spacing in mm, 3 numbers"):
        predictor.predict(array)
    with pytest.raises(UserError, match="Files state their own spacing"):
        predictor.predict(trained.raw / "imagesTs" / IMAGE, (1, 1, 1))
    with pytest.raises(UserError, match="(?s)channel"):
        predictor.predict(np.zeros((2, 8, 48, 44)), (1, 1, 1))
    with pytest.raises(UserError, match="no_such_variant"):
        samunet.Predictor(variant="no_such_variant")
    with pytest.raises(UserError, match="-step_size must be above 0"):
        samunet.Predictor(step=0.0)
