"""A frozen image encoder on volumes: 3D patch embedding, depth positions, 3D adapters, windowed 3D attention.

3DSAM-adapter's encoder (Gong et al., arXiv 2306.13465, section 3.2).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from samunet.errors import UserError
from samunet.networks.attention_3d import WindowAttention3d
from samunet.networks.convolution_3d import Convolution3d
from samunet.networks.image_encoder import NORM_EPSILON, ImageEncoder, resized_positions
from samunet.networks.patch_embedding_3d import PatchEmbedding3d
from samunet.planning.volumetric_channels import VolumetricChannels

LEVELS = 4


class VolumetricAdapter(nn.Module):
    """Tokens (B, d, h, w, D) -> the tokens plus W_up ReLU(DWConv3D(ReLU(M W_down))), depthwise of 3 x 3 x 3 tokens.

    Differences from the publication: no ReLU after W_up, and W_up starts at zero, so the untrained encoder is SAM's.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.mix = nn.Conv3d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, d, h, w, D) -> (B, d, h, w, D)."""
        low = functional.relu(self.down(tokens)).permute(0, 4, 1, 2, 3)
        return tokens + self.up(functional.relu(self.mix(low)).permute(0, 2, 3, 4, 1))


class VolumetricBlock(nn.Module):
    """Adapter, then a block of the image encoder with its attention in 3D windows: tokens (B, d, h, w, D).

    Its norms are trained; its projections, perceptron and tables of relative positions are not.
    """

    def __init__(self, block: Any, bottleneck: int, *, shifted: bool) -> None:
        super().__init__()
        self.adapter = VolumetricAdapter(block.mlp.lin1.in_features, bottleneck)
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.attn = WindowAttention3d(block.attn, shifted=shifted)
        self.norm1.requires_grad_(True)
        self.norm2.requires_grad_(True)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, d, h, w, D) -> (B, d, h, w, D) float32."""
        tokens = self.adapter(tokens)
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class VolumeNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, d, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, d, h, w) -> (B, C, d, h, w)."""
        return super().forward(maps.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


class VolumetricEncoder(nn.Module):
    """Volumes (B, C, Z, Y, X) -> four levels of features, each float32 (B, N, d, h, w).

    Levels are taken after a quarter, half, three quarters and all of the blocks, each through a neck of its own; SAM's
    neck is not used. Blocks of even index have shifted windows; SAM's global blocks have windows, too. Differences
    from the publication: those of the parts; positions of depth start at 0 instead of 1, so that untrained tokens are
    SAM's; the channels of adapters and levels follow the encoder's width (`VolumetricChannels`).

    Arguments:
        encoder: copied, so that the frozen one does not change; to float32, because bfloat16 loses small steps.
        channels: C.
        patch: voxels (z, y, x) of a volume, multiples of the token.
        token: voxels (z, y, x) that one token covers, each 1 to 16.
        checkpointed: whether training stores only the tokens between blocks and recomputes each block for its gradient.

    Raises:
        UserError: an encoder without attention.
    """

    def __init__(
        self, encoder: nn.Module, channels: int, patch: tuple[int, int, int], token: tuple[int, int, int],
        *, checkpointed: bool,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, ImageEncoder):
            raise UserError("3D attention needs an encoder with attention.", where="--encoder",
                            found=type(encoder).__name__,
                            mend="Name a SAM encoder, or choose a variant on cached embeddings.")
        plain = copy.deepcopy(encoder).float().requires_grad_(False)
        width = plain.pos_embed.shape[-1]
        sizes = VolumetricChannels.of(width)
        self.checkpointed = checkpointed
        self.patch_embed = PatchEmbedding3d(plain.patch_embed.proj, channels, token)
        self.pos_embed = plain.pos_embed
        self.depth_embed = nn.Parameter(torch.zeros(patch[0] // token[0], width))
        self.blocks = nn.ModuleList(VolumetricBlock(block, sizes.adapter, shifted=index % 2 == 0)
                                    for index, block in enumerate(plain.blocks))
        self.necks = nn.ModuleList(
            nn.Sequential(Convolution3d(width, sizes.level, 1, bias=False), VolumeNorm(sizes.level),
                          Convolution3d(sizes.level, sizes.level, 3, bias=False), VolumeNorm(sizes.level))
            for _ in range(LEVELS))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, Z, Y, X) -> four levels, each float32 (B, N, d, h, w)."""
        tokens, levels = self.tokens(images), []
        ends = [-(-len(self.blocks) * (level + 1) // LEVELS) for level in range(LEVELS)]
        for number, block in enumerate(self.blocks, 1):
            if self.checkpointed and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
            levels += [tokens] * ends.count(number)
        return [neck(level.permute(0, 4, 1, 2, 3)).float().contiguous()
                for neck, level in zip(self.necks, levels, strict=True)]

    def tokens(self, images: Tensor) -> Tensor:
        """Tokens before the first block, with their positions: (B, C, Z, Y, X) -> float32 (B, d, h, w, D)."""
        tokens = self.patch_embed(images)
        plane = resized_positions(self.pos_embed, (tokens.shape[2], tokens.shape[3]))
        return tokens + plane[:, None] + self.depth_embed[:, None, None]
