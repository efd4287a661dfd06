"""Validation of an encoder on unseen synthetic families, and on phantoms of another generator."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, one_hot

from samunet.dataset.phantom import make_phantom_dataset
from samunet.inputs.encoder_input import INPUT_STATISTICS, Z_SCORE_RANGE
from samunet.networks.in_context import RIDGE, region_prompts
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import MASK_SCALE, Prompts, box_prompts
from samunet.networks.ridge import ridge
from samunet.networks.sam import Sam, set_input_size
from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import BatchShape, make_batch
from samunet.pretraining.objectives import places
from samunet.pretraining.queries import tight_boxes
from samunet.pretraining.regions import SMALLEST_REGION, cell_coverage

VALIDATION_SEED = 900_001  # far from all training seeds
FAMILIES, PATIENTS, SLICES = 12, 4, 3
LABELLED = 2  # patients of each family that a probe or a prompt may learn from
PHANTOMS, PHANTOM_SLICES = 4, 8
NOTHING = 255  # the label of padding


@torch.no_grad()
def validate(sam: Sam, size: int, device: torch.device) -> dict[str, float]:
    """Metrics in [0, 1], higher is better.

    place: R2 of predicting `objectives.places` by a ridge regression fitted on tokens of other synthetic families.
    probe_made, probe_phantom: mean Dice over labels, on the token grid, of a ridge regression from embeddings to labels
    that is fitted on two patients of a family and evaluated on the others. in_context: mean IoU of masks prompted by
    the regions of the two. box, ellipse: mean IoU of masks prompted by tight boxes on synthetic images, and of the
    ellipses in those boxes.
    """
    set_input_size(sam, size)
    shape = BatchShape(FAMILIES, PATIENTS, SLICES, size)
    batch = make_batch(shape, VALIDATION_SEED, 0, device)
    embeddings = torch.stack([sam.image_encoder(family.flatten(0, 1)) for family in batch.images])
    embeddings = embeddings.unflatten(1, (PATIENTS, SLICES))
    coverage = cell_coverage(batch)
    probes = [probe_dice(each, shares) for each, shares in zip(_standardised(embeddings), coverage, strict=True)]
    figures = {"probe_made": float(np.mean(probes)), "place": place_r2(_standardised(embeddings)),
               "in_context": _in_context_iou(embeddings, coverage, sam)}
    labels = batch.labels.where(batch.inside[:, :, None], NOTHING)[:, LABELLED:]
    figures["box"], figures["ellipse"] = _box_iou(embeddings[:, LABELLED:].flatten(0, 2), labels.flatten(0, 2), sam)
    phantoms, truth = _phantoms(size, device)
    embedded = torch.stack([sam.image_encoder(patient) for patient in phantoms])
    figures["probe_phantom"] = probe_dice(_standardised(embedded), truth)
    return {name: round(value, 4) for name, value in figures.items()}


def probe_dice(embeddings: Tensor, coverage: Tensor) -> float:
    """Mean Dice over the labels present in both sets, of a ridge probe fitted on the first LABELLED patients.

    The penalty is on the constant, too.

    Arguments:
        embeddings: float (P, S, 256, g, g). coverage: float (P, S, L, g, g), shares of cells that labels cover.
    """
    features = embeddings.movedim(2, -1).flatten(1, 3)
    truth = coverage.movedim(2, -1).flatten(1, 3)
    seen, target = features[:LABELLED].flatten(0, 1), truth[:LABELLED].flatten(0, 1)
    answer = ridge(seen[None], target[None], features[LABELLED:].flatten(0, 1)[None], RIDGE)[0]
    wanted = truth[LABELLED:].flatten(0, 1)
    found = one_hot(answer.argmax(1), coverage.shape[2]) * wanted.sum(1, keepdim=True)  # padding does not count
    usable = (target.sum(0) >= SMALLEST_REGION) & (wanted.sum(0) >= SMALLEST_REGION)
    dice = 2 * torch.minimum(found, wanted).sum(0) / (found.sum(0) + wanted.sum(0)).clamp_min(1e-6)
    return float(dice[usable].mean())


def place_r2(embeddings: Tensor) -> float:
    """R2 of the waves that encode a token's position, fitted on half of the families, evaluated on the other half.

    Arguments:
        embeddings: float (F, P, S, 256, g, g).
    """
    waves = places(embeddings.shape[-1], embeddings.device)
    features = embeddings.flatten(1, 2).flatten(3).transpose(2, 3).flatten(1, 2)  # (F, P * S * g * g, 256)
    seen, unseen = features.tensor_split(2)
    target, wanted = (waves.repeat(half.shape[0] * half.shape[1] // len(waves), 1) for half in (seen, unseen))
    answer = ridge(seen.flatten(0, 1)[None], target[None], unseen.flatten(0, 1)[None], RIDGE)[0]
    return float(1 - (answer - wanted).square().mean())  # the waves' mean square is 1


def _standardised(embeddings: Tensor) -> Tensor:
    """Embeddings float (..., 256, g, g) with mean 0 and standard deviation 1 in each channel, as `ridge` expects."""
    others = [axis % embeddings.ndim for axis in range(-embeddings.ndim, 0) if axis != -3]
    std, mean = torch.std_mean(embeddings, others, keepdim=True)
    return (embeddings - mean) / std.clamp_min(1e-6)


def _in_context_iou(embeddings: Tensor, coverage: Tensor, sam: Sam) -> float:
    """Mean IoU, on the token grid, over families, labels and the slices of unlabelled patients that show the label."""
    grid, found = embeddings.shape[-1], []
    for family in range(len(embeddings)):
        support, shares = embeddings[family, :LABELLED].flatten(0, 1), coverage[family, :LABELLED].flatten(0, 1)
        queries, truth = embeddings[family, LABELLED:].flatten(0, 1), coverage[family, LABELLED:].flatten(0, 1)
        for label, prompts in enumerate(region_prompts(support, shares, queries)):
            shown = truth[:, label].sum((1, 2)) >= SMALLEST_REGION
            if shares[:, label].sum() < SMALLEST_REGION or not bool(shown.any()):
                continue
            mask = _masks(queries[shown], prompts[shown], sam)
            mask = mask.unflatten(1, (grid, -1)).unflatten(3, (grid, -1)).mean((2, 4))
            found += _iou(mask, truth[shown, label]).tolist()
    return float(np.mean(found))


def _box_iou(embeddings: Tensor, labels: Tensor, sam: Sam) -> tuple[float, float]:
    """Mean IoU, over images and the labels that they show, of masks prompted by tight boxes, and of ellipses in those.

    Arguments:
        embeddings: float (N, 256, g, g). labels: uint8 (N, H, H), NOTHING where there is padding.
    """
    found = []
    for image, shown in zip(embeddings, labels, strict=True):
        present = torch.stack([shown == label for label in range(LABELS)])
        masks = present[present.sum((1, 2)) >= SMALLEST_REGION * PATCH_SIZE**2]
        truth = avg_pool2d(masks[:, None].float(), MASK_SCALE)[:, 0]
        prompts = box_prompts(tight_boxes(masks), sam.prompt_encoder)
        answers = (_masks(image.expand(len(masks), -1, -1, -1), prompts, sam), (prompts.masks[:, 0] > 0).float())
        found.append(torch.stack([_iou(answer, truth) for answer in answers], 1))
    means = torch.cat(found).mean(0).tolist()
    return means[0], means[1]


def _masks(embeddings: Tensor, prompts: Prompts, sam: Sam) -> Tensor:
    """The decoder's mask 0, 0 or 1, float (N, 4g, 4g)."""
    sparse, dense = prompts.encode(sam.prompt_encoder)
    logits, _ = decode_masks(sam.mask_decoder, embeddings, sam.prompt_encoder.get_dense_pe(), sparse, dense)
    return (logits[:, 0] > 0).float()


def _iou(found: Tensor, truth: Tensor) -> Tensor:
    """(N,) of masks (N, h, w) of shares in [0, 1]."""
    return torch.minimum(found, truth).sum((1, 2)) / torch.maximum(found, truth).sum((1, 2)).clamp_min(1e-6)


def phantom_images(size: int, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Slices of the demo's phantoms, preprocessed like z-scored images.

    Returns:
        images float32 (P, S, 3, size, size), and the labels of each phantom uint8 (S, side, side) over the same
        squares, NOTHING in the padding.
    """
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_phantom_dataset(Path(folder), cases=PHANTOMS, test_cases=0, seed=seed)
        cases = [(_array(dataset / "imagesTr" / f"phantom_{index:03d}_0000.nii.gz"),
                  _array(dataset / "labelsTr" / f"phantom_{index:03d}.nii.gz")) for index in range(PHANTOMS)]
    images, shown = [], []
    mean, std = INPUT_STATISTICS["mini"]
    for image, labels in cases:
        unit = (image - image.mean()) / image.std() / (2 * Z_SCORE_RANGE) + 0.5
        places = np.linspace(2, len(image) - 3, PHANTOM_SLICES).round().astype(int)
        stack = torch.from_numpy(np.stack([unit[place - 1 : place + 2] for place in places]).clip(0, 1)).float()
        side = max(stack.shape[2:])
        whole = torch.full((len(places), 3, side, side), mean[0])
        whole[..., : stack.shape[2], : stack.shape[3]] = stack
        images.append((interpolate(whole, (size, size), mode="bilinear") - mean[0]) / std[0])
        known = torch.full((len(places), side, side), NOTHING, dtype=torch.uint8)
        known[:, : stack.shape[2], : stack.shape[3]] = torch.from_numpy(labels[places].astype(np.uint8))
        shown.append(known)
    return torch.stack(images), shown


def _phantoms(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (P, S, 3, size, size) of phantoms, and how much of each cell their labels cover, (P, S, L, g, g)."""
    images, labels = phantom_images(size, VALIDATION_SEED)
    grid, coverage = size // PATCH_SIZE, []
    for shown in labels:
        values = range(int(shown[shown != NOTHING].max()) + 1)
        truth = torch.stack([shown == value for value in values], 1).float()
        coverage.append(interpolate(truth, (grid, grid), mode="area"))
    return images.to(device), torch.stack(coverage).to(device)


def _array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
