"""What an action makes of a mask, given all actions before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from samunet.dataset.labels import LabelSpace
from samunet.interaction.actions import Action, Box, Mask, Point, Prompt, Stroke
from samunet.interaction.checks import painted_value
from samunet.interaction.image import SessionImage
from samunet.interaction.painting import brushed


class Answerer(Protocol):
    """A model that has an image before it."""

    def answer(self, prompts: Sequence[Prompt], mask: np.ndarray, start: np.ndarray | None) -> np.ndarray:
        """The label map, on the image's grid, that all prompts give; a new array.

        Arguments:
            mask: the label map before the last prompt. start: that before the first one; None where it is empty.
        """


def mask_after(
    done: Sequence[Action], mask: np.ndarray, image: SessionImage, labels: LabelSpace, model: Answerer | None
) -> np.ndarray:
    """The mask after the last of the actions `done`.

    A whole mask replaces everything before it. A prompt is answered by the model with all prompts since the last whole
    mask, and with the mask before it; then what was painted since is painted again. Without a model prompts change
    nothing.

    Arguments:
        mask: before the last action, label values (Z, Y, X).
    """
    *_, last = done
    if isinstance(last, Mask):
        return last.array(image.shape, labels.dtype)
    if isinstance(last, Stroke):
        return _painted(mask.copy(), [last], image, labels)
    if model is None:
        return mask
    whole = [(index, action) for index, action in enumerate(done) if isinstance(action, Mask)]
    since = done[whole[-1][0] + 1 :] if whole else done
    start = whole[-1][1].array(image.shape, labels.dtype) if whole else None
    prompts = [action for action in since if isinstance(action, Point | Box)]
    strokes = [action for action in since if isinstance(action, Stroke)]
    return _painted(model.answer(prompts, mask, start), strokes, image, labels)


def _painted(mask: np.ndarray, strokes: Sequence[Stroke], image: SessionImage, labels: LabelSpace) -> np.ndarray:
    """`mask`, with the strokes painted into it one after the other."""
    for stroke in strokes:
        region, inside = brushed(stroke, image.shape, image.geometry.spacing_mm)
        mask[region][inside] = painted_value(stroke.label, labels)
    return mask
