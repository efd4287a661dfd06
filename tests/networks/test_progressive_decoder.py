from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from samunet.networks.adapted_sam import AdaptedSam
from samunet.networks.progressive_decoder import ProgressiveDecoder


def decoder(sam: Sam | None = None, channels: int = 256, classes: int = 3) -> ProgressiveDecoder:
    torch.manual_seed(0)
    return ProgressiveDecoder(channels, classes, sam.state_dict() if sam else {})


def embeddings(channels: int = 256) -> Tensor:
    return torch.randn(2, channels, 2, 3, generator=torch.Generator().manual_seed(1))


def images(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 32, 48, generator=torch.Generator().manual_seed(3))


def test_what_is_sams_and_what_is_new(small_sam: Sam) -> None:
    sams, ours = small_sam.mask_decoder.state_dict(), decoder(small_sam).state_dict()
    same = {name for name in ours
            if name in sams and ours[name].shape == sams[name].shape and torch.equal(ours[name], sams[name])}
    assert same == {name for name in ours if name.startswith(
        ("iou_token.", "transformer.", "output_upscaling.0.", "output_upscaling.1.", "output_upscaling.3."))}
    assert torch.equal(ours["no_mask_embed.weight"], small_sam.prompt_encoder.no_mask_embed.weight)
    matrix = small_sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    assert torch.equal(ours["positions.positional_encoding_gaussian_matrix"], matrix)


def test_transformer_and_first_doublings_give_what_sams_give(small_sam: Sam) -> None:
    ours, sams = decoder(small_sam), small_sam.mask_decoder
    square = torch.randn(1, 256, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(ours.positions((8, 8))[None], small_sam.prompt_encoder.get_dense_pe())
        torch.testing.assert_close(ours.output_upscaling[:4](square), sams.output_upscaling[:4](square), rtol=1e-4,
                                   atol=1e-5)


@torch.no_grad()
def test_a_grid_that_is_not_square_has_the_positions_of_a_squares_upper_left(small_sam: Sam) -> None:
    ours, seen = decoder(small_sam), []
    ours.transformer.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    ours(embeddings(), images())
    assert torch.equal(seen[0], ours.positions((3, 3))[None, :, :2].expand(2, -1, -1, -1))


@torch.no_grad()
def features_as_classes(ours: ProgressiveDecoder) -> list[Tensor]:
    """Let class k be k + 1 times feature k, and detail add nothing; what is upsampled will be in the list."""
    for index, mlp in enumerate(ours.output_hypernetworks_mlps):
        mlp.layers[-1].weight.zero_()
        mlp.layers[-1].bias.copy_(nn.functional.one_hot(torch.tensor(index), 8).float() * (index + 1))
    for parameter in ours.detail.parameters():
        parameter.zero_()
    seen: list[Tensor] = []
    ours.output_upscaling.register_forward_hook(lambda _, __, upsampled: seen.append(upsampled))
    return seen


@torch.no_grad()
def test_a_class_is_its_hypernetworks_weights_on_the_upsampled_map() -> None:
    ours = decoder()
    seen = features_as_classes(ours)
    logits = ours(embeddings(), images())
    assert seen[0].shape == (2, 8, 32, 48) and logits.shape == (2, 3, 32, 48)
    torch.testing.assert_close(logits, seen[0][:, :3] * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))


@torch.no_grad()
def test_the_image_is_added_pixel_by_pixel_to_the_finest_features() -> None:
    ours = decoder()
    seen = features_as_classes(ours)
    first, _, last = ours.detail
    first.weight[4, 8 + 1, 1, 2] = 2.0  # the second colour of the pixel to the right
    last.weight[0, 4, 1, 1] = 3.0  # onto feature 0
    logits = ours(embeddings(), images())
    right = nn.functional.pad(images()[:, 1, :, 1:], (0, 1))
    torch.testing.assert_close(logits[:, 0], seen[0][:, 0] + 3 * nn.functional.gelu(2 * right))
    torch.testing.assert_close(logits[:, 1], 2 * seen[0][:, 1])


def test_each_doubling_makes_two_pixels_of_one_and_norms_all_but_the_last() -> None:
    kinds = [type(module).__name__ for module in decoder().output_upscaling]
    step = ["ConvTranspose2d", "ChannelNorm", "GELU"]
    assert kinds == [*step, *step, *step, "ConvTranspose2d", "GELU"]
    assert [module.out_channels for module in decoder().output_upscaling
            if isinstance(module, nn.ConvTranspose2d)] == [64, 32, 16, 8]


def test_several_channels_are_joined() -> None:
    assert decoder(channels=512)(embeddings(512), images(6)).shape == (2, 3, 32, 48)


class Means(nn.Module):
    """Volumes (B, N, 3, H, W) -> the mean of each slice as its embedding (B, N, 1, 1, 1)."""

    def forward(self, stacks: Tensor) -> Tensor:
        return stacks.mean((2, 3, 4))[..., None, None, None]


class Sums(nn.Module):
    """A class for each image of a slice: its embedding, and 1000 times its first pixel's first colour."""

    def forward(self, embeddings: Tensor, images: Tensor) -> Tensor:
        return embeddings + 1000 * images[:, ::3, :1, :1]


def test_images_of_a_slice_meet_again_in_its_logits() -> None:
    # Stack b, slice s, channel n holds 100 b + 10 s + n.
    b, s, n = torch.meshgrid(torch.arange(2.0), torch.arange(3.0), torch.arange(2.0), indexing="ij")
    stacks = (100 * b + 10 * s + n)[..., None, None, None].expand(2, 3, 2, 3, 16, 16)
    logits = AdaptedSam(Means(), Sums())(stacks)
    assert logits.shape == (2, 2, 3, 1, 1)
    expected = 1001 * torch.tensor([[100.0, 110.0, 120.0], [101.0, 111.0, 121.0]])
    torch.testing.assert_close(logits[1, :, :, 0, 0], expected)
