"""The visual sampler: prompts become image features, which change the image through a few global queries.

3DSAM-adapter's prompt encoder (Gong et al., arXiv 2306.13465, section 3.3), those parts of it that take effect in the
authors' code: a point has no positional encoding, as the feature at its place is its content.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.volumetric_prompts import PADDING, PromptTensors, features_at
from samunet.planning.volumetric_channels import HEADS, VolumetricChannels

LAYERS = 2
QUERIES = 10  # global ones of a layer
QUERY_SCALE = 0.1  # standard deviation of their initial values


class TokenAttention(nn.Module):
    """Multi-head attention of tokens (B, n, N) to others, through `inner` channels."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(channels, inner) for _ in range(3))
        self.out = nn.Linear(inner, channels)

    def forward(self, tokens: Tensor, others: Tensor, seen: Tensor | None = None) -> Tensor:
        """Tokens (B or 1, n, N), others (B, m, N), seen bool (B, m) -> (B, n, N)."""
        query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
                             for part in (self.query(tokens), self.key(others), self.value(others)))
        mask = None if seen is None else seen[:, None, None]
        mixed = functional.scaled_dot_product_attention(query.expand(len(key), -1, -1, -1), key, value, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))


class SamplerLayer(nn.Module):
    """Global queries and prompts attend to each other; then the image attends to the global queries."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(QUERY_SCALE * torch.randn(QUERIES, channels))
        self.among, self.to_queries = TokenAttention(channels, channels), TokenAttention(channels, channels // 2)
        self.norm_mixed, self.norm_tokens, self.norm_queries, self.norm_image = (
            nn.LayerNorm(channels) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, image: Tensor, points: Tensor, seen: Tensor, of_class: Tensor) -> tuple[Tensor, Tensor]:
        """Image (B or 1, n, N), points (B, P, N), seen bool (B, P), of_class (B, 1, N) -> image, points, of B."""
        tokens = torch.cat([self.queries + of_class, points], 1)
        seen = functional.pad(seen, (QUERIES, 0), value=True)
        tokens = self.norm_tokens(tokens + self.norm_mixed(self.among(tokens, tokens, seen)))
        queries, points = tokens[:, :QUERIES], tokens[:, QUERIES:]
        queries = self.norm_queries(queries + self.mlp(queries))
        return self.norm_image(image + self.to_queries(image, queries)), points


class VisualSampler(nn.Module):
    """The last level (B, N, d, h, w) and prompts of B queries -> that level with their content, (B, N, d, h, w).

    Differences from the publication, where every point has the same meaning and there is one class: positive and
    negative clicks have embeddings of their own, which are added to their features; a box is a token, too, its feature
    that of its centre, with an embedding for boxes; an embedding of the class is added to clicks, boxes and global
    queries; padding is masked; queries without any prompt are answered.

    Arguments:
        sizes: channels.
        classes: F.
        patch: voxels (z, y, x) of the patch that the level covers.
    """

    def __init__(self, sizes: VolumetricChannels, classes: int, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.patch = patch
        self.layers = nn.ModuleList(SamplerLayer(sizes.level, sizes.perceptron) for _ in range(LAYERS))
        self.polarity_embed, self.box_embed = nn.Embedding(2, sizes.level), nn.Embedding(1, sizes.level)
        self.class_embed = nn.Embedding(classes, sizes.level)

    def forward(self, level: Tensor, prompts: PromptTensors) -> Tensor:
        """Level (B, N, d, h, w), or (1, N, d, h, w) for all queries -> (B, N, d, h, w)."""
        of_class = self.class_embed(prompts.classes)[:, None]
        points, seen = self._prompt_tokens(level, prompts)
        points = points + of_class
        image = level.flatten(2).transpose(1, 2)
        for layer in self.layers:
            image, points = layer(image, points, seen, of_class)
        return image.transpose(1, 2).unflatten(2, level.shape[2:])

    def _prompt_tokens(self, level: Tensor, prompts: PromptTensors) -> tuple[Tensor, Tensor]:
        """Tokens of points, then boxes, (B, P + Q, N), and which of them are no padding, bool (B, P + Q)."""
        points = features_at(level, prompts.points, self.patch) if prompts.tokens is None else prompts.tokens
        points = points + self.polarity_embed(prompts.polarity.clamp_min(0))
        given = ~prompts.boxes.isnan().any(-1).any(-1)
        centres = prompts.boxes.mean(2).nan_to_num(0.0)
        boxes = features_at(level, centres, self.patch) + self.box_embed.weight
        return torch.cat([points, boxes], 1), torch.cat([prompts.polarity != PADDING, given], 1)
