"""Encoders by name and by file, with same-shaped files made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from samunet.errors import UserError
from samunet.networks.checkpoints import announce, encoder_spec, load_encoder
from samunet.networks.sam import build_sam
from samunet.networks.untrained import untrained_state


def test_untrained_is_frozen_and_named():
    encoder = load_encoder("untrained", 256)
    assert encoder.spec.id == "untrained" and encoder.spec.native_input_size == 256
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())
    assert not encoder.module.training
    assert "untrained" in announce(encoder.spec)


def test_a_file_with_sams_key_names_gives_its_own_weights(tmp_path: Path):
    state = untrained_state()
    state["image_encoder.neck.0.weight"] = state["image_encoder.neck.0.weight"] * 2
    torch.save(state, tmp_path / "mine.pth")
    save_file(state, tmp_path / "mine.safetensors")
    from_pth, from_safetensors = (load_encoder(str(tmp_path / f"mine.{end}"), 256) for end in ("pth", "safetensors"))
    assert from_pth.digest == from_safetensors.digest != load_encoder("untrained", 256).digest
    assert torch.equal(from_pth.module.neck[0].weight, state["image_encoder.neck.0.weight"])
    assert from_pth.spec.id.startswith("mine-") and from_pth.spec.size == "mini"
    assert announce(from_pth.spec) is None


def test_sizes_are_told_by_the_width(tmp_path: Path):
    state = {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}
    save_file(state, tmp_path / "medsam_vit_b.safetensors")
    spec = encoder_spec(str(tmp_path / "medsam_vit_b.safetensors"))
    assert (spec.size, spec.family, spec.native_input_size) == ("vit_b", "medsam", 1024)


def test_positions_are_interpolated_to_another_input_size(tmp_path: Path):
    state = untrained_state()
    state["image_encoder.pos_embed"] = torch.full((1, 16, 16, 192), 3.0)
    save_file(state, tmp_path / "flat.safetensors")
    module = load_encoder(str(tmp_path / "flat.safetensors"), 128).module
    assert module.pos_embed.shape == (1, 8, 8, 192) and bool((module.pos_embed == 3.0).all())
    assert module.blocks[0].attn.rel_pos_h.shape == (15, 64)
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, 128, 128)).shape == (1, 256, 8, 8)


def test_released_names_say_where_the_file_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    assert encoder_spec("vit_b").native_input_size == 1024
    with pytest.raises(UserError, match="sam_vit_b_01ec64.pth"):
        load_encoder("vit_b", 512)


def test_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="untrained, vit_b, vit_l, vit_h"):
        encoder_spec("vit_x")


@pytest.mark.parametrize("damage", ["truncated", "unrelated", "missing tensor", "pickled code"])
def test_a_bad_file_gets_one_message(tmp_path: Path, damage: str):
    path = tmp_path / "bad.pth"
    state = build_sam("mini", 256).state_dict()
    if damage == "missing tensor":
        del state["image_encoder.blocks.5.mlp.lin1.weight"]
    torch.save({"other": torch.zeros(1)} if damage == "unrelated" else state, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    if damage == "pickled code":
        torch.save({"code": print}, path)
    with pytest.raises(UserError) as told:
        load_encoder(str(path), 256)
    assert str(path) in str(told.value)
    if damage == "missing tensor":
        assert "blocks.5.mlp.lin1.weight" in str(told.value)
