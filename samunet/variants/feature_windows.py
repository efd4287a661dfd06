"""Windows of one case whose features the folds of `3d_promptable` have computed, each once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.patches_3d import Axes, cut_3d
from samunet.networks.promptable_3d import Promptable3d
from samunet.networks.volumetric_decoder import PreparedPatch
from samunet.networks.volumetric_prompts import NEGATIVE, POSITIVE, PromptTensors
from samunet.planning.windows_3d import Window, Windows3d
from samunet.preprocessing.prompts.case_prompts import LabelPrompts

COMPUTED_FIRST = 64  # windows of a case that are all computed before its first prompt, if it has no more


class FeatureWindows:
    """The `WindowAnswers` of trained networks: the mean of their logits.

    A window has the form of a training patch, and its features are computed from it alone. So a network reads what it
    was trained on, and positions mean the same; maps stitched over the case would mix tokens of different positions.

    Arguments:
        networks: of each fold, in evaluation mode.
        image: normalised channels float32 (C, Z, Y, X).
    """

    def __init__(self, networks: Sequence[Promptable3d], image: np.ndarray) -> None:
        patch = networks[0].patch
        self.windows, self.token = Windows3d(_three(image.shape[1:]), patch), networks[0].token
        self._networks, self._image = networks, image
        self._prepared: dict[Window, list[PreparedPatch]] = {}
        self._device = next(networks[0].parameters()).device

    def compute_all(self) -> None:
        """Compute the features of all windows, so that no prompt waits for them; of a large case, of none."""
        if len(self.windows.all) <= COMPUTED_FIRST:
            for window in self.windows.all:
                self._features(window)

    def logits(self, window: Window, index: int, prompts: LabelPrompts, previous: np.ndarray) -> np.ndarray:
        """See `WindowAnswers`.

        Of the points, those inside the window are seen; where no positive one is, nor a box, also the nearest positive
        one, with its features in its own window. Of boxes, the part in the window.
        """
        chosen = self._seen(window, prompts)
        start = np.array(self.windows.start(window))
        points = _tensor(prompts.points[chosen] - start)
        positive = torch.from_numpy(np.where(prompts.positive[chosen], POSITIVE, NEGATIVE))
        boxes = _tensor(_inside(prompts.boxes - start, self.windows.patch))
        mask, answers = torch.from_numpy(previous.astype(np.float32)).to(self._device), []
        with torch.inference_mode():
            for fold, (network, prepared) in enumerate(zip(self._networks, self._features(window), strict=True)):
                tokens = self._tokens(fold, window, prompts.points[chosen])
                given = PromptTensors(torch.tensor([index]), points[None], positive[None], boxes[None], mask[None])
                answers.append(network.answer_prepared(prepared, _on(given, tokens, self._device))[0].float())
        return torch.stack(answers).mean(0).cpu().numpy()

    def _features(self, window: Window) -> list[PreparedPatch]:
        if window not in self._prepared:
            patch = cut_3d(self._image, self.windows.start(window), self.windows.patch, 0.0)
            images = torch.from_numpy(patch)[None].to(self._device)
            with torch.inference_mode():
                self._prepared[window] = [network.prepare(network.encode(images), images)
                                          for network in self._networks]
        return self._prepared[window]

    def _seen(self, window: Window, prompts: LabelPrompts) -> np.ndarray:
        """Which points the window sees, bool (N,)."""
        start, patch = np.array(self.windows.start(window)), self.windows.patch
        inside = np.asarray(((prompts.points >= start) & (prompts.points < start + patch)).all(1))
        outside = np.flatnonzero(prompts.positive & ~inside)
        if len(outside) and not (inside & prompts.positive).any() and not len(_inside(prompts.boxes - start, patch)):
            distance = (np.abs(prompts.points[outside] - (start + np.array(patch) / 2)) / patch).max(1)
            inside[outside[np.argmin(distance)]] = True
        return inside

    def _tokens(self, fold: int, window: Window, places: np.ndarray) -> Tensor:
        """Features float32 (1, P, N) of places of the case: in the window, or in their nearest where outside of it."""
        tokens = []
        for place in places:
            start = np.array(self.windows.start(window))
            holds = ((place >= start) & (place < start + self.windows.patch)).all()
            own = window if holds else self.windows.nearest(place.tolist())
            within = _tensor(place - self.windows.start(own))[None, None].to(self._device)
            tokens.append(self._networks[fold].tokens_at(self._features(own)[fold].last, within))
        last = self._features(window)[fold].last
        return torch.cat(tokens, 1) if tokens else torch.zeros(1, 0, last.shape[1], device=self._device)


def _inside(boxes: np.ndarray, patch: Axes) -> np.ndarray:
    """Boxes float64 (M, 2, 3) cut to a patch, those outside of it left out."""
    cut = np.clip(boxes, 0, patch)
    return cut[(cut[:, 1] > cut[:, 0]).all(1)]


def _on(prompts: PromptTensors, tokens: Tensor, device: torch.device) -> PromptTensors:
    return PromptTensors(prompts.classes.to(device), prompts.points.to(device), prompts.polarity.to(device),
                         prompts.boxes.to(device), prompts.previous.to(device), tokens)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _three(shape: Sequence[int]) -> Axes:
    z, y, x = shape
    return z, y, x
