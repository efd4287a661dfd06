"""Answers to prompts from windows around them, which grow while the answer touches their border.

3DSAM-adapter (arXiv 2306.13465) answers in one crop around its points and cuts a larger target off there; its users
asked for windows that are merged. What follows is samunet's own.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.ndimage import label as connected

from samunet.dataset.labels import LabelSpace
from samunet.inputs.corruption import ball
from samunet.inputs.patches_3d import cut_3d
from samunet.planning.windows_3d import Window, Windows3d
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.variants.answered_steps import Answered, AnsweredSteps
from samunet.variants.answers import ABSENT, KEPT
from samunet.variants.mask_parts import in_middle, part_at, touching
from samunet.variants.sliding_window import gaussian_weights

CLICKED = 12.0  # logit of a label around a positive click that the network denies: above all others, and above KEPT


class WindowAnswers(Protocol):
    """What answers prompts in a single window; holds the windows' features."""

    windows: Windows3d
    token: tuple[int, int, int]

    def logits(self, window: Window, index: int, prompts: LabelPrompts, previous: np.ndarray) -> np.ndarray:
        """Logits float32 (z, y, x) of foreground label number `index` on the window's voxels.

        Arguments:
            prompts: all of the label, on the case's grid. previous: bool (z, y, x), the mask so far in the window.
        """


class GrowingAnswers:
    """The `PromptAnswers` of one case, each label apart; then labels compete by probability, as in `sam_zeroshot`.

    A label's first prompts are answered in the windows nearest to them. While an answer above 0 comes within half a
    token of a face of its window, the next window beyond that face is answered, with the mask so far as the one to
    correct; of its answer only parts that touch that mask count. Each window is answered once, and overlapping ones are
    averaged. Outside of all of them the label is ABSENT.

    Prompts that follow an answer, or that correct a mask, change nothing but what they say: positive clicks and boxes
    add voxels alone; a negative click removes voxels of the one connected part that it hits, and nothing else. Of that
    part goes what the network's answer gives up around the click. All of a part without a positive click goes if the
    click is in its middle, at least half as deep as it gets; or if the network gives up half or more of it, or nothing,
    and it is not the mask's largest. What a click says of its own place, half a token around it, is never overruled.

    The answers so far are stored (`AnsweredSteps`): with one prompt more, that prompt alone is answered, so that it
    does not change other labels, and after an undo the next prompt goes on from the answer before. Other prompts are
    all answered, from the given mask. Voxels of a mask to start from give way to labels that the network answers there.
    """

    refines: ClassVar[bool] = True

    def __init__(self, source: WindowAnswers, labels: LabelSpace) -> None:
        self._source, self._windows, self._labels = source, source.windows, labels
        self._steps = AnsweredSteps()
        self._weights = gaussian_weights(self._windows.patch).numpy()

    def answer(self, prompts: CasePrompts, previous: np.ndarray | None) -> np.ndarray:
        """See `PromptAnswers`."""
        labels, first = self._labels, self._labels.channels - len(self._labels.foreground)
        given = tuple(prompts.get(label, LabelPrompts()) for label in labels.foreground)
        last = None if previous is None else self._steps.before(given)
        logits = np.zeros((labels.channels, *self._windows.shape), np.float32)
        for index in range(len(given)):
            logits[first + index] = self._of_label(index, given[index], last,
                                                   None if previous is None else previous[index])
        own = logits[first:]
        if labels.has_regions:
            masks = own > 0
        else:
            answered = np.where(own == KEPT, ABSENT, own).max(0) > 0
            own[(own == KEPT) & answered] = ABSENT
            highest = logits.argmax(0)
            masks = np.stack([highest == first + index for index in range(len(given))])
        self._steps.add(Answered(given, own, masks))
        return logits

    def _of_label(self, index: int, given: LabelPrompts, last: Answered | None, start: np.ndarray | None) -> np.ndarray:
        """Logits float32 (Z, Y, X) of one label."""
        if last is not None and start is not None:
            points = np.arange(len(given.points)) >= len(last.prompts[index].points)
            boxes = np.arange(len(given.boxes)) >= len(last.prompts[index].boxes)
            logits = _edited(last.logits[index], last.masks[index], start)
        else:
            points, boxes = np.ones(len(given.points), bool), np.ones(len(given.boxes), bool)
            nowhere = np.zeros(self._windows.shape, bool) if start is None else start
            logits = np.where(nowhere, np.float32(KEPT), np.float32(ABSENT))
        if (points & given.positive).any() or boxes.any():
            self._add(logits, index, given, points & given.positive, boxes)
        for place in given.points[points & ~given.positive]:
            self._remove(logits, index, given, place)
        return logits

    def _add(
        self, logits: np.ndarray, index: int, given: LabelPrompts, points: np.ndarray, boxes: np.ndarray
    ) -> None:
        """Answer the chosen positive prompts; voxels that are above 0 stay so."""
        mask = logits > 0
        seeds = [self._windows.nearest(place) for place in given.points[points]]
        seeds += [window for box in given.boxes[boxes] for window in self._windows.of_box(box.tolist())]
        answered, reached = self._grown(index, given, list(dict.fromkeys(seeds)), mask)
        changed = reached & ~mask
        logits[changed] = answered[changed]
        for place in given.points[points]:
            if not logits[self._voxel(place)] > 0:
                logits[self._around(place)] = CLICKED

    def _grown(
        self, index: int, given: LabelPrompts, seeds: list[Window], mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean logits float32 (Z, Y, X) of the seeds and all windows that they grow into, and where there are any."""
        sums, weights = (np.zeros(mask.shape, np.float32) for _ in range(2))
        so_far, queue, place = mask.copy(), list(seeds), 0
        while place < len(queue):
            window = queue[place]
            case, own = self._windows.inside(window)
            before = cut_3d(so_far, self._windows.start(window), self._windows.patch, False)
            answer = self._source.logits(window, index, given, before)
            if place >= len(seeds):
                answer = np.where((answer > 0) & ~touching(answer > 0, before), np.float32(ABSENT), answer)
            sums[case] += (answer * self._weights)[own]
            weights[case] += self._weights[own]
            so_far[case] = mask[case] | (sums[case] > 0)
            queue += [each for each in self._beyond(window, answer > 0) if each not in queue]
            place += 1
        return np.divide(sums, weights, out=np.full_like(sums, ABSENT), where=weights > 0), weights > 0

    def _beyond(self, window: Window, mask: np.ndarray) -> list[Window]:
        """The next windows beyond those faces that `mask` (z, y, x) comes near."""
        found = []
        for axis in range(3):
            near = max(1, self._source.token[axis] // 2)
            for upper in (False, True):
                end = [slice(None)] * 3
                end[axis] = slice(-near, None) if upper else slice(0, near)
                beside = self._windows.beside(window, axis, upper)
                if beside is not None and mask[tuple(end)].any():
                    found.append(beside)
        return found

    def _remove(self, logits: np.ndarray, index: int, given: LabelPrompts, place: np.ndarray) -> None:
        """Answer a negative click; voxels that are not above 0 stay so."""
        mask, voxel = logits > 0, self._voxel(place)
        if not mask[voxel]:
            return
        part = part_at(mask, voxel)
        window = self._windows.nearest(place.tolist())
        case, own = self._windows.inside(window)
        before = cut_3d(mask, self._windows.start(window), self._windows.patch, False)
        given_up = np.zeros_like(mask)
        given_up[case] = (self._source.logits(window, index, given, before) <= 0)[own] & part[case]
        gone = part_at(given_up, voxel) if given_up[voxel] else np.zeros_like(mask)
        half_or_nothing = 2 * gone.sum() >= part[case].sum() or not gone.any()
        if not self._is_clicked(part, given) and (in_middle(part, voxel) or half_or_nothing and _beside(part, mask)):
            gone = part
        logits[gone] = ABSENT
        around = self._around(place)
        logits[tuple(axis[part[around]] for axis in around)] = ABSENT

    def _is_clicked(self, part: np.ndarray, given: LabelPrompts) -> bool:
        """Whether a part of the mask holds a positive click."""
        return any(part[self._voxel(place)] for place in given.points[given.positive])

    def _voxel(self, place: np.ndarray) -> tuple[int, ...]:
        """The voxel of a place, moved into the case where it lies outside."""
        return tuple(int(each) for each in np.clip(np.floor(place), 0, np.array(self._windows.shape) - 1))

    def _around(self, place: np.ndarray) -> tuple[np.ndarray, ...]:
        """Indices of the voxels that are half a token around a place, at least of its own."""
        radii = [max(side // 2, 1) for side in self._source.token]
        small = ball([2 * radius + 1 for radius in radii], radii, [max(side / 2, 0.5) for side in self._source.token])
        voxels = np.argwhere(small) + np.subtract(self._voxel(place), radii)
        inside = ((voxels >= 0) & (voxels < self._windows.shape)).all(1)
        return tuple(voxels[inside].T)


def _beside(part: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a part of the mask is not its largest."""
    return int(np.bincount(connected(mask)[0].ravel())[1:].max()) > int(part.sum())


def _edited(logits: np.ndarray, shown: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The last logits, whose mask was `shown`, changed where `mask` bool (Z, Y, X) is another one: it was drawn on.

    Of a mask that was on the image's grid and came back, voxels at the surface differ by rounding; they are not changed
    where they are next to the surface of the last mask.
    """
    logits, differs = logits.copy(), shown ^ mask
    if differs.any():
        differs &= ~(binary_dilation(shown) & ~binary_erosion(shown, border_value=1))
        logits[differs] = np.where(mask[differs], KEPT, ABSENT)
    return logits
