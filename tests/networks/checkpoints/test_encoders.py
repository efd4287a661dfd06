"""Encoders by name and by file, with files made here by segment-anything's own modules."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import nn
from torch.nn.functional import interpolate

from samunet.errors import UserError
from samunet.networks.checkpoints import encoders, released
from samunet.networks.checkpoints.encoders import announce, encoder_spec, load_encoder
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.networks.sam import build_sam
from samunet.planning.encoder_spec import EncoderSpec


def _shaped(size: str, input_size: int) -> dict[str, torch.Tensor]:
    """A state of SAM's shapes whose every tensor is one stored zero, so that a file of vit_h is small."""
    with torch.device("meta"):
        shapes = build_sam(size, input_size).state_dict()
    return {key: torch.zeros(1).expand(tensor.shape) for key, tensor in shapes.items()}


def test_untrained_is_frozen_and_named():
    encoder = load_encoder("untrained", 256)
    assert encoder.spec == EncoderSpec("untrained", "mini", "mini", 256)
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())
    assert not encoder.module.training and encoder.device == torch.device("cpu")
    assert "untrained" in announce(encoder.spec)


@pytest.mark.gpu
@pytest.mark.parametrize("fast", [True, False])
def test_weights_are_rounded_on_a_card_on_request(fast: bool):
    ours, exact = (load_encoder("untrained", 64, device, fast=fast).module.state_dict() for device in ("cuda", "cpu"))
    rounded = [name for name, tensor in exact.items() if not torch.equal(ours[name].cpu().float(), tensor)]
    assert bool(rounded) == fast


def test_a_file_gives_its_own_weights_whichever_its_format(tmp_path: Path, small_sam: Sam):
    state = small_sam.state_dict()
    torch.save(state, tmp_path / "mine.pth")
    save_file(state, tmp_path / "mine.safetensors")
    from_pth, from_safetensors = (load_encoder(str(tmp_path / f"mine.{end}"), 128) for end in ("pth", "safetensors"))
    assert from_pth.digest == from_safetensors.digest
    assert torch.equal(from_pth.module.neck[0].weight, state["image_encoder.neck.0.weight"])
    assert set(from_pth.sam_state) == set(state)
    sha256 = hashlib.sha256((tmp_path / "mine.pth").read_bytes()).hexdigest()
    assert from_pth.spec == EncoderSpec(f"mine-{sha256[:8]}", "vit_96x4", "sam", 128)


def test_embeddings_are_those_of_segment_anythings_own_encoder(tmp_path: Path, small_sam: Sam):
    torch.save({"model": small_sam.state_dict()}, tmp_path / "trained.pth")
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = load_encoder(str(tmp_path / "trained.pth"), 128).module(images)
        theirs = small_sam.image_encoder(images)
    assert theirs.std() > 0.1
    assert torch.allclose(ours, theirs, atol=2e-4), (ours - theirs).abs().max()


def test_at_another_input_size_too(tmp_path: Path, small_sam: Sam):
    state = small_sam.state_dict()
    torch.save(state, tmp_path / "trained.pth")
    ours = load_encoder(str(tmp_path / "trained.pth"), 208).module
    # segment-anything interpolates relative tables by itself, at every call; absolute positions it does not.
    theirs = copy.deepcopy(small_sam.image_encoder)
    channels_first = state["image_encoder.pos_embed"].permute(0, 3, 1, 2)
    resized = interpolate(channels_first, (13, 13), mode="bilinear", align_corners=False)
    theirs.pos_embed = nn.Parameter(resized.permute(0, 2, 3, 1))
    assert [block.attn.rel_pos_h.shape[0] for block in ours.blocks] == [5, 25, 5, 25]
    images = torch.randn(1, 3, 208, 208, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found, expected = ours(images), theirs(images)
    assert found.shape == (1, 256, 13, 13)
    assert torch.allclose(found, expected, atol=2e-4), (found - expected).abs().max()


@pytest.mark.parametrize("size", [0, 8, 100])
def test_input_sizes_are_multiples_of_16(size: int):
    with pytest.raises(UserError, match="multiple of 16"):
        load_encoder("untrained", size)


@pytest.mark.parametrize(("size", "native"), [("vit_b", 1024), ("vit_l", 1024), ("vit_h", 1024), ("vit_b", 256)])
def test_files_of_sams_sizes_are_known_by_their_shapes(tmp_path: Path, size: str, native: int):
    torch.save(_shaped(size, native), tmp_path / "other_name.pth")
    spec = encoder_spec(str(tmp_path / "other_name.pth"))
    assert (spec.size, spec.family, spec.native_input_size) == (size, "sam", native)


def test_vit_b_loads_by_name_from_the_checkpoints_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    torch.save(_shaped("vit_b", 1024), tmp_path / "sam_vit_b_01ec64.pth")
    # By its name as by its path, the file's SHA-256 must be what its name says.
    for name in ("vit_b", "sam_vit_b_01ec64.pth"):
        with pytest.raises(UserError, match="(?s)SHA-256 begins with 01ec64.*where: .*sam_vit_b_01ec64.pth"):
            load_encoder(name, 64)
    monkeypatch.setattr(encoders, "sha256_start", lambda _: None)
    encoder = load_encoder("vit_b", 64)
    assert encoder.spec == EncoderSpec("vit_b", "vit_b", "sam", 1024)
    assert [block.attn.rel_pos_h.shape for block in encoder.module.blocks][1:3] == [(27, 64), (7, 64)]
    assert len(encoder.module.blocks) == 12


def test_a_released_name_with_another_size_inside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    torch.save(_shaped("mini", 256), tmp_path / "sam_vit_b_01ec64.pth")
    monkeypatch.setattr(encoders, "sha256_start", lambda _: None)
    with pytest.raises(UserError, match="(?s)must hold a vit_b.*found: mini"):
        load_encoder("vit_b", 256)


def test_released_names_say_how_the_file_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    assert encoder_spec("vit_b").native_input_size == 1024
    with pytest.raises(UserError, match=r"(?s)sam_vit_b_01ec64.pth.*samunet_download_checkpoint vit_b"):
        load_encoder("vit_b", 512)


def test_mini_is_the_file_that_ships_under_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(released, "files", lambda package: tmp_path)
    assert encoder_spec("mini") == encoder_spec("mini-3") == EncoderSpec("mini-3", "mini", "mini", 256)
    with pytest.raises(UserError, match=r"(?s)ship with samunet.*mini-3.safetensors"):
        load_encoder("mini", 256)
    (tmp_path / "weights").mkdir()
    state = untrained_state()
    save_file({key: tensor.half() for key, tensor in state.items()}, tmp_path / "weights" / "mini-3.safetensors")
    encoder = load_encoder("mini", 256)
    assert torch.equal(encoder.module.neck[0].weight, state["image_encoder.neck.0.weight"].half().float())
    assert announce(encoder.spec) is None
    (tmp_path / "weights" / "mini-3.json").write_text(json.dumps({"trained_on": "made shapes"}), encoding="utf-8")
    assert released.shipped_card() == {"trained_on": "made shapes"}


def test_the_family_follows_metadata_then_name_then_size(tmp_path: Path, small_sam: Sam):
    state = small_sam.state_dict()
    save_file(state, tmp_path / "MedSAM_small.safetensors")
    save_file(state, tmp_path / "small.safetensors")
    save_file(state, tmp_path / "medsam_told_otherwise.safetensors", metadata={"family": "mini"})
    torch.save(_shaped("mini", 256), tmp_path / "own.pth")
    families = {path.stem: encoder_spec(str(path)).family for path in tmp_path.iterdir()}
    assert families == {"MedSAM_small": "medsam", "small": "sam", "medsam_told_otherwise": "mini", "own": "mini"}


def test_an_overridden_family_is_another_encoder(tmp_path: Path, small_sam: Sam, monkeypatch: pytest.MonkeyPatch):
    assert encoder_spec("vit_b@medsam") == EncoderSpec("vit_b-medsam", "vit_b", "medsam", 1024)
    assert encoder_spec("vit_b@sam") == encoder_spec("vit_b")
    monkeypatch.setenv("samunet_checkpoints", str(tmp_path))
    save_file(small_sam.state_dict(), tmp_path / "small.safetensors")
    plain, overridden = load_encoder("small.safetensors", 128), load_encoder("small.safetensors@medsam", 128)
    assert overridden.spec == EncoderSpec(f"{plain.spec.id}-medsam", "vit_96x4", "medsam", 128)
    assert plain.digest == overridden.digest


def test_each_command_reports_whose_weights_it_uses():
    assert "random weights" in announce(encoder_spec("untrained@sam"))
    assert announce(encoder_spec("vit_l")) == (
        "encoder 'vit_l': Segment Anything's weights are Meta's, under the Apache-2.0 licence")
    assert "owner's licence" in announce(EncoderSpec("vit_b-12345678", "vit_b", "sam", 1024))
    assert announce(encoder_spec("pixels")) is None


@pytest.mark.parametrize("name", ["vit_x", "vit_b@other", "notes.txt", "missing.pth", "@sam", ""])
def test_unknown_names_list_the_known(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no checkpoint", encoding="utf-8")
    with pytest.raises(UserError, match="mini, untrained, pixels, vit_b, vit_l, vit_h"):
        encoder_spec(name)
