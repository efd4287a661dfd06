"""SAM's mask decoder, prompted for each class by embeddings of labelled regions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from samunet.networks.in_context import guess_map, guessed
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import NO_POINT, SURE, Prompts
from samunet.networks.region_tokens import MEAN, region_tokens
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, start_from
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS

SUPPORT = ("content", "kinds", "units", "weight", "bias")


class Fewshot(nn.Module):
    """Embeddings (B, D, g, g) -> logits (B, K, 4g, 4g): one decoder pass for each class, prompted by the support.

    Inspired by Xie et al., "SAM Fewshot Finetuning" (WACV 2024; no code; pooling, tokens, loss and schedule are not
    published): the encoder is frozen, embeddings of annotated regions from a few labelled slices take the place of a
    user's prompts, and only the mask decoder is trained. Our additions:

    - Each support slice gives tokens for the region and for the rest: the mean of either, or several by one of two
      other rules, see `region_tokens`. The training cases decide which rule is best, see `variants.token_choice`.
      Their types are SAM's embeddings of a foreground and a background point, trained further; they have no position.
    - A ridge regression from all cells of the support guesses each class; the guess is SAM's mask prompt, see
      `in_context`.
    - In training, support of the image's own case is left out (of its own part, if there is one case). Each batch is
      prompted by a new random part of the support slices, and some images without the guess.
    - The background's logit is a trained constant; classes compete by softmax. Regions have logits of their own.

    Several separately encoded channels are averaged.

    Arguments:
        prompted: number of prompted classes. background: whether a constant channel comes before them.
        input_size: pixels of the encoder's input.
        sam_state: SAM's checkpoint to start from; without decoder weights the start is random.
        dropped: share of the support slices that a training batch leaves out. unmasked: share of its images that are
            prompted without the guess.
    """

    content: Tensor
    kinds: Tensor
    units: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(
        self, prompted: int, background: bool, input_size: int, sam_state: Mapping[str, Tensor], *, dropped: float,
        unmasked: float
    ) -> None:
        super().__init__()
        self.dropped, self.unmasked = dropped, unmasked
        self.decoder, self.prompts = build_mask_decoder(), build_prompt_encoder(input_size)
        start_from(self.decoder, "mask_decoder.", sam_state)
        start_from(self.prompts, "prompt_encoder.", sam_state)
        # Masks for ambiguous prompts, the rating and the box embeddings have no loss.
        for unused in (self.decoder.iou_prediction_head, *self.decoder.output_hypernetworks_mlps[1:],
                       *self.prompts.point_embeddings[2:]):
            unused.requires_grad_(False)
        self.background = nn.Parameter(torch.zeros(1)) if background else None
        # No support yet.
        self.register_buffer("content", torch.zeros(0, prompted, 2, EMBEDDING_CHANNELS))
        self.register_buffer("kinds", torch.zeros(0, prompted, 2, dtype=torch.long))
        self.register_buffer("units", torch.zeros(0, dtype=torch.long))
        self.register_buffer("weight", _no_guess(prompted)[0][None])
        self.register_buffer("bias", _no_guess(prompted)[1][None])

    @torch.no_grad()
    def set_support(
        self, embeddings: Tensor, coverage: Tensor, units: Tensor, prompting: Tensor, rule: str = MEAN
    ) -> None:
        """Use these regions as prompts from now on.

        Arguments:
            embeddings: labelled images, float32 (S, D, g, g).
            coverage: share of each cell that each class covers, float32 (S, K, g, g).
            units: int64 (S,), from 0 on: support slices of one unit are left out together.
            prompting: int64 (T,), the images whose regions become tokens; the guess uses all images.
            rule: of `region_tokens`.
        """
        self.set_tokens(embeddings[prompting], coverage[prompting], rule)
        self.units = units[prompting]
        embeddings = joined(embeddings)
        # One guess without each unit, then one from all: -1 finds the last.
        left = [units != unit for unit in range(int(units.max()) + 1)] + [torch.ones_like(units, dtype=torch.bool)]
        maps = [guess_map(embeddings[used], coverage[used]) if bool(used.any()) else _no_guess(coverage.shape[1])
                for used in left]
        self.weight, self.bias = (torch.stack([each[part] for each in maps]) for part in (0, 1))

    @torch.no_grad()
    def set_tokens(self, embeddings: Tensor, coverage: Tensor, rule: str) -> None:
        """Compute the tokens of T prompting images, float32 (T, D, g, g) and (T, K, g, g), by another rule."""
        tokens = [region_tokens(joined(embeddings), coverage[:, label], rule) for label in range(coverage.shape[1])]
        self.content = torch.stack([content for content, _ in tokens], 1)  # (T, K, 2 M, 256)
        self.kinds = torch.stack([kinds for _, kinds in tokens], 1)

    def forward(self, embeddings: Tensor, units: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, 4g, 4g); `units` int64 (B,): support to leave out, -1 for none."""
        images = joined(embeddings)
        prompts = self._prompts_for(units, guessed(images, self.weight[units], self.bias[units]))
        classes = self.content.shape[1]
        sparse, dense = prompts.encode(self.prompts)
        masks, _ = decode_masks(self.decoder, images.repeat_interleave(classes, 0), self.prompts.get_dense_pe(),
                                sparse, dense)
        logits = masks[:, 0].unflatten(0, (len(images), classes))
        if self.background is None:
            return logits
        return torch.cat([self.background.view(1, 1, 1, 1).expand(len(logits), 1, *logits.shape[2:]), logits], 1)

    def _prompts_for(self, units: Tensor, guesses: Tensor) -> Prompts:
        """One prompt for each image and class; the classes of an image are adjacent."""
        batch, classes, side = len(units), guesses.shape[1], 4 * guesses.shape[-1]
        prompting = torch.arange(len(self.units), device=units.device)
        masked = torch.ones(batch, dtype=torch.bool, device=units.device)
        if self.training:
            # The others are left out of the whole batch, not only masked, which saves their computation.
            used = math.ceil(len(prompting) * (1 - self.dropped))
            prompting = torch.randperm(len(prompting), device=units.device)[:used]
            masked = torch.rand(batch, device=units.device) >= self.unmasked
        other = self.units[prompting] != units[:, None]  # (B, T)
        kinds = torch.where(other[:, :, None, None], self.kinds[prompting], NO_POINT)  # (B, T, K, 2 M)
        content = self.content[prompting] * (kinds != NO_POINT)[..., None]
        masks = interpolate(guesses, (side, side), mode="bilinear", align_corners=False)
        return Prompts(content.transpose(1, 2).flatten(2, 3).flatten(0, 1),
                       kinds.transpose(1, 2).flatten(2, 3).flatten(0, 1),
                       masks.flatten(0, 1)[:, None], masked.repeat_interleave(classes))


def joined(embeddings: Tensor) -> Tensor:
    """Embeddings (B, n * 256, g, g) of n separately encoded channels -> their mean (B, 256, g, g)."""
    return embeddings.unflatten(1, (-1, EMBEDDING_CHANNELS)).mean(1)


def _no_guess(classes: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(classes, EMBEDDING_CHANNELS), torch.full((classes,), -SURE)
