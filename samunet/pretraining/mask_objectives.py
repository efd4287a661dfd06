"""What the mask decoder is trained to do, and the encoder through it: masks asked for by points, boxes and other pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from samunet.networks.in_context import no_mask, region_tokens
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.sam import Sam
from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.regions import SMALLEST_REGION, drawn_labels, target_masks

PROMPTS = 2  # of each picture; decoding costs little beside encoding
FOCAL_POWER = 2.0
FOCAL_WEIGHT = 2.0  # of the focal loss against the Dice loss; SAM's 20 : 1 is for a mean over all pixels
BOX_JITTER = 0.1  # of the box's side, as SAM draws it (Kirillov et al. 2023, appendix A)
ABSENT_SHARE = 0.15  # of in-context targets that do not hold the region


def promptable(encoded: Encoded, sam: Sam, generator: torch.Generator) -> Tensor:
    """Point or box, then one corrective click with the first mask as a prompt; after SAM's own training (appendix A).

    Every picture is asked about PROMPTS times. Half of the prompts are a point and may be answered by any of the three masks
    for ambiguous prompts, half a box; mask 0 is trained on all, and the predicted IoU on the IoU found.
    """
    embeddings, mask, target, known = _asked(encoded, generator)
    prompts, decoder = sam.prompt_encoder, sam.mask_decoder
    positions, dense = prompts.get_dense_pe(), no_mask(prompts, embeddings.shape[-1])
    half = len(mask) // 2
    points = prompts._embed_points(_random_pixels(mask[:half], generator)[:, None],
                                   torch.ones(half, 1, device=mask.device), pad=True)
    boxes = prompts._embed_boxes(_jittered_boxes(mask[half:], generator))
    sparse = torch.cat([points, boxes])
    logits, rating = decode_masks(decoder, embeddings, positions, sparse, dense)
    loss = mask_loss(logits[:, 0], target, known).mean() + rating_loss(logits, rating, target, known)
    ambiguous = torch.stack([mask_loss(logits[:half, index], target[:half], known[:half])
                             for index in range(1, logits.shape[1])])
    loss = loss + 0.5 * ambiguous.amin(0).mean()
    click, kind = _correction(logits[:, 0].detach(), target, known, PATCH_SIZE // 4, generator)
    sparse = torch.cat([sparse, prompts._embed_points(click[:, None], kind[:, None], pad=False)], 1)
    dense = prompts.mask_downscaling(logits[:, :1].detach())
    logits, rating = decode_masks(decoder, embeddings, positions, sparse, dense)
    return loss + mask_loss(logits[:, 0], target, known).mean() + rating_loss(logits, rating, target, known)


def inscribed(encoded: Encoded, sam: Sam, generator: torch.Generator) -> Tensor:
    """A decoder's first lesson: a box, answered by the ellipse inscribed in it, whatever the picture shows.

    That a box says where is learned so in some hundred steps. Masks of all shapes teach it only slowly: for long, a
    decoder that heeds the picture alone does not do worse.
    """
    embeddings, mask, _, known = _asked(encoded, generator)
    prompts = sam.prompt_encoder
    boxes = _jittered_boxes(mask, generator)
    logits, rating = decode_masks(sam.mask_decoder, embeddings, prompts.get_dense_pe(), prompts._embed_boxes(boxes),
                                  no_mask(prompts, embeddings.shape[-1]))
    target = _ellipses(boxes, logits.shape[-1], PATCH_SIZE // 4)
    return mask_loss(logits[:, 0], target, known).mean() + rating_loss(logits, rating, target, known)


def _asked(encoded: Encoded, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every picture PROMPTS times, in random order, with a label that it shows.

    Returns:
        embeddings (N, 256, g, g), the label's mask bool (N, H, H), and `target_masks` of it.
    """
    pictures = encoded.batch.labels.shape[:3].numel()
    order = torch.randperm(pictures * PROMPTS, generator=generator, device=generator.device) % pictures
    labels, inside = encoded.batch.labels.flatten(0, 2)[order], encoded.flat_inside()[order]
    area = encoded.coverage.flatten(0, 2)[order].sum((2, 3))
    wanted = drawn_labels((area >= SMALLEST_REGION) * area.clamp_min(0).sqrt(), generator)
    embeddings = encoded.embeddings.flatten(0, 2)[order]
    mask = (labels == wanted[:, None, None]) & inside
    return embeddings, mask, *target_masks(labels, inside, wanted, labels.shape[-1] // (4 * embeddings.shape[-1]))


def in_context(encoded: Encoded, sam: Sam, generator: torch.Generator) -> Tensor:
    """Tokens of a region in one to all other patients of the family prompt the decoder on this patient."""
    patients = encoded.embeddings.shape[1]
    supports = int(torch.randint(1, patients, (1,), generator=generator, device=generator.device))
    order = torch.randperm(patients, generator=generator, device=generator.device).tolist()
    area = encoded.coverage.sum((4, 5))  # (F, P, S, LABELS)
    tokens, wanted = [], []
    for place, patient in enumerate(order):
        chosen = [order[(place + offset) % patients] for offset in range(1, supports + 1)]
        wanted.append(_wanted(area[:, patient], area[:, chosen].amax((1, 2)), generator))
        tokens.append(_support_tokens(encoded, chosen, wanted[-1], sam.prompt_encoder))
    return _answered(encoded, order, torch.stack(wanted, 1).flatten(), torch.stack(tokens, 1).flatten(0, 2), sam)


def _wanted(area: Tensor, supported: Tensor, generator: torch.Generator) -> Tensor:
    """Label (F, S) asked of each slice: one that the supports show, and mostly this slice too.

    Arguments:
        area: cells that each label covers, float (F, S, LABELS). supported: the same in the supports, (F, LABELS).
    """
    known = (supported >= SMALLEST_REGION)[:, None]
    absent = torch.rand((*area.shape[:2], 1), generator=generator, device=area.device) < ABSENT_SHARE
    weights = torch.where(absent, known * (area == 0), known * area.sqrt()).float()
    # Where no label is both, any that the supports show: what they do not show cannot be asked for.
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, known.float().expand_as(weights))
    return drawn_labels(weights.flatten(0, 1), generator).view(area.shape[:2])


def _answered(encoded: Encoded, asked: list[int], wanted: Tensor, tokens: Tensor, sam: Sam) -> Tensor:
    """Loss of the decoder's masks on the slices of patients `asked`, for labels and tokens in that order."""
    slices, grid = encoded.batch.labels.shape[2], encoded.embeddings.shape[-1]
    labels = encoded.batch.labels[:, asked].flatten(0, 2)
    inside = encoded.batch.inside[:, asked].flatten(0, 1).repeat_interleave(slices, 0)
    target, known = target_masks(labels, inside, wanted, labels.shape[-1] // (4 * grid))
    prompts = sam.prompt_encoder
    logits, rating = decode_masks(sam.mask_decoder, encoded.embeddings[:, asked].flatten(0, 2),
                                  prompts.get_dense_pe(), tokens, no_mask(prompts, grid))
    return mask_loss(logits[:, 0], target, known).mean() + rating_loss(logits, rating, target, known)


def _support_tokens(encoded: Encoded, chosen: list[int], wanted: Tensor, prompts: nn.Module) -> Tensor:
    """(F, S, 2 * len(chosen) * S, 256): tokens of every slice of the chosen patients, for the labels `wanted` (F, S)."""
    families, slices = wanted.shape
    embeddings = encoded.embeddings[:, chosen].flatten(1, 2)  # (F, M, 256, g, g)
    coverage = encoded.coverage[:, chosen].flatten(1, 2)
    count = embeddings.shape[1]
    picked = coverage.gather(2, wanted[:, None, :, None, None].expand(-1, count, -1, *coverage.shape[3:]))
    picked = picked.transpose(1, 2).flatten(0, 2)  # (F * S * M, g, g)
    repeated = embeddings[:, None].expand(-1, slices, *embeddings.shape[1:]).flatten(0, 2)
    return region_tokens(repeated, picked, prompts).view(families, slices, count * 2, -1)


def mask_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Focal and Dice loss of each mask: logits, target in [0, 1], known in [0, 1], all (N, h, w) -> (N,).

    The focal loss is a mean over the mask plus a mean over the rest (SAM's is one mean over all pixels): small masks weigh as
    much as large ones, and a decoder that starts from nothing does not learn first that no mask is the safest answer.
    """
    chance = logits.sigmoid()
    wrong = (chance - target).abs() ** FOCAL_POWER
    focal = binary_cross_entropy_with_logits(logits, target, reduction="none") * wrong * known
    inner, outer = target * known, (1 - target) * known
    focal_inner = (focal * target).sum((1, 2)) / inner.sum((1, 2)).clamp_min(1)
    focal_outer = (focal * (1 - target)).sum((1, 2)) / outer.sum((1, 2)).clamp_min(1)
    overlap = (2 * (chance * inner).sum((1, 2)) + 1) / ((chance * known).sum((1, 2)) + inner.sum((1, 2)) + 1)
    return FOCAL_WEIGHT * (focal_inner + focal_outer) + 1 - overlap


def rating_loss(logits: Tensor, rating: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of the predicted IoU; logits (N, M, h, w), rating (N, M)."""
    found = (logits.detach() > 0) & (known > 0.5)[:, None]
    wanted = (target > 0.5)[:, None]
    union = (found | wanted).sum((2, 3))
    iou = torch.where(union > 0, (found & wanted).sum((2, 3)) / union.clamp_min(1), 1.0)
    return mse_loss(rating, iou.float())


def _random_pixels(mask: Tensor, generator: torch.Generator) -> Tensor:
    """One pixel (x, y) of each mask bool (N, H, W), float (N, 2); anywhere if the mask is empty."""
    chosen = torch.multinomial(mask.flatten(1).float() + 1e-9, 1, generator=generator)[:, 0]
    return torch.stack([chosen % mask.shape[2], chosen // mask.shape[2]], 1).float()


def _jittered_boxes(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Tight boxes (x0, y0, x1, y1) float (N, 4) of masks bool (N, H, W), each side moved at random; whole if empty."""
    size = mask.shape[1]
    ends = []
    for axis in (1, 2):  # columns, then rows, that hold the mask
        held = mask.any(axis)
        first = held.float().argmax(1)
        last = size - held.flip(1).float().argmax(1)
        empty = ~held.any(1)
        ends.append((first.masked_fill(empty, 0).float(), last.masked_fill(empty, size).float()))
    box = torch.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], 1)
    side = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], 1).repeat(1, 2)
    noise = torch.randn(box.shape, generator=generator, device=box.device).clamp(-2, 2)
    return (box + noise * side * BOX_JITTER / 2).clamp(0, size)


def _ellipses(boxes: Tensor, side: int, scale: int) -> Tensor:
    """The ellipse inscribed in each box (x0, y0, x1, y1) of input pixels, float (N, side, side) of 0 and 1."""
    middles = (torch.arange(side, device=boxes.device) + 0.5) * scale
    low, high = boxes[:, :2], boxes[:, 2:]
    along = ((middles - (low + high)[..., None] / 2) / ((high - low)[..., None] / 2).clamp_min(1e-3)) ** 2
    return (along[:, 0, None, :] + along[:, 1, :, None] <= 1).float()


def _correction(
    logits: Tensor, target: Tensor, known: Tensor, scale: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A click (x, y) in input pixels where mask and target differ, and its kind: 1 inside the target, 0 outside, float (N,)."""
    wanted = target > 0.5
    error = ((logits > 0) != wanted) & (known > 0.5)
    pixel = _random_pixels(error, generator).long()
    kind = wanted[torch.arange(len(wanted), device=wanted.device), pixel[:, 1], pixel[:, 0]]
    return (pixel.float() + 0.5) * scale - 0.5, kind.float()
