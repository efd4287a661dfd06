"""SAM's mask decoder with a mask for each class and stepwise upsampling to the encoder's input resolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samunet.networks.image_encoder import ChannelNorm
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, load_sams
from samunet.networks.sam_modules import MLP
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

WIDTHS = (64, 32, 16, 8)  # after each doubling; SAM's own decoder ends with the second
DETAIL = 16  # channels in which the finest features and the image are combined
# Parts that start from SAM's weights: all but mask tokens, hypernetworks and the new half of the upsampling.
INHERITED = ("iou_token.", "transformer.", "output_upscaling.0.", "output_upscaling.1.", "output_upscaling.3.")


class ProgressiveDecoder(nn.Module):
    """Embeddings (B, D, h, w) and images (B, C, 16 h, 16 w) -> logits (B, K, 16 h, 16 w), square or not, without
    prompts.

    MA-SAM's decoder (Chen et al., arXiv 2309.08842), all of it trained: SAM's two-way transformer over its IoU token
    and K mask tokens, four transposed convolutions to a sixteenfold grid of 8 channels, and a hypernetwork of three
    layers for each class. Names are those of SAM's decoder. The no-mask embedding is trained as well. Differences:

    - There is no IoU head, which has no loss there; its token stays, as the transformer was trained with it.
    - Several separately encoded channels are first combined by a 1x1 convolution; the paper has one channel, or RGB.
    - The encoder images join the finest features in two 3x3 convolutions: transposed convolutions of stride 2 treat
      each token's square separately. 3DSAM-adapter (Gong et al., arXiv 2306.13465, mask decoder) also has the image
      in its decoder, at half resolution. The gain is in studies/neighbours.md.

    Arguments:
        embedding_channels: D, 256 for each of the C / 3 separately encoded images of a slice. classes: K.
        sam_state: SAM's checkpoint to start from; without decoder weights the start is random.
    """

    def __init__(self, embedding_channels: int, classes: int, sam_state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.join = (nn.Identity() if embedding_channels == EMBEDDING_CHANNELS
                     else nn.Conv2d(embedding_channels, EMBEDDING_CHANNELS, 1))
        prompts = build_prompt_encoder(PATCH_SIZE)  # any size: positions are computed for each grid
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

    def forward(self, embeddings: Tensor, images: Tensor) -> Tensor:
        """Embeddings (B, D, h, w) and images (B, C, 16 h, 16 w) -> logits (B, K, 16 h, 16 w)."""
        features = self.join(embeddings) + self.no_mask_embed.weight.view(1, -1, 1, 1)
        return self.masks(features, features.new_zeros(len(features), 0, EMBEDDING_CHANNELS), images)

    def masks(self, features: Tensor, prompts: Tensor, images: Tensor) -> Tensor:
        """Logits (B, K, 16 h, 16 w).

        Image b is combined with the tokens of b only; segment-anything would repeat every image for every prompt.

        Arguments:
            features: (B, 256, h, w), combined embeddings plus their dense prompt.
            prompts: (B, T, 256), prompt tokens.
            images: (B, C, 16 h, 16 w).
        """
        batch, channels, rows, columns = features.shape
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 cannot distinguish close positions
            side = max(rows, columns)  # the grid is the upper left part of a square one, as in the encoder
            positions = self.positions((side, side))[:, :rows, :columns]
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(batch, -1, -1)
        tokens = torch.cat([tokens, prompts], 1)
        tokens, features = self.transformer(features, positions.expand(batch, -1, -1, -1), tokens)
        features = self.output_upscaling(features.transpose(1, 2).reshape(batch, channels, rows, columns))
        features = features + self.detail(torch.cat([features, images.to(features.dtype)], 1))
        weights = [mlp(tokens[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        return torch.einsum("bkc,bcyx->bkyx", torch.stack(weights, 1), features)

    def _start_from(self, sam_state: Mapping[str, Tensor]) -> None:
        """Load SAM's weights; a checkpoint without decoder (encoder only) changes nothing."""
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
