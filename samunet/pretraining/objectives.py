"""The things that the encoder is trained to do, as losses of a batch and its embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, normalize, pixel_unshuffle, smooth_l1_loss

from samunet.networks.in_context import no_mask, region_tokens
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.sam import Sam
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE
from samunet.pretraining.batches import Batch
from samunet.pretraining.regions import SMALLEST_REGION, cell_coverage, drawn_labels, majority, target_masks

FOCAL_POWER = 2.0
FOCAL_WEIGHT = 2.0  # of the focal loss against the Dice loss; SAM's 20 : 1 is for a mean over all pixels
BOX_JITTER = 0.1  # of the box's side, as SAM draws it (Kirillov et al. 2023, appendix A)
ABSENT_SHARE = 0.15  # of in-context targets that do not hold the region
PURE = 0.7  # share of a cell that one label must cover for the contrastive loss
CELLS = 256  # drawn from each family for the contrastive loss
TEMPERATURE = 0.2
CONTRAST_CHANNELS = 128
FIRST_RIDGE, FIRST_SHARPNESS = 50.0, 3.0  # penalty in cells, and what the probe's answers in [0, 1] are multiplied by
CLEAN_SCALE = 4.0  # clean blocks in [0, 1], of deviation about 1/4


class Objectives(nn.Module):
    """What is trained beside SAM and thrown away: the contrastive loss's projection, the probes' penalties."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Conv2d(EMBEDDING_CHANNELS, CONTRAST_CHANNELS, 1)
        self.log_ridge = nn.Parameter(torch.tensor(FIRST_RIDGE).log())
        self.log_block_ridge = nn.Parameter(torch.tensor(FIRST_RIDGE).log())
        self.log_sharpness = nn.Parameter(torch.tensor(FIRST_SHARPNESS).log())


@dataclass(frozen=True)
class Encoded:
    """A batch with its embeddings float (F, P, S, 256, g, g) and its cells' coverage (F, P, S, LABELS, g, g)."""

    batch: Batch
    embeddings: Tensor
    coverage: Tensor

    @classmethod
    def of(cls, batch: Batch, encode: Callable[[Tensor], Tensor]) -> Encoded:
        lead = batch.pictures.shape[:3]
        embeddings = encode(batch.pictures.flatten(0, 2))
        return cls(batch, embeddings.unflatten(0, lead), cell_coverage(batch))

    def flat_inside(self) -> Tensor:
        """bool (F * P * S, H, H)."""
        slices = self.batch.labels.shape[2]
        return self.batch.inside[:, :, None].expand(-1, -1, slices, -1, -1).flatten(0, 2)


def promptable(encoded: Encoded, sam: Sam, generator: torch.Generator) -> Tensor:
    """Point or box, then one corrective click with the first mask as a prompt; after SAM's own training (appendix A).

    Every picture is asked about once. Half of them get a point and may be answered by any of the three masks for ambiguous
    prompts, half a box; mask 0 is trained on all, and the predicted IoU on the IoU found.
    """
    pictures = encoded.batch.labels.shape[:3].numel()
    order = torch.randperm(pictures, generator=generator, device=generator.device)
    labels, inside = encoded.batch.labels.flatten(0, 2)[order], encoded.flat_inside()[order]
    coverage = encoded.coverage.flatten(0, 2)[order]
    area = coverage.sum((2, 3))
    wanted = drawn_labels((area >= SMALLEST_REGION) * area.clamp_min(0).sqrt(), generator)
    prompts, decoder = sam.prompt_encoder, sam.mask_decoder
    embeddings = encoded.embeddings.flatten(0, 2)[order]
    grid = embeddings.shape[-1]
    mask = (labels == wanted[:, None, None]) & inside
    target, known = target_masks(labels, inside, wanted, labels.shape[-1] // (4 * grid))
    positions, dense = prompts.get_dense_pe(), no_mask(prompts, grid)
    half = len(labels) // 2
    points = prompts._embed_points(_random_pixels(mask[:half], generator)[:, None],
                                   torch.ones(half, 1, device=labels.device), pad=True)
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


def contrastive(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """Supervised contrast (Khosla et al. 2020, eq. 2) between cells: of one label in different pictures of a family.

    Cells of the same picture are no positives: a neighbour is alike for other reasons than its label.
    """
    families = len(encoded.embeddings)
    features = extra.projection(encoded.embeddings.flatten(0, 2))
    features = features.movedim(1, -1).reshape(families, -1, CONTRAST_CHANNELS)
    # Centred, or the features fall together in the first steps and stay there.
    features = normalize(features - features.mean(1, keepdim=True), dim=-1)
    label, share = majority(encoded.coverage)
    pictures = encoded.coverage.shape[1] * encoded.coverage.shape[2]
    label, share = label.reshape(families, -1), share.reshape(families, -1)
    cells_each = label.shape[1] // pictures
    chances = (share >= PURE).float() + 1e-6
    chosen = torch.multinomial(chances, min(CELLS, label.shape[1]), generator=generator)
    features = features.gather(1, chosen[..., None].expand(-1, -1, CONTRAST_CHANNELS))
    label, pure = label.gather(1, chosen), share.gather(1, chosen) >= PURE
    picture = chosen // cells_each
    usable = pure[:, :, None] & pure[:, None, :] & (picture[:, :, None] != picture[:, None, :])
    same = usable & (label[:, :, None] == label[:, None, :])
    similar = features @ features.transpose(1, 2) / TEMPERATURE
    log_sum = similar.masked_fill(~usable, -1e4).logsumexp(2, keepdim=True)
    positives = same.sum(2)
    each = ((log_sum - similar) * same).sum(2) / positives.clamp_min(1)
    return each[positives > 0].mean() if bool((positives > 0).any()) else each.sum() * 0


def probe(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """A linear probe fitted in closed form on half of a family's patients must label the cells of the other half.

    Ridge regression from cells to label shares, differentiated through (R2-D2, Bertinetto et al. 2019, section 3.1), penalty and
    sharpness learned: the encoder is trained for what its users do with it. Labels that the fitted half lacks do not count.
    """
    fitted, read = _halves(encoded.embeddings.shape[1], generator)
    features, shares = _cells(encoded.embeddings), _cells(encoded.coverage)
    target, wanted = shares[:, fitted].flatten(1, 2), shares[:, read].flatten(1, 2)
    answer = _ridge(features[:, fitted].flatten(1, 2), target, features[:, read].flatten(1, 2), extra.log_ridge.exp())
    known = (target.sum(1, keepdim=True) >= SMALLEST_REGION).float()
    logits = answer * extra.log_sharpness.exp() - 1e4 * (1 - known)
    wanted = wanted * known
    return -(wanted * logits.log_softmax(-1)).sum() / wanted.sum().clamp_min(1)


def reconstruction(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """The clean 16 x 16 block under each token, told from that token alone (smooth L1 in deviations of a picture).

    Read out by ridge regression as the probe is, fitted on half of the patients of all families: a learned head finds the few
    directions in which blocks differ most, and the embeddings shrink to these.
    """
    fitted, read = _halves(encoded.embeddings.shape[1], generator)
    slices = encoded.batch.clean.shape[2]
    inside = encoded.batch.inside[:, :, None].expand(-1, -1, slices, -1, -1).float()
    clean = (encoded.batch.clean - 0.5) * CLEAN_SCALE * inside
    blocks, known = (_cells(pixel_unshuffle(each.flatten(0, 2)[:, None], PATCH_SIZE).unflatten(0, each.shape[:3]))
                     for each in (clean, inside))
    features = _cells(encoded.embeddings)
    seen, unseen = features[:, fitted].flatten(0, 2)[None], features[:, read].flatten(0, 2)[None]
    answer = _ridge(seen, blocks[:, fitted].flatten(0, 2)[None], unseen, extra.log_block_ridge.exp())
    known = known[:, read].flatten(0, 2)[None]
    wrong = smooth_l1_loss(answer, blocks[:, read].flatten(0, 2)[None], reduction="none")
    return (wrong * known).sum() / known.sum().clamp_min(1)


def _halves(patients: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(patients, generator=generator, device=generator.device)
    return order[: patients // 2], order[patients // 2 :]


def _cells(maps: Tensor) -> Tensor:
    """(F, P, S, C, g, g) -> (F, P, S * g * g, C)."""
    return maps.movedim(3, -1).flatten(2, 4)


def _ridge(seen: Tensor, target: Tensor, unseen: Tensor, penalty: Tensor) -> Tensor:
    """Answers (B, m, K) for `unseen` (B, m, D), of the ridge regression from `seen` (B, n, D) to `target` (B, n, K).

    The penalty is on the constant, too, so the answers of few cells shrink towards 0.
    """
    middle = seen.mean(1, keepdim=True)
    seen, unseen = (torch.cat([each - middle, torch.ones_like(each[..., :1])], -1) for each in (seen, unseen))
    gram = seen.transpose(1, 2) @ seen + penalty * torch.eye(seen.shape[-1], device=seen.device)
    return unseen @ torch.linalg.solve(gram, seen.transpose(1, 2) @ target)


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


def _correction(
    logits: Tensor, target: Tensor, known: Tensor, scale: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A click (x, y) in input pixels where mask and target differ, and its kind: 1 inside the target, 0 outside, float (N,)."""
    wanted = target > 0.5
    error = ((logits > 0) != wanted) & (known > 0.5)
    pixel = _random_pixels(error, generator).long()
    kind = wanted[torch.arange(len(wanted), device=wanted.device), pixel[:, 1], pixel[:, 0]]
    return (pixel.float() + 0.5) * scale - 0.5, kind.float()
