"""Bundles of a model whose every number is known."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from bundles import contents_of, made_model, prior_model

from samunet.cli.export_model_to_zip import main
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.bundle.archive import read_bundle
from samunet.inference.model_folder import load_model
from samunet.quality.calibration_file import Calibration, checkpoint_digest, usable_calibration, write_calibration
from samunet.quality.regression import DiceRegression
from samunet.sharing.crossval_table import crossval_table
from samunet.sharing.export import export_model
from samunet.sharing.install import install_model
from samunet.sharing.portable import last_part, without_folders
from samunet.variants.atlas import AtlasVariant, Support
from samunet.variants.base import VariantContext
from samunet.variants.hybrid import HybridVariant

MEMBERS = ["LICENSE.txt", "dataset.json", "fold_0/checkpoint_final.safetensors", "fold_0/run.json",
           "fold_0/validation/summary.json", "model_card.md", "plans.json"]
IMAGES = {"00.image": torch.zeros(2, 2, 2).half(), "00.labels": torch.zeros(2, 2, 2, dtype=torch.uint8),
          "00.spacing_mm": torch.ones(3, dtype=torch.float64), "01.image": torch.ones(2, 2, 2).half()}


def exported(model, folder, **arguments):
    export_model(model, None, folder / "model.zip", **arguments)
    return contents_of(folder / "model.zip")


def test_a_bundle_holds_the_model_and_the_digest_of_every_file(tmp_path):
    contents = exported(prior_model(tmp_path), tmp_path)
    assert list(contents) == ["manifest.json", *MEMBERS]
    listed = json.loads(contents["manifest.json"])["members"]
    assert listed == {name: {"bytes": len(contents[name]), "sha256": hashlib.sha256(contents[name]).hexdigest()}
                      for name in MEMBERS}
    weights = tmp_path / "Dataset900_Phantom/label_prior__samunetPlans__untrained/fold_0/checkpoint_final.safetensors"
    assert contents["fold_0/checkpoint_final.safetensors"] == weights.read_bytes()


def test_a_calibration_goes_with_the_model(tmp_path):
    model = prior_model(tmp_path / "here")
    fitted = Calibration(0.5, (0.2, 0.1), {"1": DiceRegression({"f": 1.0}, 0.1, 4, 0.0)},
                         {"0": checkpoint_digest(model, "0")})
    write_calibration(model, "plain", fitted)
    assert json.loads(exported(model, tmp_path)["quality.json"])["plain"]["temperature"] == 0.5
    installed = install_model(tmp_path / "model.zip", tmp_path / "there")
    assert usable_calibration(installed, ["0"], "plain") == fitted


def test_equal_models_give_equal_bytes(tmp_path):
    model = prior_model(tmp_path)
    shutil.copytree(model, tmp_path / "copied")
    for file in (tmp_path / "copied").rglob("*"):
        os.utime(file, (10**9, 10**9))
        os.chmod(file, 0o700)
    export_model(model, None, tmp_path / "first.zip")
    export_model(tmp_path / "copied", ["0"], tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_the_card_has_the_scores_and_the_licence_the_datasets_words(tmp_path):
    contents = exported(prior_model(tmp_path), tmp_path)
    card, licence = contents["model_card.md"].decode(), contents["LICENSE.txt"].decode()
    assert "| fold | training cases | validation cases | a | b\\|c | mean |\n" in card
    assert "\n| 0 | 2 | 1 | 0.500 | 0.750 | 0.625 |\n" in card
    assert "| labelled training cases | 2 |" in card and "prediction does not load it" in card
    assert "hold no training image" in card
    assert "CC-BY 4.0" in licence


def test_the_last_row_of_the_table_leaves_out_the_fold_of_all_cases(tmp_path):
    model = prior_model(tmp_path)
    shutil.copytree(model / "fold_0", model / "fold_all")
    summary = model / "fold_all" / "validation" / "summary.json"
    summary.write_text(summary.read_text().replace("0.5", "1.0").replace("0.75", "1.0"))
    run = json.loads((model / "fold_0" / "run.json").read_text())
    labels = LabelSpace({"background": 0, "a": 1, "b": 2})
    assert crossval_table(model, {"0": run, "all": run}, labels).splitlines()[2:] == [
        "| 0 | 2 | 1 | 0.500 | 0.750 | 0.625 |",
        "| all (scores of its training cases) | 2 | 1 | 1.000 | 1.000 | 1.000 |",
        "| all folds | - | 1 | 0.500 | 0.750 | 0.625 |"]


def test_no_folder_of_the_machine_is_in_a_bundle(tmp_path):
    weights = {"x": torch.zeros(1)}
    model = made_model(tmp_path, "linear_head", weights, "medsam-01234567", "/elsewhere/medsam.pth@medsam")
    contents = exported(model, tmp_path)
    rows = json.loads(contents["fold_0/validation/summary.json"])["metric_per_case"]
    assert (rows[0]["reference_file"], rows[0]["prediction_file"]) == ("three.nii.gz", "three.nii.gz")
    assert json.loads(contents["fold_0/run.json"])["encoder"]["name"] == "medsam.pth@medsam"
    assert not [name for name, content in contents.items() if b"/elsewhere" in content]


def test_texts_that_are_no_absolute_paths_stay():
    content = {"file_ending": "/", "a": ["x/y", 1, None, True], "b": {"c": "\\\\host\\share\\f.json", "d": "mm/s"}}
    assert without_folders(content) == {**content, "b": {"c": "f.json", "d": "mm/s"}}
    assert last_part("models/mini.safetensors") == "mini.safetensors"


def test_a_model_that_needs_a_foreign_encoder_asks_for_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = made_model(tmp_path, "linear_head", {"x": torch.zeros(1)}, "medsam-01234567", "/elsewhere/medsam.pth")
    manifest = export_model(model, None, tmp_path / "model.zip")
    assert manifest.encoder.needed and not manifest.encoder.shipped
    card = contents_of(tmp_path / "model.zip")["model_card.md"].decode()
    assert "not in this bundle.** Put the file `medsam.pth`" in card
    with pytest.raises(UserError, match="no file medsam.pth for 'medsam-01234567'") as refused:
        load_model(tmp_path / "model.zip", None, torch.device("cpu"))
    assert "--encoder" in refused.value.mend


@pytest.mark.parametrize("variant, prefix", [("atlas", ""), ("hybrid", "atlas.")])
def test_the_card_says_how_many_training_images_the_weights_hold(tmp_path, variant, prefix, capsys):
    state = {prefix + name: tensor for name, tensor in IMAGES.items()} | {"image.weight": torch.zeros(1)}
    model = made_model(tmp_path, variant, state)
    assert main(["-m", str(model), "-o", str(tmp_path / "model.zip")]) == 0
    assert "2 training images" in capsys.readouterr().err
    assert read_bundle(tmp_path / "model.zip").training_images == 2
    assert "hold 2 training images" in contents_of(tmp_path / "model.zip")["model_card.md"].decode()


@pytest.mark.parametrize("kind, prefix", [(AtlasVariant, ""), (HybridVariant, "atlas.")])
def test_training_images_are_known_by_the_names_that_the_variants_give(made, kind, prefix):
    variant = kind(VariantContext(made.LABELS, made.DATASET_PLAN, made.SECTION, {}))
    atlas = variant if kind is AtlasVariant else variant.atlas
    atlas.supports = (Support(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.int16), (1.0, 1.0, 1.0)),) * 2
    names = [name for name in variant.state() if fnmatchcase(name, kind.image_tensors)]
    assert names == [f"{prefix}00.image", f"{prefix}01.image"]


def test_predictions_are_included_where_they_are_wanted(tmp_path):
    model = prior_model(tmp_path)
    contents = exported(model, tmp_path, predictions=True)
    assert contents["fold_0/validation/three.nii.gz"] == b"a segmentation"
    (model / "fold_0" / "validation" / "three.nii.gz").unlink()
    with pytest.raises(UserError, match="segmentations of a validation"):
        export_model(model, None, tmp_path / "none.zip", predictions=True)


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        ("fold_0/checkpoint_final.safetensors", b"prior", b"Prior", "other content than run.json recorded"),
        ("plans.json", b'_shape": [\n      4', b'_shape": [\n      5', "the plans.json that it was trained"),
        ("fold_0/run.json", b'"train_cases"', b'"training_cases"', "no `train_cases`"),
        ("fold_0/run.json", b'"finished": "2024', b'"finished_in": "2024', "no `finished`"),
    ],
)
def test_a_damaged_model_is_not_exported(tmp_path, file, old, new, message):
    model = prior_model(tmp_path)
    content = (model / file).read_bytes()
    assert old in content
    (model / file).write_bytes(content.replace(old, new))
    with pytest.raises(UserError, match=message):
        export_model(model, None, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_another_ending_or_fold_is_refused(tmp_path, capsys):
    model = prior_model(tmp_path)
    assert main(["-m", str(model), "-o", str(tmp_path / "model.tar")]) == 2
    assert "must end in .zip" in capsys.readouterr().err
    assert main(["-m", str(model), "-f", "1", "-o", str(tmp_path / "model.zip")]) == 2
    assert "missing: 1" in capsys.readouterr().err
