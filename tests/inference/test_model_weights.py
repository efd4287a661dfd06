"""A trained model's checkpoint: compared with the digest in run.json, and with what the variant needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from damage import flip, truncate
from safetensors.torch import save_file

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import digest_of_file
from samunet.inference.model_weights import CHECKPOINT, DIGEST, load_weights, read_weights
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.variants.base import VariantContext
from samunet.variants.label_prior import LabelPriorVariant

DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (1, 1, 2), False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("untrained", 64, (1, 2), 0.5, "repeat", 2, "float16", 0, 1)
PRIOR = torch.tensor([[0.75, 0.5], [0.25, 0.5]]).reshape(2, 1, 1, 2)


def variant() -> LabelPriorVariant:
    return LabelPriorVariant(VariantContext(LabelSpace({"background": 0, "a": 1}), DATASET, SECTION, {}))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """With the run.json beside it."""
    save_file({"prior": PRIOR}, tmp_path / CHECKPOINT)
    (tmp_path / "run.json").write_text(json.dumps({DIGEST: digest_of_file(tmp_path / CHECKPOINT)}))
    return tmp_path / CHECKPOINT


def test_what_was_recorded_is_read(checkpoint: Path) -> None:
    loaded = variant()
    load_weights(checkpoint, loaded)
    assert torch.equal(loaded.prior, PRIOR)


def test_a_flipped_bit_that_is_a_number_all_the_same_is_refused(checkpoint: Path) -> None:
    flip(checkpoint, checkpoint.stat().st_size - 3)
    with pytest.raises(UserError, match="A checkpoint must be whole") as caught:
        load_weights(checkpoint, variant())
    assert caught.value.where == str(checkpoint)
    assert caught.value.found.startswith("other content than run.json recorded (SHA-256 ")


@pytest.mark.parametrize("run", [None, {"finished": "2024-01-01"}], ids=["alone", "of before"])
def test_a_checkpoint_without_a_recorded_digest_is_read(checkpoint: Path, run: dict[str, str] | None) -> None:
    checkpoint.with_name("run.json").unlink()
    if run:
        checkpoint.with_name("run.json").write_text(json.dumps(run))
    assert torch.equal(read_weights(checkpoint)["prior"], PRIOR)
    truncate(checkpoint, checkpoint.stat().st_size - 1)
    with pytest.raises(UserError, match="A checkpoint must be whole"):
        read_weights(checkpoint)


@pytest.mark.parametrize(("tensors", "found"), [
    ({"prior": PRIOR * float("nan")}, "prior holds numbers that are not finite"),
    ({"prior": PRIOR / 0}, "prior holds numbers that are not finite"),
    ({"prior": PRIOR[:1].contiguous()}, "prior is 1 x 1 x 1 x 2 of torch.float32, not 2 x 1 x 1 x 2 of torch.float32"),
    ({"prior": PRIOR.double()}, "prior is 2 x 1 x 1 x 2 of torch.float64, not 2 x 1 x 1 x 2 of torch.float32"),
    ({"prior": PRIOR, "other": PRIOR.clone()}, "other is unknown"),
    ({"other": PRIOR}, "prior is missing, other is unknown"),
    ({}, "prior is missing"),
])
def test_other_tensors_name_the_file(checkpoint: Path, tensors: dict[str, torch.Tensor], found: str) -> None:
    """As in a model of before, whose run.json says nothing of them."""
    checkpoint.with_name("run.json").unlink()
    save_file(tensors, checkpoint)
    with pytest.raises(UserError) as caught:
        load_weights(checkpoint, variant())
    assert (caught.value.where, caught.value.found) == (str(checkpoint), found)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="A checkpoint must be whole") as caught:
        load_weights(tmp_path / CHECKPOINT, variant())
    assert caught.value.where == str(tmp_path / CHECKPOINT)
