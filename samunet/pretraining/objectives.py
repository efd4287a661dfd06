"""Losses of a batch and its embeddings that need no mask decoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pixel_unshuffle, smooth_l1_loss

from samunet.networks.ridge import ridge
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE
from samunet.pretraining.batches import Batch
from samunet.pretraining.regions import SMALLEST_REGION, cell_coverage, majority

PURE = 0.7  # share of a cell that one label must cover for the contrastive loss
CELLS = 256  # sampled from each family for the contrastive loss
TEMPERATURE = 0.2
CONTRAST_CHANNELS = 128
FIRST_RIDGE, FIRST_SHARPNESS = 50.0, 3.0  # penalty in cells, and what the probe's answers in [0, 1] are multiplied by
CLEAN_SCALE = 4.0  # clean blocks are in [0, 1] with a standard deviation of about 1/4
WAVES = 8  # cosine waves along each side of the image that encode a position
PLACE_ERROR = 0.3  # of the waves' mean square; a smaller error has no gradient, which leaves capacity for the content


class Objectives(nn.Module):
    """Auxiliary parameters that are trained with SAM and discarded: a projection, and the probes' penalties."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Conv2d(EMBEDDING_CHANNELS, CONTRAST_CHANNELS, 1)
        self.log_ridge = nn.Parameter(torch.tensor(FIRST_RIDGE).log())
        self.log_block_ridge = nn.Parameter(torch.tensor(FIRST_RIDGE).log())
        self.log_place_ridge = nn.Parameter(torch.tensor(FIRST_RIDGE).log())
        self.log_sharpness = nn.Parameter(torch.tensor(FIRST_SHARPNESS).log())


@dataclass(frozen=True)
class Encoded:
    """A batch with its embeddings float (F, P, S, 256, g, g) and its cells' coverage (F, P, S, LABELS, g, g)."""

    batch: Batch
    embeddings: Tensor
    coverage: Tensor

    @classmethod
    def of(cls, batch: Batch, encode: Callable[[Tensor], Tensor]) -> Encoded:
        """The batch, its images (N, 3, H, H) embedded by `encode` as (N, 256, g, g)."""
        lead = batch.images.shape[:3]
        embeddings = encode(batch.images.flatten(0, 2))
        return cls(batch, embeddings.unflatten(0, lead), cell_coverage(batch))

    def inside_of_slices(self) -> Tensor:
        """bool (F, P, S, H, H)."""
        return self.batch.inside[:, :, None].expand_as(self.batch.labels)


def contrastive(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, eq. 2); positives are cells of one label in different images.

    Cells of the same image are excluded, because neighbours are similar for other reasons than their label.
    """
    families = len(encoded.embeddings)
    features = extra.projection(encoded.embeddings.flatten(0, 2))
    features = features.movedim(1, -1).reshape(families, -1, CONTRAST_CHANNELS)
    # Without centring, the features collapse in the first steps.
    features = normalize(features - features.mean(1, keepdim=True), dim=-1)
    label, share = majority(encoded.coverage)
    images = encoded.coverage.shape[1] * encoded.coverage.shape[2]
    label, share = label.reshape(families, -1), share.reshape(families, -1)
    cells_each = label.shape[1] // images
    chances = (share >= PURE).float() + 1e-6
    chosen = torch.multinomial(chances, min(CELLS, label.shape[1]), generator=generator)
    features = features.gather(1, chosen[..., None].expand(-1, -1, CONTRAST_CHANNELS))
    label, pure = label.gather(1, chosen), share.gather(1, chosen) >= PURE
    image = chosen // cells_each
    usable = pure[:, :, None] & pure[:, None, :] & (image[:, :, None] != image[:, None, :])
    same = usable & (label[:, :, None] == label[:, None, :])
    similar = features @ features.transpose(1, 2) / TEMPERATURE
    log_sum = similar.masked_fill(~usable, -1e4).logsumexp(2, keepdim=True)
    positives = same.sum(2)
    each = ((log_sum - similar) * same).sum(2) / positives.clamp_min(1)
    return each[positives > 0].mean() if bool((positives > 0).any()) else each.sum() * 0


def probe(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """Cross entropy of a linear probe that is fitted in closed form on half of a family's patients, on the other half.

    The probe is a differentiable ridge regression from cells to label shares (R2-D2, Bertinetto et al. 2019, section
    3.1) with learned penalty and sharpness. Labels that are missing in the fitted half are ignored.
    """
    fitted, read = _halves(encoded.embeddings.shape[1], generator)
    features, shares = _cells(encoded.embeddings), _cells(encoded.coverage)
    target, wanted = shares[:, fitted].flatten(1, 2), shares[:, read].flatten(1, 2)
    answer = ridge(features[:, fitted].flatten(1, 2), target, features[:, read].flatten(1, 2), extra.log_ridge.exp())
    known = (target.sum(1, keepdim=True) >= SMALLEST_REGION).float()
    logits = answer * extra.log_sharpness.exp() - 1e4 * (1 - known)
    wanted = wanted * known
    return -(wanted * logits.log_softmax(-1)).sum() / wanted.sum().clamp_min(1)


def reconstruction(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """Smooth L1 error of predicting the clean 16 x 16 block under each token from that token, in standard deviations.

    The prediction is a ridge regression as in `probe`, fitted on half of the patients of all families. A learned head
    would find the few directions in which blocks differ most, and the embeddings would collapse to these.
    """
    fitted, read = _halves(encoded.embeddings.shape[1], generator)
    slices = encoded.batch.clean.shape[2]
    inside = encoded.batch.inside[:, :, None].expand(-1, -1, slices, -1, -1).float()
    clean = (encoded.batch.clean - 0.5) * CLEAN_SCALE * inside
    blocks, known = (_cells(pixel_unshuffle(each.flatten(0, 2)[:, None], PATCH_SIZE).unflatten(0, each.shape[:3]))
                     for each in (clean, inside))
    features = _cells(encoded.embeddings)
    seen, unseen = features[:, fitted].flatten(0, 2)[None], features[:, read].flatten(0, 2)[None]
    answer = ridge(seen, blocks[:, fitted].flatten(0, 2)[None], unseen, extra.log_block_ridge.exp())
    known = known[:, read].flatten(0, 2)[None]
    wrong = smooth_l1_loss(answer, blocks[:, read].flatten(0, 2)[None], reduction="none")
    return (wrong * known).sum() / known.sum().clamp_min(1)


def position(encoded: Encoded, extra: Objectives, generator: torch.Generator) -> Tensor:
    """Mean squared error, beyond PLACE_ERROR, of predicting each token's position (`places`) from that token.

    The prediction is a ridge regression as in `reconstruction`. In datasets with consistent crops, position helps a
    linear head more than brightness. The other losses do not preserve its finer waves.
    """
    fitted, read = _halves(encoded.embeddings.shape[1], generator)
    features = _cells(encoded.embeddings)
    waves = places(encoded.embeddings.shape[-1], features.device)
    seen, unseen = features[:, fitted].flatten(0, 2), features[:, read].flatten(0, 2)
    target, wanted = (waves.repeat(len(tokens) // len(waves), 1) for tokens in (seen, unseen))
    answer = ridge(seen[None], target[None], unseen[None], extra.log_place_ridge.exp())[0]
    return ((answer - wanted).square().mean() - PLACE_ERROR).clamp_min(0)


def places(grid: int, device: torch.device) -> Tensor:
    """Cosine waves at the cells of a grid x grid image, float (grid * grid, K), each with mean 0 and mean square 1.

    All products of a wave along the rows and one along the columns, with 0 to WAVES - 1 half periods, except the
    constant.
    """
    count = min(WAVES, grid)
    along = (torch.arange(grid, device=device) + 0.5) * math.pi / grid
    waves = torch.cos(along[:, None] * torch.arange(count, device=device)) * math.sqrt(2)
    waves[:, 0] = 1.0
    return torch.einsum("yi,xj->yxij", waves, waves).reshape(grid * grid, -1)[:, 1:]


def _halves(patients: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(patients, generator=generator, device=generator.device)
    return order[: patients // 2], order[patients // 2 :]


def _cells(maps: Tensor) -> Tensor:
    """(F, P, S, C, g, g) -> (F, P, S * g * g, C)."""
    return maps.movedim(3, -1).flatten(2, 4)
