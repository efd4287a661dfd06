"""The networks of `3d_promptable`, which answers clicks, boxes and masks, and of `3d_promptable_auto`.

3DSAM-adapter (Gong et al., arXiv 2306.13465). The docstrings of the parts name every difference from it.
"""

from __future__ import annotations

from torch import Tensor, nn

from samunet.networks.visual_sampler import VisualSampler
from samunet.networks.volumetric_decoder import PreparedPatch, VolumetricDecoder
from samunet.networks.volumetric_encoder import VolumetricEncoder
from samunet.networks.volumetric_prompts import MAPS, PromptTensors, features_at, prompt_maps
from samunet.planning.volumetric_channels import VolumetricChannels


class Promptable3d(nn.Module):
    """Patches and prompts of one class each -> logits of that class.

    Features of a patch are computed once and serve any number of queries: `encode`, then `prepare`, then
    `answer_prepared` for each click; `answer` does the latter two in one call.

    Arguments:
        encoder: image encoder, copied and frozen.
        channels: C, of the image.
        classes: F, those that can be prompted for.
        patch: voxels (z, y, x), multiples of the token.
        token: voxels (z, y, x) that one token covers, each 1 to 16.
        checkpointed: whether training recomputes each block of the encoder for its gradient.

    Raises:
        UserError: an encoder without attention.
    """

    def __init__(
        self, encoder: nn.Module, *, channels: int, classes: int, patch: tuple[int, int, int],
        token: tuple[int, int, int], checkpointed: bool,
    ) -> None:
        super().__init__()
        self.patch, self.token = patch, token
        self.encoder = VolumetricEncoder(encoder, channels, patch, token, checkpointed=checkpointed)
        sizes = VolumetricChannels.of(self.encoder.depth_embed.shape[1])
        self.sampler = VisualSampler(sizes, classes, patch)
        self.decoder = VolumetricDecoder(sizes, channels, MAPS, 1, token)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Patches (B, C, Z, Y, X), normalised -> four levels of features, each float32 (B, N, d, h, w)."""
        return self.encoder(images)

    def tokens_at(self, level: Tensor, places: Tensor) -> Tensor:
        """Features of the last level (B, N, d, h, w) at places (B, P, 3), voxels (z, y, x) of the patch: (B, P, N).

        Trilinear; the middle of voxel i is i + 0.5; a place outside the patch is moved to its border.
        """
        return features_at(level, places, self.patch)

    def prepare(self, features: list[Tensor], images: Tensor) -> PreparedPatch:
        """What all queries on the patches share, from `encode`'s features and the patches (B, C, Z, Y, X)."""
        return self.decoder.prepare(features, images)

    def answer_prepared(self, prepared: PreparedPatch, prompts: PromptTensors) -> Tensor:
        """Logits float32 (B, Z, Y, X) of B queries; row i is for class `prompts.classes[i]`.

        `prepared` is of as many patches, in the same order, or of one patch for all queries.
        """
        last = self.sampler(prepared.last, prompts)
        return self.decoder(prepared, last, prompt_maps(prompts, self.token))[:, 0]

    def answer(self, features: list[Tensor], images: Tensor, prompts: PromptTensors) -> Tensor:
        """`answer_prepared` of `prepare`: logits float32 (B, Z, Y, X)."""
        return self.answer_prepared(self.prepare(features, images), prompts)


class Automatic3d(nn.Module):
    """Patches (B, C, Z, Y, X) -> logits float32 (B, K, Z, Y, X): the same without sampler and maps of prompts.

    Arguments:
        outputs: K.

    The others are those of `Promptable3d`.

    Raises:
        UserError: an encoder without attention.
    """

    def __init__(
        self, encoder: nn.Module, *, channels: int, outputs: int, patch: tuple[int, int, int],
        token: tuple[int, int, int], checkpointed: bool,
    ) -> None:
        super().__init__()
        self.encoder = VolumetricEncoder(encoder, channels, patch, token, checkpointed=checkpointed)
        sizes = VolumetricChannels.of(self.encoder.depth_embed.shape[1])
        self.decoder = VolumetricDecoder(sizes, channels, 0, outputs, token)

    def forward(self, images: Tensor) -> Tensor:
        """Patches (B, C, Z, Y, X), normalised -> logits float32 (B, K, Z, Y, X)."""
        prepared = self.decoder.prepare(self.encoder(images), images)
        return self.decoder(prepared, prepared.last)
