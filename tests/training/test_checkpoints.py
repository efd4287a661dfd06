"""Initial weights from another run, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from samunet.errors import UserError
from samunet.training.checkpoints import Progress, load_latest, save_latest, save_weights, start_from


def test_equal_weights_give_equal_bytes(made, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_weights(tmp_path / name, made.tiny_variant(seed=4).state())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_latest_checkpoint_puts_back_weights_the_optimisers_moments_and_progress(made, tmp_path: Path) -> None:
    def fresh(seed: int) -> tuple:
        variant = made.tiny_variant(seed)
        return variant, variant.optimizer([*variant.network.parameters()]), torch.amp.GradScaler("cpu", enabled=False)

    variant, optimizer, scaler = fresh(1)
    for parameter in variant.network.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    optimizer.step()
    save_latest(tmp_path / "latest", variant, optimizer, scaler, Progress(7, 1.5))
    again, restored, other = fresh(2)
    assert load_latest(tmp_path / "latest", again, restored, other) == Progress(7, 1.5)
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in variant.state().items())
    # AdamW's moments after one step: a tenth of the gradient and a thousandth of its square.
    for values in restored.state.values():
        assert values["step"] == 1
        torch.testing.assert_close(values["exp_avg"], torch.full_like(values["exp_avg"], 0.2))
        torch.testing.assert_close(values["exp_avg_sq"], torch.full_like(values["exp_avg_sq"], 0.004))
    assert len(restored.state) == len(optimizer.state) > 0


def test_start_from_takes_what_fits_and_leaves_the_rest(made, tmp_path: Path, capsys) -> None:
    given = made.tiny_variant(seed=1).state()
    given["3.weight"] = torch.zeros(5, 8, 1, 1)  # another number of classes
    del given["0.bias"]
    save_weights(tmp_path / "given.safetensors", given)
    variant = made.tiny_variant(seed=2)
    own = {name: tensor.clone() for name, tensor in variant.state().items()}
    start_from(tmp_path / "given.safetensors", variant)
    assert torch.equal(variant.state()["0.weight"], given["0.weight"])
    assert torch.equal(variant.state()["3.weight"], own["3.weight"])
    told = capsys.readouterr().err
    assert f"{len(own) - 2} of {len(own)} tensors" in told
    assert "not in that file, so new: 0.bias" in told
    assert f"of another shape in that file, so new: 3.weight (5x8x1x1 there, {len(own['3.weight'])}x8x1x1 here)" in told


def test_a_file_that_fits_nothing_is_refused(made, tmp_path: Path) -> None:
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="must fit the variant"):
        start_from(tmp_path / "other.safetensors", made.tiny_variant())


def test_a_file_of_another_format_is_refused(made, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04 not safetensors")
    with pytest.raises(UserError, match="readable .safetensors"):
        start_from(tmp_path / "weights.pth", made.tiny_variant())
