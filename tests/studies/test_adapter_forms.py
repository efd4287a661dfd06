"""Forms of `3d_adapter`: what each changes, by hand and by what a slice's output hangs on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from samunet.dataset.labels import LabelSpace
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan
from samunet.variants.adapter_3d import Adapter3dVariant
from samunet.variants.base import VariantContext

DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (5, 64, 64), False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("mini-3", 64, (64, 64), 0.5, "repeat", 4, "float16", 0, 1, adapters=AdapterPlan(5))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("mini", 64)


def built(form: type[Adapter3dVariant], encoder: Encoder) -> nn.Module:
    torch.manual_seed(0)
    labels = LabelSpace({"background": 0, "a": 1})
    return form(VariantContext(labels, DATASET, SECTION, encoder.sam_state, encoder)).network.eval()


def seen_from(network: nn.Module, away: int) -> bool:
    """Whether the logits of the first slice change with the slice that stands `away` from it."""
    stack = torch.zeros(1, 5, 1, 3, 64, 64)
    other = stack.clone()
    other[0, away] = 1.0
    with torch.no_grad():
        return not torch.equal(network(stack)[0, :, 0], network(other)[0, :, 0])


def test_only_kernel_one_keeps_slices_apart(encoder: Encoder, script: Callable[[str], ModuleType]) -> None:
    forms = script("adapter_forms")
    alone, depthwise = built(forms.SlicesAloneVariant, encoder), built(forms.DepthwiseVariant, encoder)
    assert seen_from(alone, 0) and not seen_from(alone, 1) and not seen_from(alone, 2)
    assert seen_from(depthwise, 2) and seen_from(built(Adapter3dVariant, encoder), 2)


def test_what_begins_at_zero_is_the_plain_encoder(encoder: Encoder, script: Callable[[str], ModuleType]) -> None:
    network = built(script("adapter_forms").ZeroStartVariant, encoder)
    picture = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network.encoder(picture[None])[0], encoder.module(picture), rtol=1e-4, atol=1e-4)


def test_loras_increments_take_the_place_of_facts(encoder: Encoder, script: Callable[[str], ModuleType]) -> None:
    forms = script("adapter_forms")
    names = [name for name, each in built(forms.LoraAdapterVariant, encoder).named_parameters() if each.requires_grad]
    # Twelve blocks, queries and values, two matrices each; nothing of FacT.
    assert sum(".qkv." in name for name in names) == 12 * 2 * 2 and not any("factors" in name for name in names)


def test_a_depthwise_convolution_by_hand(script: Callable[[str], ModuleType]) -> None:
    mix = script("adapter_forms").Depthwise(2)
    with torch.no_grad():
        mix.weight.copy_(torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]))
        mix.bias.copy_(torch.tensor([0.5, -0.5]))
        # slice before, slice, slice after: two channels each
        said: Tensor = mix(torch.tensor([1.0, 1.0, 2.0, 2.0, 3.0, 3.0]))
    assert said.tolist() == [1 + 20 + 300 + 0.5, 2 + 40 + 600 - 0.5]


def test_the_published_decoder_does_not_see_the_image(encoder: Encoder, script: Callable[[str], ModuleType]) -> None:
    published, ours = built(script("adapter_forms").PublishedDecoderVariant, encoder), built(Adapter3dVariant, encoder)
    embeddings, picture = torch.zeros(1, 256, 4, 4), torch.ones(1, 3, 64, 64)
    with torch.no_grad():
        nn.init.ones_(ours.decoder.detail[-1].weight)
        seen = [[network.decoder(embeddings, shown) for shown in (picture, -picture)] for network in (published, ours)]
    assert torch.equal(*seen[0]) and not torch.equal(*seen[1])
    assert not any(name.startswith("decoder.detail") for name, _ in published.named_parameters())
