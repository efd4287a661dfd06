"""Bundles for tests: one of a label prior whose output is known, and zips that differ from it in one thing."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from samunet.files import digest_of_file, write_json
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans, digest_of_plan

ENTRY_MODE = 0o100644 << 16


def prior_model(results: Path) -> Path:
    """Fold 0 of `label_prior` in its place below `results`: label 1 is the upper half of the first axis."""
    prior = torch.full((3, 4, 6, 8), 0.1)
    prior[0, :2], prior[1, 2:] = 0.8, 0.8
    return made_model(results, "label_prior", {"prior": prior})


def made_model(results: Path, variant: str, state: dict[str, torch.Tensor], encoder: str = "untrained",
               encoder_name: str = "untrained") -> Path:
    """Fold 0 of a model with these tensors, whose only validation case has a Dice of 0.5 and 0.75."""
    model = results / "Dataset900_Phantom" / f"{variant}__samunetPlans__{encoder}"
    plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 6, 8), False, ("MRI",), ("zscore",),
                       (False,), ({},))
    section = EncoderPlan(encoder, 64, (8, 8), 0.5, "repeat", 2, "float16", 0, 1)
    Plans("samunetPlans", "Dataset900_Phantom", plan, {encoder: section}).save(model / "plans.json")
    write_json(model / "dataset.json", {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b|c": 2},
                                        "numTraining": 3, "file_ending": ".nii.gz", "licence": "CC-BY 4.0"})
    fold = model / "fold_0"
    fold.mkdir()
    save_file(state, fold / "checkpoint_final.safetensors")
    plans = Plans.load(model / "plans.json")
    settings = {"dataset": "Dataset900_Phantom", "variant": variant, "fold": "0", "plans": "samunetPlans",
                "encoder": encoder, "iterations": 0, "minutes": None, "batch_size": 0, "learning_rate": 0.0,
                "weight_decay": 0.0, "seed": 0, "shots": None, "draw": 0, "pretrained_weights": None, "device": "cpu",
                "encoder_digest": None, "data": "0" * 64,
                "plan": digest_of_plan(plans, plans.for_encoder(encoder))}
    write_json(fold / "run.json", {
        "variant": variant, "fold": "0", "finished": "2024-01-01T00:00:00+00:00", "trained_by": "samunet_train",
        "encoder": {"id": encoder, "name": encoder_name, "digest": None}, "settings": settings,
        "train_cases": ["one", "two"], "val_cases": ["three"], "seconds": {}, "versions": {"samunet": "0.1.0"},
        "checkpoint_digest": digest_of_file(fold / "checkpoint_final.safetensors")})
    rows = [{"metrics": {"1": {"Dice": 0.5}, "2": {"Dice": 0.75}}, "reference_file": "/data/gt/three.nii.gz",
             "prediction_file": r"C:\results\three.nii.gz"}]
    write_json(fold / "validation" / "summary.json", {"metric_per_case": rows})
    (fold / "validation" / "three.nii.gz").write_bytes(b"a segmentation")
    return model


def contents_of(bundle: Path) -> dict[str, bytes]:
    """Every member of a zip, by name."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_for(contents: Mapping[str, bytes], **changes: Any) -> bytes:
    """The manifest of `contents`, with the sizes and digests that they have, and fields changed."""
    manifest = json.loads(contents["manifest.json"]) | changes
    manifest["members"] = {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                           for name, content in contents.items() if name != "manifest.json"}
    return json.dumps(manifest).encode()


def write_zip(path: Path, entries: list[tuple[str, bytes]], **fields: Any) -> Path:
    """A zip of `entries`; `fields` are set in the directory's entry of the last one."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, content) in enumerate(entries, 1):
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.external_attr = name, ENTRY_MODE
            last = number == len(entries)
            if last:
                info.compress_type = fields.pop("compress_type", zipfile.ZIP_STORED)
                info.external_attr = fields.pop("external_attr", ENTRY_MODE)
            archive.writestr(info, content)
            if last:
                for field, value in fields.items():
                    setattr(info, field, value)
    return path
