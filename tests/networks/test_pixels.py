"""The encoder that is none: its values are the image's."""

from __future__ import annotations

import torch

from samunet.networks.checkpoints.encoders import load_encoder
from samunet.networks.checkpoints.untrained import untrained_state


def test_each_channel_is_one_mean_of_two_by_two_pixels_of_one_colour():
    image = torch.arange(3 * 32 * 32, dtype=torch.float32).view(1, 3, 32, 32)
    embedding = load_encoder("pixels", 32).module(image)
    assert embedding.shape == (1, 256, 2, 2)
    for colour, row, column, y, x in [(0, 0, 0, 0, 0), (1, 3, 5, 0, 1), (2, 7, 7, 1, 1)]:
        top, left = 16 * y + 2 * row, 16 * x + 2 * column
        mean = image[0, colour, top : top + 2, left : left + 2].mean()
        assert embedding[0, 64 * colour + 8 * row + column, y, x] == mean
    assert not embedding[:, 192:].any()


def test_it_has_nothing_to_train_a_device_and_a_digest_that_only_a_new_version_changes():
    encoder = load_encoder("pixels", 256)
    assert list(encoder.module.parameters()) == [] and not encoder.module.state_dict()
    assert encoder.device == torch.device("cpu")
    assert encoder.digest == "00c1b7e38e625e8459251b52c8f409150cb5f2f73d09d3ccfd53a32242364227"
    assert (encoder.spec.id, encoder.spec.size, encoder.spec.family) == ("pixels", "pixels", "mini")
    assert encoder.spec.native_input_size == 256


def test_heads_start_from_the_untrained_decoder():
    state, untrained = load_encoder("pixels", 256).sam_state, untrained_state()
    assert set(state) == {key for key in untrained if key.startswith(("prompt_encoder.", "mask_decoder."))}
    assert all(torch.equal(tensor, untrained[key]) for key, tensor in state.items())
