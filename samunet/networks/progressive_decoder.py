"""SAM's mask decoder with a mask for each class and upsampling, step by step, to the resolution of the encoder's input.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from samunet.networks.image_encoder import ChannelNorm
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, load_sams
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

WIDTHS = (64, 32, 16, 8)  # after each doubling; SAM's own decoder ends with the second
DETAIL = 16  # channels in which the finest features meet the picture
# What begins as SAM's: all but mask tokens, hypernetworks and the new half of the upsampling.
INHERITED = ("iou_token.", "transformer.", "output_upscaling.0.", "output_upscaling.1.", "output_upscaling.3.")


class ProgressiveDecoder(nn.Module):
    """Embeddings (B, D, h, w) and pictures (B, C, 16 h, 16 w) -> logits (B, K, 16 h, 16 w), square or not, without
    prompts.

    MA-SAM's decoder (Chen et al., arXiv 2309.08842), all of it trained: SAM's two-way transformer over its IoU token
    and K mask tokens, four transposed convolutions to a sixteenfold grid of 8 channels, and a hypernetwork of three
    layers for each class. Names are those of SAM's decoder. The no-mask embedding is trained as well. Deviations:

    - There is no IoU head, which has no loss there; its token stays, as the transformer was trained with it.
    - Several separately encoded channels are first joined by a 1x1 convolution; the paper has one channel, or RGB.
    - The pictures that were encoded join the finest features, and two 3x3 convolutions add what both say to them:
      transposed convolutions of stride 2 draw each token's square for itself. 3DSAM-adapter (Gong et al., arXiv
      2306.13465, mask decoder) has the image in its decoder, too, at half resolution. What it gained stands in
      documentation/neighbours.md.

    Arguments:
        embedding_channels: D, 256 for each of the C / 3 pictures of a slice that were encoded alone. classes: K.
        sam_state: SAM's checkpoint to start from; without decoder weights the start is random.
    """

    def __init__(self, embedding_channels: int, classes: int, sam_state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.join = (nn.Identity() if embedding_channels == EMBEDDING_CHANNELS
                     else nn.Conv2d(embedding_channels, EMBEDDING_CHANNELS, 1))
        prompts = build_prompt_encoder(PATCH_SIZE)  # whatever the size: positions are told for the grid at hand
        self.positions, self.no_mask_embed = prompts.pe_layer, prompts.no_mask_embed
        sams = build_mask_decoder()
        self.iou_token, self.transformer = sams.iou_token, sams.transformer
        self.mask_tokens = nn.Embedding(classes, EMBEDDING_CHANNELS)
        self.output_upscaling = _upsampling()
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(EMBEDDING_CHANNELS, EMBEDDING_CHANNELS, WIDTHS[-1], 3) for _ in range(classes))
        colours = 3 * embedding_channels // EMBEDDING_CHANNELS
        self.detail = nn.Sequential(nn.Conv2d(WIDTHS[-1] + colours, DETAIL, 3, padding=1), nn.GELU(),
                                    nn.Conv2d(DETAIL, WIDTHS[-1], 3, padding=1))
        for parameter in self.detail[-1].parameters():
            nn.init.zeros_(parameter)  # training begins with the published decoder
        self._start_from(sam_state)

    def forward(self, embeddings: Tensor, pictures: Tensor) -> Tensor:
        image = self.join(embeddings) + self.no_mask_embed.weight.view(1, -1, 1, 1)
        return self.masks(image, image.new_zeros(len(image), 0, EMBEDDING_CHANNELS), pictures)

    def masks(self, image: Tensor, prompts: Tensor, pictures: Tensor) -> Tensor:
        """Logits (B, K, 16 h, 16 w) of joined embeddings with their dense prompt (B, 256, h, w), T prompt tokens (B, T,
        256), and pictures.

        Picture b meets the tokens of b alone; segment-anything's own call would repeat every picture for every prompt.
        """
        batch, channels, rows, columns = image.shape
        with torch.autocast(image.device.type, enabled=False):  # half of float32 cannot tell fine positions apart
            side = max(rows, columns)  # the grid is the upper left of a square one, as the encoder has it
            positions = self.positions((side, side))[:, :rows, :columns]
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(batch, -1, -1)
        tokens, image = self.transformer(image, positions.expand(batch, -1, -1, -1), torch.cat([tokens, prompts], 1))
        image = self.output_upscaling(image.transpose(1, 2).reshape(batch, channels, rows, columns))
        image = image + self.detail(torch.cat([image, pictures.to(image.dtype)], 1))
        weights = [mlp(tokens[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        return torch.einsum("bkc,bcyx->bkyx", torch.stack(weights, 1), image)

    def _start_from(self, sam_state: Mapping[str, Tensor]) -> None:
        """Load what is SAM's; a checkpoint without decoder (encoder only) changes nothing."""
        names = {f"mask_decoder.{name}": name for name in self.state_dict() if name.startswith(INHERITED)}
        frequencies = "positional_encoding_gaussian_matrix"
        names |= {"prompt_encoder.no_mask_embed.weight": "no_mask_embed.weight",
                  f"prompt_encoder.pe_layer.{frequencies}": f"positions.{frequencies}"}
        load_sams(self, {name: sam_state[theirs] for theirs, name in names.items() if theirs in sam_state},
                  strict=False)


def _upsampling() -> nn.Sequential:
    """(B, 256, h, w) -> (B, 8, 16 h, 16 w), the norm left out after the last doubling.

    SAM's modules have SAM's numbers.
    """
    modules: list[nn.Module] = []
    width = EMBEDDING_CHANNELS
    for narrower in WIDTHS:
        modules += [nn.ConvTranspose2d(width, narrower, 2, 2), ChannelNorm(narrower), nn.GELU()]
        width = narrower
    del modules[-2]
    return nn.Sequential(*modules)
