"""How answers of tiles become a case, and how classes compete for a voxel: all computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.predictor import predict_case
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.prompts.case_prompts import LabelPrompts
from samunet.variants.base import VariantContext
from samunet.variants.prompted import ABSENT, PromptedVariant

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (2, 4, 6), False, ("MRI",), ("zscore",),
                      (False,),
                      ({},))
SECTION = EncoderPlan("untrained", 64, (4, 4), 0.5, "repeat", 4, "float16", 0, 1)
PLANS = Plans("samunetPlans", "Dataset900_Phantom", DATASET, {"untrained": SECTION})


class Fixed(PromptedVariant):
    """Answers a point on a tile with its z, everywhere on that tile."""

    def answers(self, prompts, embeddings, picks):
        logits = torch.full((len(picks), self.labels.channels, 4, 4), -torch.inf)
        prompted = torch.zeros(logits.shape[:2], dtype=torch.bool)
        logits[:, 0], prompted[:, 0] = 0.0, True
        for index, (slice_, tile) in enumerate(picks):
            for label, given in prompts.items():
                points = given.on_tile(slice_, embeddings.frame.starts[tile], (4, 4)).points
                if len(points):
                    logits[index, label], prompted[index, label] = float(given.points[0, 0]), True
        return logits, prompted


class Nothing:
    frame, depth = TileFrame((4, 6), (4, 4), 0.5), 2


def logits(prompts) -> np.ndarray:
    shape = (2, 4, 6)
    properties = CaseProperties("made", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape,
                                tuple((0, size) for size in shape), shape, shape, ((-2.0, 2.0),), "", None, {})
    case = replace(PreparedCase(np.zeros((1, *shape), np.float32), None, properties), prompts=prompts)
    variant = Fixed(VariantContext(LABELS, DATASET, SECTION, {}))
    return np.concatenate([slab for _, slab in predict_case([variant], case, PLANS, None, embeddings=Nothing())],
                          axis=1)


def test_a_tile_without_prompt_does_not_contribute_and_beyond_it_a_class_is_absent() -> None:
    # Tiles are columns 0 to 3 and 2 to 5; the point is on the first alone.
    found = logits({1: LabelPrompts(points=np.array([[1.5, 1.5, 1.5]]))})
    np.testing.assert_allclose(found[1, 1, 0], [1.5, 1.5, 1.5, 1.5, ABSENT, ABSENT], rtol=1e-6)
    assert (found[1, 0] == ABSENT).all() and (found[2] == ABSENT).all() and not found[0].any()
    assert LABELS.decode(found, threshold=0.0)[1, 0].tolist() == [1, 1, 1, 1, 0, 0]


def test_the_class_of_the_highest_probability_wins_and_none_below_a_half() -> None:
    both = np.array([[0.5, 1.5, 2.5]])  # in both tiles
    prompts = {1: LabelPrompts(points=both), 2: LabelPrompts(points=both + [0.25, 0, 0])}
    assert (LABELS.decode(logits(prompts), threshold=0.0) == [[[2]], [[0]]]).all()
    # The answer is the point's z, which here says nothing for the class: below 0 its probability is below a half.
    found = logits(prompts)
    found[1:] -= 1.0
    assert not LABELS.decode(found, threshold=0.0).any()


def test_a_case_without_any_prompt_is_background() -> None:
    found = logits({})
    assert not LABELS.decode(found, threshold=0.0).any() and np.isfinite(found).all()


def test_without_prompts_both_ways_to_give_them_are_reported() -> None:
    with pytest.raises(UserError, match="(?s)A prompted variant needs prompts.*made.*--prompts.*--oracle_prompts"):
        logits(None)
