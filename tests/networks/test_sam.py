"""Our builders against segment-anything's own, and the numbers that the papers state."""

from __future__ import annotations

import pytest
import torch
from segment_anything import sam_model_registry

from samunet.errors import UserError
from samunet.networks.autosam_head import AutoSamHead
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.networks.cnn_head import build_cnn_head
from samunet.networks.fewshot import Fewshot
from samunet.networks.linear_head import build_linear_head
from samunet.networks.progressive_decoder import ProgressiveDecoder
from samunet.networks.sam import ENCODER_SIZES, build_image_encoder, build_mask_decoder, build_prompt_encoder
from samunet.networks.sam import build_sam as build


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_sam_sizes_have_segment_anythings_names_and_shapes():
    with torch.device("meta"):
        for size in ("vit_b", "vit_l", "vit_h"):
            assert shapes(build(size, 1024)) == shapes(sam_model_registry[size]())


def test_vit_b_computes_what_segment_anything_computes():
    torch.manual_seed(0)
    theirs = sam_model_registry["vit_b"]().image_encoder.eval()
    ours = build_image_encoder("vit_b", 1024).eval()
    ours.load_state_dict(theirs.state_dict())
    # One block is enough to compare the arithmetic; all twelve would take a minute on two cores.
    for module in (theirs, ours):
        module.blocks = module.blocks[1:2]
    image = torch.randn(1, 3, 1024, 1024)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


def test_mini_attends_globally_on_its_sixteen_by_sixteen_tokens():
    encoder = build_image_encoder("mini", ENCODER_SIZES["mini"].native_input_size)
    assert [block.window_size for block in encoder.blocks] == [0] * 12
    assert encoder.blocks[0].attn.rel_pos_h.shape == (31, 64)
    assert encoder.pos_embed.shape == (1, 16, 16, 192)


def test_untrained_weights_are_the_same_on_every_machine():
    state = untrained_state()
    weight = state["image_encoder.patch_embed.proj.weight"]
    # First numbers of PCG64 keyed by (20230405, CRC-32 of the name), times 768^-1/2.
    assert [round(float(value) * 768**0.5, 4) for value in weight.flatten()[:3]] == [-1.4635, 0.0521, 1.3585]
    assert float(state["image_encoder.neck.1.weight"].min()) == 1.0
    assert float(state["image_encoder.blocks.3.mlp.lin1.bias"].abs().max()) == 0.0
    assert abs(float(weight.std()) - 768**-0.5) < 1e-4


def test_heads_have_the_parameters_of_the_paper():
    assert round(parameters(build_cnn_head(256, 4, depth=4)) / 1e6, 1) == 20.7
    assert round(parameters(build_cnn_head(256, 4, depth=2)) / 1e6, 1) == 1.8
    assert round(parameters(build_linear_head(256, 4)) / 1e3) == 75


def test_cnn_head_passes_the_signal_through_its_unnormalised_layers():
    torch.manual_seed(0)
    logits = build_cnn_head(256, 3, depth=2)(torch.randn(2, 256, 8, 8))
    assert logits.shape == (2, 3, 32, 32)
    assert 0.3 < float(logits.detach().std()) < 5


def test_autosam_equals_sams_decoder_when_its_tokens_are_sams():
    torch.manual_seed(0)
    decoder, prompts = build_mask_decoder(), build_prompt_encoder(256)
    state = {f"mask_decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    state |= {f"prompt_encoder.{name}": tensor for name, tensor in prompts.state_dict().items()}
    head = AutoSamHead(256, 5, 256, state)
    head.class_tokens.data = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).detach()
    image = torch.randn(1, 256, 16, 16)
    _, no_mask = prompts(points=None, boxes=None, masks=None)
    with torch.inference_mode():
        theirs, _ = decoder.predict_masks(image, prompts.get_dense_pe(), torch.zeros(1, 0, 256), no_mask)
        ours = head(image)
    # Channel 0 stands for SAM's IoU token; hypernetwork 0, which all our classes share, is that of SAM's first mask.
    torch.testing.assert_close(ours[:, 1], theirs[:, 0], rtol=1e-5, atol=1e-5)


def test_what_others_added_to_sams_decoder_is_left_out_and_other_shapes_are_reported():
    decoder = build_mask_decoder()
    state = {f"mask_decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    torch.manual_seed(0)
    plain = AutoSamHead(256, 3, 256, state)
    torch.manual_seed(0)
    added = AutoSamHead(256, 3, 256, {**state, "mask_decoder.hf_token.weight": torch.ones(1, 256)})
    assert all(torch.equal(ours, added.state_dict()[name]) for name, ours in plain.state_dict().items())
    assert torch.equal(added.upscaling[0].weight, decoder.output_upscaling[0].weight)
    upsampling = {**state, "mask_decoder.output_upscaling.0.weight": torch.ones(256, 32, 2, 2)}
    for make in (lambda given: AutoSamHead(256, 3, 256, given), lambda given: ProgressiveDecoder(256, 3, given),
                 lambda given: Fewshot(2, True, 256, given, dropped=0.0, unmasked=0.0)):
        with pytest.raises(UserError, match="(?s)must be SAM's.*--encoder.*output_upscaling.0.weight") as caught:
            make(upsampling)
        assert "cnn_head" in caught.value.mend


def test_autosam_decodes_a_batch_as_it_decodes_each_image():
    torch.manual_seed(0)
    head = AutoSamHead(512, 3, 256, {}).eval()
    images = torch.randn(3, 512, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(head(images)[1:2], head(images[1:2]), rtol=1e-4, atol=1e-5)
