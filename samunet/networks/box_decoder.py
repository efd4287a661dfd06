"""The progressive decoder prompted by a box: SAM's two corner tokens, and optionally an ellipse as mask prompt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samunet.networks.progressive_decoder import ProgressiveDecoder
from samunet.networks.prompts import FIRST_CORNER, LAST_CORNER, MASK_SCALE, SURE, inscribed_ellipses
from samunet.networks.sam import build_prompt_encoder, load_sams
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

PROMPTS = "prompt_encoder."
CORNERS = [f"{PROMPTS}point_embeddings.{kind}.weight" for kind in (FIRST_CORNER, LAST_CORNER)]
BACKGROUND, FOREGROUND = 0, 1  # masks


class BoxDecoder(ProgressiveDecoder):
    """Embeddings (B, D, h, w), one box each (B, 4) and images (B, C, 16 h, 16 w) -> logits (B, 16 h, 16 w) of the
    object in the box.

    MA-SAM's box variant (Chen et al., arXiv 2309.08842): SAM's stock box path, two corner tokens, in front of the
    progressive decoder with a mask for the object and one for the rest; the logit is their difference, so that its
    sigmoid is their softmax. The parts of SAM's prompt encoder that boxes use are trained, from SAM's weights.
    Difference: with `ellipse` the ellipse in the box is the mask prompt, as for samunet's own decoders
    (`networks.prompts`); the paper has none.

    Arguments:
        embedding_channels: D.
        sam_state: SAM's checkpoint to start from; missing weights start at random.
        ellipse: whether the mask prompt is the ellipse; else it is SAM's embedding of no mask.
    """

    def __init__(self, embedding_channels: int, sam_state: Mapping[str, Tensor], *, ellipse: bool) -> None:
        super().__init__(embedding_channels, 2, sam_state)
        sams = build_prompt_encoder(PATCH_SIZE)
        self.corners = nn.Embedding(2, EMBEDDING_CHANNELS)
        self.ellipse = ellipse
        if ellipse:
            del self.no_mask_embed  # it would get no gradient
            self.mask_downscaling = sams.mask_downscaling
        own = {name: sam_state[PROMPTS + name] for name in self.state_dict() if PROMPTS + name in sam_state}
        if all(name in sam_state for name in CORNERS):
            own["corners.weight"] = torch.cat([sam_state[name] for name in CORNERS])
        load_sams(self, own, strict=False)

    def forward(self, embeddings: Tensor, boxes: Tensor, images: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (B, 16 h, 16 w); boxes are float, x0, y0, x1, y1 in pixels of the encoder's input."""
        features = self.join(embeddings)
        grid = features.shape[2:]
        masks = self.masks(features + self._dense(boxes, grid), self._corners(boxes, grid), images)
        return masks[:, FOREGROUND] - masks[:, BACKGROUND]

    def _corners(self, boxes: Tensor, grid: torch.Size) -> Tensor:
        """Tokens (B, 2, 256), as segment-anything's `_embed_boxes`, which adds half a pixel."""
        side = max(grid) * PATCH_SIZE
        with torch.autocast(boxes.device.type, enabled=False):
            places = self.positions.forward_with_coords(boxes.float().view(-1, 2, 2) + 0.5, (side, side))
        return places + self.corners.weight

    def _dense(self, boxes: Tensor, grid: torch.Size) -> Tensor:
        """(B or 1, 256, h, w or 1)."""
        if not self.ellipse:
            return self.no_mask_embed.weight.view(1, -1, 1, 1)
        # SAM's mask prompts have four cells for each of the embedding's.
        rows, columns = 4 * grid[0], 4 * grid[1]
        inside = inscribed_ellipses(boxes, max(rows, columns), MASK_SCALE)[:, None, :rows, :columns]
        return self.mask_downscaling(torch.where(inside, SURE, -SURE))
