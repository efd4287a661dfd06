"""Initial weights from another run, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from damage import flip
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from samunet.errors import UserError
from samunet.files import digest_of_file, write_json
from samunet.inference.model_weights import CHECKPOINT, DIGEST
from samunet.training.checkpoints import LATEST, Progress, load_latest, save_latest, save_weights, start_from


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


def test_pretrained_weights_are_compared_with_the_run_that_wrote_them(made, tmp_path: Path) -> None:
    digest = save_weights(tmp_path / CHECKPOINT, made.tiny_variant(seed=1).state())
    assert digest == digest_of_file(tmp_path / CHECKPOINT)
    write_json(tmp_path / "run.json", {DIGEST: digest})
    start_from(tmp_path / CHECKPOINT, made.tiny_variant())
    flip(tmp_path / CHECKPOINT, (tmp_path / CHECKPOINT).stat().st_size - 3, 1)
    with pytest.raises(UserError, match="other content than run.json recorded"):
        start_from(tmp_path / CHECKPOINT, made.tiny_variant())


def test_pretrained_weights_that_are_not_finite_are_refused(made, tmp_path: Path) -> None:
    state = made.tiny_variant(seed=1).state()
    save_file({**state, "0.bias": state["0.bias"] / 0}, tmp_path / "given.safetensors")
    with pytest.raises(UserError, match="0.bias holds numbers that are not finite"):
        start_from(tmp_path / "given.safetensors", made.tiny_variant())


def trained(made, seed: int) -> tuple:
    """A variant and its optimiser after one step, and a scaler."""
    variant = made.tiny_variant(seed)
    optimizer = torch.optim.AdamW(variant.network.parameters(), 1e-2)
    sum(parameter.square().sum() for parameter in variant.network.parameters()).backward()
    optimizer.step()
    return variant, optimizer, torch.amp.GradScaler("cpu", enabled=False)


@pytest.mark.parametrize("before", [False, True], ids=["checksum", "of before"])
def test_the_latest_checkpoint_comes_back(made, tmp_path: Path, before: bool) -> None:
    variant, optimizer, scaler = trained(made, 1)
    save_latest(tmp_path / LATEST, variant, optimizer, scaler, Progress(50, 1.5))
    if before:
        with safe_open(tmp_path / LATEST, framework="pt") as content:
            scalars = {"training": content.metadata()["training"]}
        save_file(load_file(tmp_path / LATEST), tmp_path / LATEST, metadata=scalars)
    other, others, othersc = trained(made, 2)
    assert load_latest(tmp_path / LATEST, other, others, othersc) == Progress(50, 1.5)
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in variant.state().items())
    found, wanted = others.state_dict()["state"], optimizer.state_dict()["state"]
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[index][name], tensor) for index in wanted for name, tensor in wanted[index].items())


def test_no_flipped_bit_of_the_latest_checkpoint_changes_what_goes_on(made, tmp_path: Path, capsys) -> None:
    """Either all comes back, or nothing does and the run begins again."""
    variant, optimizer, scaler = trained(made, 1)
    save_latest(tmp_path / "whole", variant, optimizer, scaler, Progress(50, 1.5))
    whole, other = (tmp_path / "whole").read_bytes(), trained(made, 2)
    untouched = {name: tensor.clone() for name, tensor in other[0].state().items()}
    started_again = 0
    for place in [*range(0, 400, 7), *range(400, len(whole), 997)]:
        (tmp_path / LATEST).write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        progress = load_latest(tmp_path / LATEST, *other)
        assert progress in (Progress(50, 1.5), Progress(0, 0.0)), place
        if progress.iteration == 0:
            started_again += 1
            assert all(torch.equal(tensor, other[0].state()[name]) for name, tensor in untouched.items()), place
        else:
            assert all(torch.equal(tensor, other[0].state()[name]) for name, tensor in variant.state().items()), place
            other[0].load_state(untouched)
    assert started_again > 60 and capsys.readouterr().err.count("cannot be used") == started_again
