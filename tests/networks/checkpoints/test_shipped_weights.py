"""The shipped weights: complete, small, with a model card, and as good as it says."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors import safe_open

from samunet.dataset.phantom import make_phantom_dataset
from samunet.inputs.encoder_input import INPUT_STATISTICS
from samunet.networks.checkpoints.encoders import load_encoder
from samunet.networks.checkpoints.released import shipped_card, shipped_path
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import box_prompts
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, build_sam

SIZE, SIDE = 256, 48


def test_the_file_is_a_whole_sam_in_half_precision_of_at_most_24_mb() -> None:
    assert shipped_path().stat().st_size <= 24e6
    with safe_open(shipped_path(), framework="pt") as content:
        assert content.metadata() == {"family": "mini"}
        found = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a mapping
    assert {tensor.dtype for tensor in found.values()} == {torch.float16}
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in build_sam("mini", SIZE).state_dict().items()}
    assert all(bool(tensor.isfinite().all()) for tensor in found.values())


def test_the_card_says_how_it_was_made() -> None:
    card = shipped_card()
    assert card is not None
    assert {"trained_on", "command", "recipe", "seed", "steps", "hours", "hardware", "validation", "results", "limits",
            "licence"} <= set(card)
    assert "no collected image" in card["trained_on"] and card["command"].startswith("samunet_pretrain_encoder ")


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> tuple[torch.Tensor, np.ndarray]:
    """Encoder input (N, 3, 256, 256) of slices of two phantoms in which the core is seen, and its masks bool (N, 48,
    48).
    """
    dataset = make_phantom_dataset(tmp_path_factory.mktemp("raw"), cases=2, test_cases=0, seed=11)
    images, masks = [], []
    for index in range(2):
        image, labels = (sitk.GetArrayFromImage(sitk.ReadImage(str(dataset / folder / name))) for folder, name in (
            ("imagesTr", f"phantom_{index:03d}_0000.nii.gz"), ("labelsTr", f"phantom_{index:03d}.nii.gz")))
        unit = ((image - image.mean()) / image.std() / 5 + 0.5).clip(0, 1)
        square = np.full((len(image), SIDE, SIDE), 0.5, np.float32)
        core = np.zeros((len(image), SIDE, SIDE), bool)
        rows, columns = (min(side, SIDE) for side in image.shape[1:])
        square[:, :rows, :columns], core[:, :rows, :columns] = unit[:, :rows, :columns], labels[:, :rows, :columns] == 2
        shown = core.sum((1, 2)) >= 20
        images.append(square[shown])
        masks.append(core[shown])
    mean, scale = INPUT_STATISTICS["mini"]
    batch = torch.from_numpy(np.concatenate(images))[:, None].expand(-1, 3, -1, -1)
    batch = torch.nn.functional.interpolate(batch, (SIZE, SIZE), mode="bilinear")
    return (batch - mean[0]) / scale[0], np.concatenate(masks)


def test_a_box_prompt_says_where(slices) -> None:
    """Masks prompted by the core's box are inside the box, and overlap with the core."""
    images, masks = slices
    encoder = load_encoder("mini", SIZE)
    prompts, decoder = build_prompt_encoder(SIZE), build_mask_decoder()
    for module, prefix in ((prompts, "prompt_encoder."), (decoder, "mask_decoder.")):
        module.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in encoder.sam_state.items()
                                if name.startswith(prefix)})
    scale = SIZE / SIDE
    held = [[np.flatnonzero(mask.any(axis)) for axis in (0, 1)] for mask in masks]  # columns, rows
    boxes = torch.tensor([[x[0], y[0], x[-1] + 1, y[-1] + 1] for x, y in held]) * scale
    with torch.inference_mode():
        sparse, dense = box_prompts(boxes, prompts).encode(prompts)
        logits, _ = decode_masks(decoder, encoder.module(images), prompts.get_dense_pe(), sparse, dense)
        logits = torch.nn.functional.interpolate(logits[:, :1], (SIDE, SIDE), mode="bilinear")[:, 0]
    found = logits.numpy() > 0
    overlap = [(one & other).sum() / (one | other).sum() for one, other in zip(found, masks, strict=True)]
    inside = np.zeros_like(found)
    for index, (x, y) in enumerate(held):
        inside[index, max(y[0] - 2, 0) : y[-1] + 3, max(x[0] - 2, 0) : x[-1] + 3] = True
    assert (found & inside).sum() > 0.8 * found.sum()
    assert np.mean(overlap) > 0.8  # found: 0.90, where a random decoder has 0.1
