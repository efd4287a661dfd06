"""A case whose prompts are answered one after the other, from image features that are computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.variants.sliding_window import Slab

if TYPE_CHECKING:
    from samunet.variants.base import Variant
    from samunet.variants.prediction import Reading

ABSENT = -10.0  # logit of a class without a prompt: a chance of 0.00005, finite since logits are interpolated
KEPT = 10.0  # logit of a class where it has its start mask and no prompt
REFUSED = -20.0  # logit of a class that has negative points only: it is absent, and its start mask is not kept
ROUNDING = 1e-3  # means of ABSENT over windows


class PromptAnswers(Protocol):
    """What a variant answers of one case; holds the case's features.

    `refines`: whether `previous` must be the mask before the last prompt, which the answer corrects; else it is the one
    that the prompts started from.
    """

    refines: ClassVar[bool]

    def answer(self, prompts: CasePrompts, previous: np.ndarray | None) -> np.ndarray:
        """Segment the case from all prompts given so far.

        Arguments:
            prompts: on the plan's grid. previous: bool (F, Z, Y, X), a mask of each foreground label, see `refines`;
                None: there is none.

        Returns:
            finite logits float32 (K, Z, Y, X) on the plan's grid.
        """


@dataclass(frozen=True)
class PredictedAnswers:
    """Answers of a variant that answers all prompts at once: each is a prediction of the whole case.

    `reading` holds the case's embeddings, where the variant reads any; variants with an encoder of their own encode
    what prompts reach again for each answer.
    """

    folds: Sequence[Variant]
    case: PreparedCase
    reading: Reading
    refines: ClassVar[bool] = False

    def answer(self, prompts: CasePrompts, previous: np.ndarray | None) -> np.ndarray:
        """See `PromptAnswers`."""
        case = replace(self.case, prompts=prompts, start=previous)
        slabs = [slab for _, slab in self.folds[0].predict_slabs(self.folds, case, self.reading)]
        return np.concatenate(slabs, axis=1)


def answering(
    kinds: Sequence[str], folds: Sequence[Variant], case: PreparedCase, reading: Reading
) -> PromptAnswers:
    """Answers by prediction, of a variant that answers `kinds` of prompts.

    Raises:
        UserError: it answers none.
    """
    if not kinds:
        raise UserError("Prompts must be given to a variant that answers them.", where=case.properties.name,
                        found=type(folds[0]).__name__,
                        mend="Choose a model of such a variant: see samunet_train --list.")
    return PredictedAnswers(folds, case, reading)


def with_start(slabs: Iterable[Slab], start: np.ndarray | None, labels: LabelSpace) -> Iterator[Slab]:
    """Slabs in which a class keeps its start mask wherever no prompt of it reaches.

    Variants that answer prompts without looking at a start mask correct it so: what a prompt reaches (of SAM a slice's
    tile, of a box its slices) is answered from the prompts alone, the rest stays. Of labels that compete, what a prompt
    gives one class is taken from the start masks of the others.

    Arguments:
        slabs: logits float32 (K, dz, Y, X), ABSENT where no prompt of a class reaches.
        start: bool (F, Z, Y, X); None: there is none.
    """
    background = labels.channels - len(labels.foreground)  # regions have none
    for first, slab in slabs:
        if start is None:
            yield first, slab
            continue
        classes = slab[background:]
        unprompted = np.abs(classes - ABSENT) < ROUNDING
        stays = unprompted & start[:, first : first + slab.shape[1]]
        if not labels.has_regions:
            stays &= ~(~unprompted & (classes > 0)).any(0)
        yield first, np.concatenate([slab[:background], np.where(stays, np.float32(KEPT), classes)])


def logits_of_masks(masks: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """Logits float32 (K, Z, Y, X) that decode to masks bool (F, Z, Y, X) of the foreground labels."""
    classes = np.where(masks, np.float32(KEPT), np.float32(ABSENT))
    return classes if labels.has_regions else np.concatenate([np.zeros_like(classes[:1]), classes])
