"""The whole job with encoders other than the default: pixels, and one file under two families."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_phantom import small_phantom

from samunet.cli import plan_and_preprocess, predict, train
from samunet.networks.sam import EncoderSize, build_image_encoder

DATASET = "Dataset900_Phantom"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("job")
    small_phantom(root / "raw", cases=5, test_cases=1)
    return [word for name in ("raw", "preprocessed", "results") for word in (f"--{name}", str(root / name))]


def _root(folders: list[str]) -> Path:
    return Path(folders[1]).parent


def test_pixels_are_planned_for_cached_trained_on_and_predicted_with(folders, tmp_path):
    assert plan_and_preprocess.main(["-d", "900", "-np", "1", "--encoder", "pixels", *folders]) == 0
    cache = _root(folders) / "preprocessed" / DATASET / "samunetPlans" / "embeddings" / "pixels"
    assert len(list(cache.glob("phantom_*.json"))) == 5
    assert train.main(["900", "autosam", "0", "--iterations", "2", "--encoder", "pixels", "-np", "1", *folders]) == 0
    images = _root(folders) / "raw" / DATASET / "imagesTs"
    assert predict.main(["-i", str(images), "-o", str(tmp_path), "--encoder", "pixels", *folders]) == 0
    assert len(list(tmp_path.glob("*.nii.gz"))) == 1


def test_an_overridden_family_has_plans_cache_and_model_of_its_own(folders, tmp_path, monkeypatch, capsys):
    torch.manual_seed(3)
    encoder = build_image_encoder(EncoderSize(96, 2, 3, 0, (), 64), 64)
    torch.save(encoder.state_dict(prefix="image_encoder."), tmp_path / "own.pth")
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    for name in ("own.pth", "own.pth@medsam"):
        assert plan_and_preprocess.main(["-d", "900", "-np", "1", "--encoder", name, *folders]) == 0
    assert "owner's licence" in capsys.readouterr().err
    preprocessed = _root(folders) / "preprocessed" / DATASET
    plain, other = sorted(name for name in json.loads((preprocessed / "samunetPlans.json").read_text())["encoders"]
                          if name.startswith("own-"))
    assert other == f"{plain}-medsam"
    folder = preprocessed / "samunetPlans" / "embeddings"
    case = min(path.name for path in (folder / plain).glob("phantom_*.json"))
    signatures = [json.loads((folder / name / case).read_text()) for name in (plain, other)]
    assert [signature["family"] for signature in signatures] == ["sam", "medsam"]
    assert signatures[0]["weights"] == signatures[1]["weights"]
    arrays = [np.load(folder / name / case.replace(".json", ".npy")) for name in (plain, other)]
    assert not np.array_equal(*arrays)
    assert train.main(["900", "linear_head", "0", "--iterations", "2", "--encoder", "own.pth@medsam", "-np", "1",
                       *folders]) == 0
    assert (_root(folders) / "results" / DATASET / f"linear_head__samunetPlans__{other}" / "fold_0").is_dir()
    images, output = _root(folders) / "raw" / DATASET / "imagesTs", tmp_path / "output"
    assert predict.main(["-i", str(images), "-o", str(output), "--encoder", "own.pth@medsam", *folders]) == 0
    monkeypatch.delenv("samunet_checkpoints")  # now it needs the path of the file
    model = _root(folders) / "results" / DATASET / f"linear_head__samunetPlans__{other}"
    assert predict.main(["-i", str(images), "-o", str(output), "-m", str(model)]) == 2
    for named in ([], ["-m", str(model)]):
        assert predict.main(["-i", str(images), "-o", str(output), "--encoder", f"{tmp_path / 'own.pth'}@medsam",
                             *named, *folders]) == 0
