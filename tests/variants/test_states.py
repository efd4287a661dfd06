"""What a checkpoint may not be, for variants whose tensors torch compares and for those whose it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.variants.base import Variant, VariantContext
from samunet.variants.registry import variant_class
from samunet.variants.states import require_form

SHAPE = (3, 16, 16)
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), SHAPE, False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (16, 16), 0.5, "repeat", 2, "float16", 0, 1)
CONTEXT = VariantContext(LabelSpace({"background": 0, "organ": 1}), DATASET, SECTION, {})

State = dict[str, Tensor]


def atlas_state(prefix: str = "") -> State:
    return {f"{prefix}00.image": torch.ones(SHAPE).half(), f"{prefix}00.labels": torch.ones(SHAPE, dtype=torch.uint8),
            f"{prefix}00.spacing_mm": torch.ones(3, dtype=torch.float64), f"{prefix}grid_voxels": torch.tensor(65_536)}


def state_of(name: str, variant: Variant) -> State:
    """A whole state of the variant `name`, as training leaves it."""
    if name == "atlas":
        return atlas_state()
    state = variant.state()
    if name == "hybrid":
        state |= atlas_state("atlas.")
    if name == "fewshot":  # two regions of four tokens each, guesses without either of two units and with both
        state |= {"content": torch.zeros(2, 1, 4, 256), "kinds": torch.zeros(2, 1, 4, dtype=torch.long),
                  "units": torch.tensor([0, 1]), "weight": torch.zeros(3, 1, 256), "bias": torch.zeros(3, 1)}
    return state


# The tensor that each kind of damage is done to.
TENSORS = {"label_prior": "prior", "atlas": "00.labels", "hybrid": "atlas.00.labels", "fewshot": "kinds",
           "cnn_head": None,
           "unet": None}
DAMAGES: dict[str, Callable[[State, str], State]] = {
    "missing": lambda state, name: {key: tensor for key, tensor in state.items() if key != name},
    "surplus": lambda state, name: {**state, "00.other": torch.ones(1)},
    "shorter": lambda state, name: {**state, name: state[name][..., :-1].contiguous()},
    "flat": lambda state, name: {**state, name: state[name].reshape(-1)},
    "deeper": lambda state, name: {**state, name: state[name][None]},
    "float64": lambda state, name: {**state, name: state[name].double()},
    "no tensor at all": lambda state, name: {},
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", TENSORS)
def test_a_state_of_other_names_shapes_or_types_is_refused(name: str, damage: str) -> None:
    variant = variant_class(name)(CONTEXT)
    state = state_of(name, variant)
    hit = TENSORS[name] or max(state, key=lambda key: state[key].ndim)
    with pytest.raises(ValueError) as caught:
        variant.load_state(DAMAGES[damage](state, hit))
    named = {"surplus": "00.other", "no tensor at all": ""}.get(damage, hit.removeprefix("atlas."))
    assert named in str(caught.value)
    variant.load_state(state)
    assert variant.state().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in variant.state().items())


@pytest.mark.parametrize(("changed", "message"), [
    ({"kinds": torch.zeros(3, 1, 4, dtype=torch.long)}, "kinds is 3 x 1 x 4 of torch.int64, not 2 x 1 x 4"),
    ({"units": torch.tensor([0])}, "units is 1 of torch.int64, not 2"),
    ({"bias": torch.zeros(2, 1)}, "bias is 2 x 1 of torch.float32, not 3 x 1"),
    ({"content": torch.zeros(2, 2, 4, 256)}, "content is 2 x 2 x 4 x 256 of torch.float32, not any x 1 x any x 256"),
])
def test_parts_of_a_support_belong_together(changed: State, message: str) -> None:
    variant = variant_class("fewshot")(CONTEXT)
    with pytest.raises(ValueError, match=message):
        variant.load_state({**state_of("fewshot", variant), **changed})


@pytest.mark.parametrize("spacing_mm", [[1.0, 0.0, 1.0], [1.0, 1.0, -2.0]])
def test_a_support_has_a_spacing_above_zero(spacing_mm: list[float]) -> None:
    with pytest.raises(ValueError, match="00.spacing_mm is"):
        variant_class("atlas")(CONTEXT).load_state({**atlas_state(),
                                                    "00.spacing_mm": torch.tensor(spacing_mm).double()})


def test_any_length_is_one_or_more() -> None:
    given = {"a": torch.zeros(2, 3), "none": torch.zeros(0, 3)}
    assert require_form(given, "a", (None, 3), [torch.float32]) is given["a"]
    with pytest.raises(ValueError, match="none is 0 x 3 of torch.float32, not any x 3"):
        require_form(given, "none", (None, 3), [torch.float32])
    with pytest.raises(ValueError, match="other is missing"):
        require_form(given, "other", (None, 3), [torch.float32])
