"""The hybrid network: its size by hand, what each of its two inputs can teach it, and what dropping embeddings does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samunet.networks.hybrid import WIDTHS, Hybrid
from samunet.planning.volume_rules import VolumePlan

THREES = (3, 3, 3)
PLAN = VolumePlan((4, 14, 16), (4, 16, 16), ((1, 1, 1), (2, 2, 2), (1, 2, 2)), (THREES,) * 3, (2, 4, 4), (2, 4, 4))


def network(dropped: float = 0.0, plan: VolumePlan = PLAN, channels: int = 1) -> Hybrid:
    torch.manual_seed(0)
    return Hybrid(channels, 8, 2, plan, dropped)


def inputs(samples: int = 2) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(samples, 1, 4, 14, 16, generator=random), torch.randn(samples, 8, 2, 4, 4, generator=random)


def test_the_number_of_parameters() -> None:
    def block(channels: int, width: int) -> int:  # two convolutions with bias, two norms of scale and shift
        return 27 * channels * width + width + 2 * width + 27 * width * width + width + 2 * width

    first, second, third = WIDTHS[:3]
    encoder = block(1, first) + block(first, second) + block(second, third)
    joined = 8 * third + third + 2 * third + block(2 * third, third)
    decoder = (8 * first * second + first + 4 * second * third + second + block(2 * first, first)
               + block(2 * second, second))
    heads = 2 * first + 2 + 2 * second + 2
    assert sum(each.numel() for each in network().parameters()) == encoder + joined + decoder + heads


def test_logits_are_of_the_voxels_and_in_training_of_coarser_stages_too() -> None:
    made = network()
    sizes = [tuple(each.shape) for each in made(*inputs())]
    assert sizes == [(2, 2, 4, 14, 16), (2, 2, 2, 8, 8)]
    with torch.no_grad():
        fine = made(*inputs())[0]
        [alone] = made.eval()(*inputs())
    torch.testing.assert_close(alone, fine)


@pytest.mark.parametrize("strides", [((1, 1, 1),), ((1, 1, 1),) * 2, ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))])
def test_any_number_of_stages(strides: tuple[tuple[int, int, int], ...]) -> None:
    cell = (1, 1, 1) if len(strides) < 3 else (1, 4, 4)
    plan = VolumePlan((4, 16, 16), (4, 16, 16), strides, (THREES,) * len(strides), cell,
                      (4, 16 // cell[1], 16 // cell[2]))
    logits = network(plan=plan)(torch.randn(1, 1, 4, 16, 16), torch.randn(1, 8, *plan.cells))
    assert len(logits) == max(len(strides) - 1, 1) and logits[0].shape == (1, 2, 4, 16, 16)


def test_cells_of_several_voxels_are_channels_on_the_way_in_and_out() -> None:
    # The same tensors on cells of 1 x 2 x 2 voxels and, cut into cells by hand, on single places.
    strides, kernels = ((1, 1, 1), (1, 2, 2)), (THREES,) * 2
    plan = VolumePlan((4, 14, 16), (4, 16, 16), strides, kernels, (4, 16, 16), (1, 1, 1), (1, 2, 2))
    of_cells = VolumePlan((4, 8, 8), (4, 8, 8), strides, kernels, (4, 8, 8), (1, 1, 1))
    torch.manual_seed(0)
    made, by_hand = Hybrid(1, 0, 2, plan, 0.0).eval(), Hybrid(4, 0, 8, of_cells, 0.0).eval()
    shared = {name: tensor for name, tensor in made.state_dict().items() if not name.startswith("heads.1")}
    by_hand.load_state_dict(shared, strict=False)
    image, none = torch.randn(1, 1, 4, 14, 16), torch.zeros(1, 0, 1, 1, 1)
    with torch.no_grad():
        [logits] = made(image, none)
        cells = torch.nn.functional.pad(image, (0, 0, 0, 2)).view(1, 4, 8, 2, 8, 2)
        cells = torch.stack([cells[:, :, :, row, :, column] for row in (0, 1) for column in (0, 1)], 1)
        [expected] = by_hand(cells, none)
    assert logits.shape == (1, 2, 4, 14, 16)
    for channel, (label, row, column) in enumerate((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)):
        torch.testing.assert_close(logits[:, label, :, row::2, column::2], expected[:, channel, :, :7])
    training = made.train()(image, none)
    assert [tuple(each.shape[2:]) for each in training] == [(4, 14, 16)]


@pytest.mark.parametrize("source", ["image", "embeddings"])
def test_it_learns_what_only_one_of_its_inputs_shows(source: str) -> None:
    image, embeddings = inputs(4)
    if source == "image":
        target = (image[:, 0] > 0).long()
    else:
        target = (embeddings[:, 3, :, :, :] > 0).long()
        target = target.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, :14]
    made = network()
    optimizer = torch.optim.AdamW(made.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(made(image, embeddings)[0], target).backward()
        optimizer.step()
    with torch.no_grad():
        right = (made.eval()(image, embeddings)[0].argmax(1) == target).float().mean()
    assert right > 0.95


def test_dropped_embeddings_say_nothing_in_training_and_all_in_prediction() -> None:
    made, (image, embeddings) = network(dropped=1.0), inputs()
    with torch.no_grad():
        torch.testing.assert_close(made(image, embeddings)[0], made(image, -embeddings)[0])
        made.eval()
        assert float((made(image, embeddings)[0] - made(image, -embeddings)[0]).abs().max()) > 0.1
