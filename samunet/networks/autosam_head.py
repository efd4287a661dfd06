"""AutoSAM's own head: SAM's mask decoder with learned class tokens instead of prompts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, start_from
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS


class AutoSamHead(nn.Module):
    """Embeddings (B, D, g, g) -> logits (B, K, 4g, 4g), all classes in one pass of SAM's two-way transformer.

    After Hu et al., AutoSAM (arXiv 2306.06370). One learned token per class enters the two-way transformer in place of
    prompts; a hypernetwork turns the class' output token into weights for the upscaled embedding. Transformer,
    upscaling and hypernetwork start from SAM's own weights where the encoder's checkpoint has them.

    Differences: the image's positional encoding is SAM's (the authors' code has a new random one, by a key mismatch)
    and SAM's no-mask embedding is added, as SAM was trained; the tokens of all classes share one sequence, where the
    authors decode each class alone at K times the cost; no second mask token and no IoU token per class, whose outputs
    the authors discard. Several separately encoded channels are first combined by a 1x1 convolution.
    """

    positions: Tensor
    no_mask: Tensor

    def __init__(self, embedding_channels: int, classes: int, input_size: int, sam_state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.join = (
            nn.Conv2d(embedding_channels, EMBEDDING_CHANNELS, 1)
            if embedding_channels != EMBEDDING_CHANNELS
            else nn.Identity()
        )
        decoder = build_mask_decoder()
        prompts = build_prompt_encoder(input_size)
        start_from(decoder, "mask_decoder.", sam_state)
        start_from(prompts, "prompt_encoder.", sam_state)
        self.class_tokens = nn.Parameter(torch.randn(classes, EMBEDDING_CHANNELS))
        self.transformer = decoder.transformer
        self.upscaling = decoder.output_upscaling
        self.hypernetwork = decoder.output_hypernetworks_mlps[0]
        self.register_buffer("positions", prompts.get_dense_pe().detach().clone())
        self.register_buffer("no_mask", prompts.no_mask_embed.weight.detach().reshape(1, -1, 1, 1).clone())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, 4g, 4g)."""
        image = self.join(embeddings) + self.no_mask
        batch, channels, rows, columns = image.shape
        tokens = self.class_tokens.expand(batch, -1, -1)
        tokens, image = self.transformer(image, self.positions.expand(batch, -1, -1, -1), tokens)
        image = self.upscaling(image.transpose(1, 2).reshape(batch, channels, rows, columns))
        return torch.einsum("bkc,bcyx->bkyx", self.hypernetwork(tokens), image)
