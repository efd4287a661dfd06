from __future__ import annotations

import numpy as np
import torch

from samunet.inputs.embeddings import LiveEmbeddings, RecentInputs, encode
from samunet.inputs.encoder_input import EncoderInput
from samunet.inputs.image_crops import CaseImageCrops, StoredCaseImageCrops
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.store import ArrayStore


def test_image_crops_are_what_the_frozen_encoder_gets(arrays: ArrayStore, plans: Plans, encoder: Encoder) -> None:
    case, plan = arrays.load("one"), plans.for_encoder("untrained")
    pictures = CaseImageCrops(EncoderInput(case, plans.dataset, plan, "mini"))
    picks = [(1, 1), (0, 0)]
    read = pictures.read(picks)
    assert read.shape == (2, 2, 3, 64, 64)  # two channels, encoded alone
    stored = StoredCaseImageCrops("one", RecentInputs(arrays, plans, encoder))
    assert torch.equal(stored.read(picks), read) and stored.frame == pictures.frame and stored.depth == 2
    encoded = encode(encoder, read.flatten(0, 1)).reshape(2, 512, 4, 4)
    torch.testing.assert_close(encoded, LiveEmbeddings(case, plans, encoder).read(picks), rtol=2e-3, atol=2e-3)


def test_one_slice_is_read_alone(arrays: ArrayStore) -> None:
    np.testing.assert_array_equal(arrays.image_slice("two", 1), arrays.image("two")[:, 1])
