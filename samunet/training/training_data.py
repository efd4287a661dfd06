"""The batches of a run: which of its cases' data a variant trains on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from samunet.console import progress, say
from samunet.files import make_folder
from samunet.inputs.batches import Batches
from samunet.inputs.boxes import BoxSamples
from samunet.inputs.embeddings import RecentInputs
from samunet.inputs.image_crops import StoredCaseImageCrops
from samunet.inputs.image_stacks import CaseImageStacks, ImageStackAugmentation, ImageStackSamples
from samunet.inputs.patches import PairSamples, PatchAugmentation, PatchPick, PatchSampler, PatchSamples
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.queries import QuerySamples
from samunet.inputs.recent import Recent, RecentImages
from samunet.inputs.sampling import FOREGROUND_SHARE, LabelSlices, Pick, Sampler
from samunet.inputs.support import gather_support
from samunet.inputs.tiles import TileSamples
from samunet.inputs.volumes import CaseVolumes, VolumeAugmentation, VolumeSamples
from samunet.planning.encoder_rules import canvas_for
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.views import FIRST_CARRIED
from samunet.training.experiment import Experiment, LazyCases
from samunet.training.prior_images import FOLDER as PRIORS
from samunet.training.prior_images import PriorImages
from samunet.training.pseudo_labels import FOLDER as PSEUDO
from samunet.training.pseudo_labels import with_pseudo_labels
from samunet.training.token_choice import gather_judged, set_chosen_support
from samunet.training.transported_views import cached_name, with_transported_views
from samunet.variants.adapter_3d_box import Adapter3dBoxVariant
from samunet.variants.base import ImageCropVariant, ImageStackVariant, PatchVariant, TrainedVariant, VolumeVariant
from samunet.variants.fewshot import FewshotVariant
from samunet.variants.transport import MISPLACED_VOXELS, AugmentedVariant, SelfTrainedVariant, TransportVariant


def training_batches(experiment: Experiment, variant: TrainedVariant, run: dict[str, Any]) -> Batches[Pick]:
    """The batches of `variant`; what must be cached for them is cached here, and its seconds and views, of each case, told in `run`.

    Heads, stacks and encoders in the loop see the training cases and their augmented views, the same ones for all; patches and
    stacks of either kind are augmented as they are read.
    """
    if isinstance(variant, PatchVariant):
        return _patches(experiment, variant)
    run["views"] = _views(experiment, variant)
    numbers = [*range(1, run["views"] + 1)]
    if isinstance(variant, AugmentedVariant):
        run["transported_views"] = _transported_views(experiment, run["views"])
        if run["transported_views"]:
            experiment = with_transported_views(experiment)
            numbers[1::2] = [FIRST_CARRIED + number for number in numbers[1::2]]
    cases = experiment.train_cases
    names = [*cases, *(cached_name(experiment.arrays, name, number) for name in cases for number in numbers)]
    if isinstance(variant, SelfTrainedVariant):
        experiment, pseudo = _self_trained(experiment, run)
        names += pseudo
    if isinstance(variant, ImageCropVariant):
        return _tiles(experiment, _pictures(experiment, names))
    if isinstance(variant, ImageStackVariant):
        return _picture_stacks(experiment, variant, _pictures(experiment, names))
    started = time.perf_counter()
    embeddings = experiment.embeddings(names)
    run["seconds"]["embeddings"] = run["seconds"].get("embeddings", 0.0) + time.perf_counter() - started
    if isinstance(variant, VolumeVariant):
        return _stacks(experiment, variant, embeddings, run)
    if isinstance(variant, FewshotVariant):
        return _prompted(experiment, variant, embeddings, run)
    return _tiles(experiment, embeddings)


def pretraining_batches(experiment: Experiment, variant: PatchVariant) -> Batches[PatchPick]:
    """Pairs of augmented patches of the run's unlabelled cases."""
    names, settings = experiment.unlabelled_cases, experiment.settings
    shapes = [experiment.arrays.properties(name).shape for name in names]
    augmentation = PatchAugmentation(variant.patch, experiment.plans.dataset.use_mask_for_norm)
    sampler = PatchSampler(shapes, variant.patch, settings.batch_size, settings.seed)
    return Batches(names, sampler, PairSamples(names, experiment.arrays, augmentation))


def _views(experiment: Experiment, variant: TrainedVariant) -> int:
    """How many views each training case gets."""
    planned = experiment.views()
    if planned or not isinstance(variant, TransportVariant) or len(experiment.train_cases) > 1:
        return planned
    say("the plan's budget of pictures has no room for a view of the only training case; one is made all the same, to which it is registered")
    return 1


def _transported_views(experiment: Experiment, views: int) -> int:
    """How many of each case's `views` take a shape between cases: every second one, where there are several cases."""
    transported = views // 2 if len(experiment.train_cases) > 1 else 0
    if not transported:
        say(f"no view takes a shape between cases, which needs two cases with two views each, and there are {len(experiment.train_cases)} with "
            f"{views}: this run learns what hybrid_off does")
    return transported


def _pictures(experiment: Experiment, names: list[str]) -> dict[str, CaseInputs]:
    assert experiment.encoder is not None
    inputs = RecentInputs(experiment.arrays, experiment.plans, experiment.encoder)
    return {name: StoredCaseImageCrops(name, inputs) for name in names}


def _tiles(experiment: Experiment, inputs: Mapping[str, CaseInputs]) -> Batches[Pick]:
    slices, sampler = _sampled(experiment, inputs)
    return Batches(list(inputs), sampler, TileSamples(list(inputs.values()), slices))


def _picture_stacks(
    experiment: Experiment, variant: ImageStackVariant, pictures: Mapping[str, CaseInputs]
) -> Batches[Pick]:
    asked = isinstance(variant, Adapter3dBoxVariant)
    # A stack without a class has no box, and would teach nothing.
    slices, sampler = _sampled(experiment, pictures, 1.0 if asked else FOREGROUND_SHARE)
    canvas = canvas_for(experiment.section.tile_shape, experiment.section.input_size)
    stacks = [CaseImageStacks(source, variant.stack_depth, canvas) for source in pictures.values()]
    augmentation = ImageStackAugmentation(experiment.section)
    samples = ImageStackSamples(stacks, slices, variant.stack_depth, augmentation)
    if asked:
        return Batches(list(pictures), sampler, BoxSamples(samples, experiment.dataset.labels, experiment.section))
    return Batches(list(pictures), sampler, samples)


def _stacks(
    experiment: Experiment, variant: VolumeVariant, embeddings: Mapping[str, CaseInputs], run: dict[str, Any]
) -> Batches[Pick]:
    images: Recent[np.ndarray] = RecentImages(experiment.arrays)
    segmentation = experiment.segmentation
    if isinstance(variant, TransportVariant):
        priors, embeddings = _with_priors(experiment, variant, embeddings, run)
        images, segmentation = priors, lambda name: priors.completed(name, experiment.segmentation(name))
    slices, sampler = _sampled(experiment, embeddings, segmentation=segmentation)
    stacks = [CaseVolumes(partial(images.get, name), source, variant.stack) for name, source in embeddings.items()]
    plan = experiment.plans.dataset
    # The only case is carried to warps of itself, which succeeds far better than to another patient.
    misplaced = MISPLACED_VOXELS if isinstance(variant, TransportVariant) and len(experiment.train_cases) == 1 else 0.0
    augmentation = VolumeAugmentation(variant.stack, len(plan.channel_names), flat=plan.anisotropic or variant.stack.depth == 1,
                                     misplaced_voxels=misplaced)
    return Batches(list(embeddings), sampler, VolumeSamples(stacks, slices, variant.stack, augmentation))


def _with_priors(
    experiment: Experiment, variant: TransportVariant, embeddings: Mapping[str, CaseInputs], run: dict[str, Any]
) -> tuple[PriorImages, Mapping[str, CaseInputs]]:
    """Images with the transported labels behind them, made for all cases and views that can have them; and those."""
    started = time.perf_counter()
    variant.keep_supports(LazyCases(experiment.arrays, experiment.train_cases))
    images = PriorImages(experiment.arrays, variant, experiment.train_cases, make_folder(experiment.folder.work / PRIORS))
    kept = {name: source for name, source in embeddings.items() if images.possible(name)}
    for name in progress(kept, "transporting labels", len(kept)):
        images.get(name)
    run["seconds"]["transport"] = run["seconds"].get("transport", 0.0) + time.perf_counter() - started
    return images, kept


def _self_trained(experiment: Experiment, run: dict[str, Any]) -> tuple[Experiment, tuple[str, ...]]:
    """The experiment in which some unlabelled cases have labels; and those cases, told in `run`."""
    started = time.perf_counter()
    experiment, pseudo = with_pseudo_labels(experiment, make_folder(experiment.folder.work / PSEUDO))
    run["pseudo_labelled_cases"] = list(pseudo)
    run["seconds"]["transport"] = run["seconds"].get("transport", 0.0) + time.perf_counter() - started
    return experiment, pseudo


def _prompted(
    experiment: Experiment, variant: FewshotVariant, embeddings: Mapping[str, CaseInputs], run: dict[str, Any]
) -> Batches[Pick]:
    """Gives the variant its support, too, and tells in `run` by which rule it asks."""
    slices, sampler = _sampled(experiment, embeddings)
    names = list(embeddings)
    labels = dict(zip(names, slices, strict=True))
    support = gather_support(embeddings, labels, experiment.dataset.labels, experiment.section, experiment.support)
    started = time.perf_counter()
    judged = gather_judged(embeddings, labels, support.names)
    run["tokens"] = set_chosen_support(variant, support, judged, torch.device(experiment.settings.device))
    run["seconds"]["tokens"] = run["seconds"].get("tokens", 0.0) + time.perf_counter() - started
    depths = [source.depth for source in embeddings.values()]
    return Batches(names, sampler, QuerySamples(TileSamples(list(embeddings.values()), slices), names, depths, support.names))


def _sampled(
    experiment: Experiment, inputs: Mapping[str, CaseInputs], foreground_share: float = FOREGROUND_SHARE,
    segmentation: Callable[[str], np.ndarray] | None = None,
) -> tuple[list[LabelSlices], Sampler]:
    """The label slices of `inputs`, of the experiment's labels unless others are given, and what draws from them."""
    labels, settings = experiment.dataset.labels, experiment.settings
    segmentation = segmentation or experiment.segmentation
    slices = [LabelSlices.build(segmentation(name), source.frame, labels) for name, source in inputs.items()]
    return slices, Sampler(slices, labels, settings.batch_size, settings.seed, foreground_share)


def _patches(experiment: Experiment, variant: PatchVariant) -> Batches[Pick]:
    labels, settings = experiment.dataset.labels, experiment.settings
    slices = []
    for name in experiment.train_cases:
        segmentation = experiment.segmentation(name)
        plane = segmentation.shape[1:]
        slices.append(LabelSlices.build(segmentation, TileFrame(plane, plane, step=1.0), labels))
    sampler = Sampler(slices, labels, settings.batch_size, settings.seed)
    augmentation = PatchAugmentation(variant.patch, experiment.plans.dataset.use_mask_for_norm)
    return Batches(experiment.train_cases, sampler, PatchSamples(experiment.train_cases, experiment.arrays, slices, labels, augmentation))
