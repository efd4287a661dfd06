"""Multi-atlas segmentation: training cases registered to the target, their labels fused with local weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from samunet.console import say
from samunet.dataset.labels import OUTSIDE, UNANNOTATED
from samunet.errors import some
from samunet.files import digest_of_array, digest_of_json
from samunet.planning.registration_grid import EARLIER_MOST_VOXELS, MOST_VOXELS, coarsened
from samunet.preprocessing.case import PreparedCase
from samunet.registration.fusion import SEARCH_VOXELS, nonlocal_votes
from samunet.registration.registration import centred, displacements, histogram_matched, register, resampled
from samunet.registration.vote_cache import VoteCache
from samunet.variants.base import Baseline, VariantContext
from samunet.variants.label_prior import log_scores, stretched
from samunet.variants.states import require_form
from samunet.workers import default_workers

MOST_CASES = 16
PERCENTILES = (1.0, 99.0)
_PARTS = ("image", "labels", "spacing_mm")  # of a support, in a checkpoint
_GRID = "grid_voxels"
VERSION = 2  # of registration and fusion; cached votes of another one are not found


@dataclass(frozen=True)
class Target:
    """A case on the registration grid: float32 (z, y, x), about 0 to 1."""

    image: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Support:
    """A training case stored for registration.

    `image` is float32 (z, y, x), about 0 to 1; `labels` integer label values of the same shape, OUTSIDE stored as 0.
    """

    image: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]


class AtlasVariant(Baseline):
    """At most 16 training cases, each registered to the target (affine, then demons), voting voxel by voxel.

    Registration: Mattes mutual information for the affine part, then fast symmetric-forces demons, the
    non-diffeomorphic relative of Vercauteren et al. 2009 ("Diffeomorphic demons", NeuroImage 45), on histogram-matched
    images.
    Fusion: non-local weighted voting, see `registration.fusion`, after Artaechevarria et al. 2009 (IEEE TMI 28) and
    Coupe et al. 2011 (NeuroImage 54). Deviations: masks are warped linearly instead of signed distances; no prior model
    of the labels; the supports are the first 16, not the most similar; one that could not be registered is not
    searched.

    Images of several channels are registered by their first channel, RGB images by the mean of the three. A target
    whose registration to a support fails (a flat image) takes that support's labels stretched over its box.

    The constants were chosen on the hippocampus data, validation cases of folds 1 and 2 (grouped), 5 shots of draw 0,
    mean Dice of both classes; scratch runs that no command here repeats. Registration, 16 cases: affine only 0.784;
    demons smoothed by 2, 1.5, 1 and 0.75 voxels 0.811, 0.821, 0.827 and 0.829; half or twice the iterations and other
    percentiles within 0.003. Fusion, 40 cases: voxels voting for themselves (window 1.5, power 2) 0.831; a search of 1
    voxel 0.838 to 0.842 over windows of 0.7 to 1.5 and powers 2 and 3; of 2 voxels 0.844 (power 3, reach 2.4) and, as
    it stands, 0.845; beyond the reach, and in a box window of 3 voxels, 0.843 and 0.841. The
    supports mirrored as well: 0.810 to 0.831. From each of three cases alone the search raised 0.765, 0.767 and 0.746
    to 0.795, 0.802 and 0.780. About half a second a pair for registration, a tenth for fusion.

    The grid on ACDC, 5 shots of draw 0, mean Dice of three classes, scratch runs: with 65,536 and 131,072 voxels 0.429
    and 0.445 on fold 1, 0.417 and 0.420 on fold 2; on the ten cases of fold 1 that the plan's own grid, about 500,000
    voxels, was given time for, 0.446, 0.462 and 0.415. A pair took 1.0, 1.6 and about 6 seconds of one core. Searching
    and comparing across 10 mm slices less far than in the plane lost 0.012 on fold 1 (65,536 voxels).
    """

    image_tensors = "[0-9][0-9].image"
    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        self.grid_voxels = MOST_VOXELS
        self.supports: tuple[Support, ...] = ()
        self.cache = VoteCache(context.votes) if context.votes else None

    def fit(self, cases: Sequence[PreparedCase], most: int = MOST_CASES) -> None:
        """Store the first `most` of `cases` on the registration grid."""
        supports = []
        for case in cases[:most]:
            assert case.segmentation is not None
            image, spacing_mm = self._registration_image(case)
            # float16 is what the checkpoint stores; rounding here makes a loaded model predict the same bytes.
            image = image.astype(np.float16).astype(np.float32)
            supports.append(Support(image, _labels_on(image.shape, case.segmentation[0]), spacing_mm))
        self.supports = tuple(supports)

    def predict(self, case: PreparedCase, without: int | None = None) -> Tensor:
        """Logits float32 (K, Z, Y, X); `without` leaves out the support of that number, all others vote."""
        return self.answer(case, without)[0]

    def answer(self, case: PreparedCase, without: int | None = None) -> tuple[Tensor, np.ndarray]:
        """The logits, and whether any support knows a label of the place, bool (Z, Y, X).

        None may where few slices are annotated.
        """
        target = Target(*self._registration_image(case))
        supports = [support for number, support in enumerate(self.supports) if number != without]
        total = np.zeros((self.labels.channels + 1, *target.image.shape), np.float32)
        faults: list[str] = []
        for votes in _side_by_side(lambda support: self._votes(target, support, faults), supports, default_workers()):
            total += votes
        if faults:
            say(f"{case.properties.name}: {len(faults)} of {len(supports)} training cases could not be registered and "
                f"are only stretched over it ({faults[0]}).")
        probabilities = torch.from_numpy(total[:-1] / np.maximum(total[-1], 1e-12))
        shape = case.image.shape[1:]
        logits = log_scores(torch.stack([stretched(channel, shape) for channel in probabilities]), self.labels)
        return logits, stretched(torch.from_numpy((total[-1] > 0).astype(np.float32)), shape).numpy() > 0.5

    def displacement(self, case: PreparedCase, number: int) -> np.ndarray:
        """Where each voxel of `case` comes from once it has the shape of support `number`, stretched over its box.

        Returns:
            float64 (3, Z, Y, X), voxels to go along (z, y, x); 0 where registration finds nothing to go by.
        """
        image, spacing_mm = self._registration_image(case)
        support, flat = self.supports[number], image.shape[0] == 1
        own, other = _sitk_image(image, spacing_mm, flat), _sitk_image(support.image, support.spacing_mm, flat)
        try:
            carried = register(other, histogram_matched(own, other))
        except RuntimeError:
            return np.zeros((3, *case.image.shape[1:]))
        # First from the case's box to the support's, then back to the case along what was found.
        steps = displacements(sitk.CompositeTransform([carried, centred(own, other)]), own)
        if flat:
            steps = np.concatenate([np.zeros_like(steps[:1]), steps])[:, None]
        shape = case.image.shape[1:]
        scale = np.array(shape) / np.array(image.shape)
        return np.stack([stretched(torch.from_numpy(step), shape).double().numpy() * factor
                         for step, factor in zip(steps, scale, strict=True)])

    def state(self) -> dict[str, Tensor]:
        """Of support NN: `NN.image` float16, `NN.labels` uint8 or int16 (z, y, x), `NN.spacing_mm` float64 (3,).

        `grid_voxels`, int64: most voxels of a case of median shape on the registration grid.
        """
        state = {_GRID: torch.tensor(self.grid_voxels)}
        for number, support in enumerate(self.supports):
            labels = torch.from_numpy(support.labels)
            state[f"{number:02d}.image"] = torch.from_numpy(support.image).half()
            small = 0 <= int(labels.min()) and int(labels.max()) < 256
            state[f"{number:02d}.labels"] = labels.to(torch.uint8) if small else labels
            state[f"{number:02d}.spacing_mm"] = torch.tensor(support.spacing_mm, dtype=torch.float64)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Variant`; a state without `grid_voxels` is of an earlier model, whose grid is kept."""
        grid = require_form(state, _GRID, (), [torch.int64]) if _GRID in state else torch.tensor(EARLIER_MOST_VOXELS)
        state = {name: tensor for name, tensor in state.items() if name != _GRID}
        numbers = sorted({name.partition(".")[0] for name in state})
        if not numbers:
            raise ValueError("it holds no support")
        if grid < 1:
            raise ValueError(f"{_GRID} is {grid.tolist()}")
        if unknown := sorted(set(state) - {f"{number}.{part}" for number in numbers for part in _PARTS}):
            raise ValueError(f"{some(unknown)} unknown")
        self.supports = tuple(_support(state, number) for number in numbers)
        self.grid_voxels = int(grid)

    def _votes(self, target: Target, support: Support, faults: list[str]) -> np.ndarray:
        """Votes of one support for each channel, and behind them the sum of its weights: float32 (K + 1, z, y, x).

        A support that cannot be registered is stretched over the target's box, and why is added to `faults`.
        """
        if self.cache is None:
            return self._registered_votes(target, support, faults)
        arrays = target.image, support.image, support.labels, np.array([target.spacing_mm, support.spacing_mm])
        space = self.labels
        meaning = space.foreground, space.ignore, space.regions_class_order
        digest = digest_of_json([VERSION, *meaning, *map(digest_of_array, arrays)])
        votes = self.cache.find(digest)
        if votes is None:
            own: list[str] = []
            votes = self._registered_votes(target, support, own)
            faults += own
            if not own:  # else the next run would not report it
                self.cache.keep(digest, votes)
        return votes

    def _registered_votes(self, target: Target, support: Support, faults: list[str]) -> np.ndarray:
        shape, flat = target.image.shape, target.image.shape[0] == 1
        fixed = _sitk_image(target.image, target.spacing_mm, flat)
        moving = _sitk_image(support.image, support.spacing_mm, flat)
        transform: sitk.Transform
        try:
            moving = histogram_matched(moving, fixed)
            transform, search = register(fixed, moving), SEARCH_VOXELS
        except RuntimeError as fault:
            faults.append(str(fault).strip().splitlines()[-1].strip())
            transform, search = centred(fixed, moving), 0

        def carried(moving: sitk.Image) -> np.ndarray:
            return sitk.GetArrayFromImage(resampled(moving, fixed, transform)).reshape(shape)

        masks = [*self.labels.channel_masks(support.labels), self.labels.valid(support.labels)]
        warped = [carried(_sitk_image(mask.astype(np.float32), support.spacing_mm, flat)) for mask in masks]
        return nonlocal_votes(target.image, carried(moving), np.stack(warped), search)

    def _registration_image(self, case: PreparedCase) -> tuple[np.ndarray, tuple[float, float, float]]:
        """One channel, float32 (z, y, x), its 1st and 99th percentile at 0 and 1, on the registration grid.

        Spacing in mm.
        """
        rgb = all(scheme == "rgb_to_0_1" for scheme in self.context.dataset_plan.normalization)
        image = case.image.mean(0) if rgb else case.image[0]
        low, high = np.percentile(image, PERCENTILES)
        image = np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
        old = np.array(image.shape)
        median = self.context.dataset_plan.median_shape
        factors = np.array(median) / np.array(coarsened(median, self.grid_voxels))
        new = np.maximum(np.round(old / factors), 1).astype(int)
        if (new != old).any():
            # Half a new voxel of blur, so that what the coarser grid cannot show does not fold back into it.
            image = gaussian_filter(image, np.where(new < old, 0.5 * old / new, 0.0))
        spacing_mm = np.array(self.context.dataset_plan.spacing_mm) * old / new
        return stretched(torch.from_numpy(image), new.tolist()).numpy(), _triple(spacing_mm.tolist())


def _side_by_side(
    work: Callable[[Support], np.ndarray], supports: Sequence[Support], workers: int
) -> Iterator[np.ndarray]:
    """`work` on each of `supports` in their order, on `workers` threads, since a registration itself uses one.

    One more than `workers` is under way, so that no thread waits for the oldest; not more, because a displacement field
    takes 24 bytes a voxel and votes wait for their turn.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[np.ndarray]] = deque()
        for support in supports:
            if len(under_way) > workers:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, support))
        while under_way:
            yield under_way.popleft().result()


def _support(state: Mapping[str, Tensor], number: str) -> Support:
    """A support from its tensors in a checkpoint.

    Raises:
        ValueError: one is missing, or of another shape or type than `AtlasVariant.state` writes.
    """
    image, labels, spacing_mm = (f"{number}.{part}" for part in _PARTS)
    voxels = require_form(state, image, (None, None, None), [torch.float16])
    values = require_form(state, labels, voxels.shape, [torch.uint8, torch.int16])
    spacing = require_form(state, spacing_mm, (3,), [torch.float64])
    if float(spacing.min()) <= 0:
        raise ValueError(f"{spacing_mm} is {spacing.tolist()}")
    return Support(voxels.float().numpy(), values.to(torch.int16).numpy(), _triple(spacing.tolist()))


def _labels_on(shape: tuple[int, ...], segmentation: np.ndarray) -> np.ndarray:
    """The nearest voxel's label on a grid of `shape` over the box of `segmentation` int16 (Z, Y, X); OUTSIDE becomes 0.

    On a coarser grid no annotated slice may fall between two: each replaces the slice that holds its middle.
    """
    known = torch.from_numpy(np.where(segmentation == OUTSIDE, 0, segmentation).astype(np.float32))[None, None]
    labels = torch.nn.functional.interpolate(known, shape, mode="nearest-exact")[0, 0].numpy().astype(np.int16)
    annotated = ~(segmentation == UNANNOTATED).any((1, 2))
    if not annotated.all():
        depth = len(segmentation)
        planes = torch.nn.functional.interpolate(known, (depth, *shape[1:]), mode="nearest-exact")[0, 0].numpy()
        for plane in np.flatnonzero(annotated):
            labels[(2 * plane + 1) * shape[0] // (2 * depth)] = planes[plane]
    return labels


def _sitk_image(volume: np.ndarray, spacing_mm: tuple[float, float, float], flat: bool) -> sitk.Image:
    """A volume float32 (z, y, x) as an image at origin 0; of 2 dimensions where `flat` (the target has one slice)."""
    if flat:
        image = sitk.GetImageFromArray(volume[volume.shape[0] // 2])
        image.SetSpacing(spacing_mm[:0:-1])
        return image
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(spacing_mm[::-1])
    return image


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = values
    return float(z), float(y), float(x)
