"""Files that others wrote: SAM's names in any wrapping, and one clear message for what is no SAM."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.networks.checkpoints.encoders import load_encoder
from samunet.networks.checkpoints.files import read_checkpoint


@pytest.mark.parametrize("wrapping",
                         ["plain", "module.", "sam.", "model.", "module.sam.", "model", "state_dict", "encoder"])
def test_sams_names_are_found_in_every_wrapping(tmp_path: Path, small_sam: Sam, wrapping: str):
    state = small_sam.state_dict()
    content: dict = dict(state)
    if wrapping.endswith("."):
        content = {wrapping + key: tensor for key, tensor in state.items()}
    elif wrapping in ("model", "state_dict"):
        content = {wrapping: state, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    elif wrapping == "encoder":
        state = small_sam.image_encoder.state_dict(prefix="image_encoder.")
        content = dict(small_sam.image_encoder.state_dict())
    torch.save(content, tmp_path / "file.pth")
    found = read_checkpoint(tmp_path / "file.pth")
    assert set(found) == set(state)
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


def test_what_belongs_to_no_part_of_sam_is_left_out(tmp_path: Path, small_sam: Sam):
    torch.save({**small_sam.state_dict(), "pixel_mean": torch.ones(3)}, tmp_path / "file.pth")
    assert set(read_checkpoint(tmp_path / "file.pth")) == set(small_sam.state_dict())


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path: Path, small_sam: Sam, ending: str, dtype: torch.dtype):
    state = {key: tensor.to(dtype) for key, tensor in small_sam.state_dict().items()}
    path = tmp_path / f"half.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    found = read_checkpoint(path)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert torch.equal(found["image_encoder.pos_embed"], state["image_encoder.pos_embed"].float())
    assert len(load_encoder(str(path), 128).digest) == 64


def test_the_old_format_of_pytorch_is_read(tmp_path: Path, small_sam: Sam):
    torch.save(small_sam.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert set(read_checkpoint(tmp_path / "old.pth")) == set(small_sam.state_dict())


def _without(part: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if part not in key}


# What torch.save writes for each kind of bad file: a function of the model and its state.
SAVED: dict[str, Callable[[Sam, dict[str, Tensor]], object]] = {
    "truncated": lambda sam, state: state,
    "ResNet": lambda sam, state: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 2)).state_dict(),
    "a tensor": lambda sam, state: torch.zeros(3),
    "code": lambda sam, state: {"model": state, "args": argparse.Namespace(lr=1)},
    "whole module": lambda sam, state: sam.image_encoder,
    "block missing": lambda sam, state: _without("blocks.2.", state),
    "no tables": lambda sam, state: _without("rel_pos", state),
}
# Kinds that add one entry to a good state, or replace one.
CHANGED: dict[str, tuple[str, Tensor]] = {
    "adapter added": ("image_encoder.blocks.0.adapter.weight", torch.zeros(2, 2)),
    "wrong shape": ("image_encoder.neck.0.weight", torch.zeros(64, 96, 1, 1)),
    "oblong": ("image_encoder.pos_embed", torch.zeros(1, 8, 4, 96)),
    "another table": ("image_encoder.blocks.1.attn.rel_pos_w", torch.zeros(30, 32)),
    "flat table": ("image_encoder.blocks.1.attn.rel_pos_w", torch.zeros(480)),
    "a block beyond all": ("image_encoder.blocks.99999999.attn.rel_pos_h", torch.zeros(15, 32)),
    "NaN": ("image_encoder.neck.1.bias", torch.full((256,), float("nan"))),
    "beyond float32": ("mask_decoder.iou_token.weight", torch.full((1, 256), 1e300, dtype=torch.float64)),
    "quantised": ("image_encoder.neck.0.weight", torch.zeros(256, 96, 1, 1, dtype=torch.int8)),
    "three windows": ("image_encoder.blocks.0.attn.rel_pos_h", torch.zeros(9, 32)),
}


def _bad_file(kind: str, folder: Path, sam: Sam) -> Path:
    state = dict(sam.state_dict())
    path = folder / ("bad.safetensors" if "safetensors" in kind else "bad.pth")
    if kind == "web page":
        path.write_text("<!DOCTYPE html><html><body>Sign in to download</body></html>", encoding="utf-8")
    elif kind == "empty":
        path.touch()
    elif kind == "noise safetensors":
        path.write_bytes(bytes(range(256)) * 8)
    elif kind == "truncated safetensors":
        save_file(state, path)
    elif kind in CHANGED:
        name, tensor = CHANGED[kind]
        torch.save({**state, name: tensor}, path)
    else:
        torch.save(SAVED[kind](sam, state), path)
    if kind.startswith("truncated"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("web page", r"a text that begins '<!DOCTYPE html>"),
        ("empty", "an empty file"),
        ("truncated", r"\d+ bytes that cannot be read"),
        ("truncated safetensors", r"\d+ bytes that cannot be read"),
        ("noise safetensors", r"2048 bytes that cannot be read"),
        ("ResNet", r"4 entries \(0.weight, 0.bias, 1.weight, ...\)"),
        ("a tensor", r"1 entries \(Tensor, ...\)"),
        ("code", "a Python object, argparse.Namespace"),
        ("whole module", r"a Python object, segment_anything\S+ImageEncoderViT"),
        ("block missing", r"image_encoder.blocks.2.norm1.weight is missing; .*, and 12 more"),
        ("adapter added", "image_encoder.blocks.0.adapter.weight is no part of SAM's encoder"),
        ("wrong shape", r"image_encoder.neck.0.weight is \(64, 96, 1, 1\), not \(256, 96, 1, 1\)"),
        ("no tables", r"positions of shape \(1, 8, 8, 96\), 0 relative position tables"),
        ("oblong", r"positions of shape \(1, 8, 4, 96\), 4 relative"),
        ("another table", "width 96, relative position tables of 5 x 32, 15 x 32, 30 x 32"),
        ("flat table", "width 96, relative position tables of 5 x 32, 15 x 32, 480"),
        ("a block beyond all", "in blocks up to 99999999"),
        ("NaN", "NaN or infinity in image_encoder.neck.1.bias"),
        ("beyond float32", "NaN or infinity in mask_decoder.iou_token.weight"),
        ("quantised", "image_encoder.neck.0.weight of torch.int8"),
        ("three windows", "width 96, relative position tables of 5 x 32, 9 x 32, 15 x 32"),
    ],
)
def test_a_bad_file_gets_one_message_with_file_finding_and_mend(tmp_path: Path, small_sam: Sam, kind: str, found: str):
    path = _bad_file(kind, tmp_path, small_sam)
    with pytest.raises(UserError) as caught:
        load_encoder(str(path), 128)
    assert caught.value.where == str(path)
    assert re.search(found, caught.value.found), caught.value.found
    assert caught.value.mend and "\n" not in caught.value.found and len(caught.value.found) < 300
