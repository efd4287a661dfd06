"""The loop: stopped and resumed, averaged, grouped; state files are 166 MB, so one serves several tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from samunet.errors import UserError
from samunet.networks.checkpoints.shapes import encoder_weights
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.networks.sam import ENCODER_SIZES, Sam, build_image_encoder, build_sam, set_input_size
from samunet.pretraining import pretrainer as module
from samunet.pretraining.batches import Batch, BatchShape, make_batch
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.pretrainer import LOG, Pretrainer, batch_shape
from samunet.pretraining.query_buffer import QueryBuffer
from samunet.pretraining.recipe import DECODER_RATE, DECODER_STEPS, DECODER_UPDATES, FIRST_LESSON, SHARES, Phase, Recipe
from samunet.pretraining.regions import cell_coverage
from samunet.pretraining.state import STATE

STEPS, KILLED_AT = 4, 3
# One step of all, then only the decoder, with queries of earlier batches too.
RECIPE = Recipe((Phase(64, 1, 1), Phase(64, STEPS - 1, 1, "decoder")), seed=5)
CPU = torch.device("cpu")


class Killed(Exception):
    """Stands for a process that ends in the middle of a run."""


def weights(pretrainer: Pretrainer) -> dict[str, Tensor]:
    """All that a next step depends on."""
    return pretrainer._tensors()


@pytest.fixture(scope="module")
def quick() -> Iterator[pytest.MonkeyPatch]:
    """Validation costs more than training here; what it finds does not go back into the weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "validate", lambda *given: {})
        yield patch


@pytest.fixture(scope="module")
def uninterrupted(quick, tmp_path_factory) -> dict[str, Tensor]:
    """What STEPS steps in one run come to; no state is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretrainer, "_save", lambda self: None)
        trained = Pretrainer(RECIPE, tmp_path_factory.mktemp("one_run"), CPU)
        trained.run()
    return weights(trained)


@pytest.fixture(scope="module")
def stopped(quick, tmp_path_factory) -> Iterator[Path]:
    """The folder of a run that wrote its state after KILLED_AT steps and was killed in the next."""
    folder = tmp_path_factory.mktemp("stopped")
    train = Pretrainer._train_step

    def killed(self: Pretrainer, batch):
        if self.step == KILLED_AT:
            raise Killed
        return train(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS_BETWEEN_STATES", KILLED_AT)
        patch.setattr(Pretrainer, "_train_step", killed)
        with pytest.raises(Killed):
            Pretrainer(RECIPE, folder, CPU).run()
    yield folder
    (folder / STATE).unlink()


def test_a_run_that_continues_comes_to_the_same_bytes(stopped, uninterrupted, quick, capsys) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretrainer, "_save", lambda self: None)
        resumed = Pretrainer(RECIPE, stopped, CPU)
        assert resumed.step == KILLED_AT
        resumed.run()
    assert f"continuing at step {KILLED_AT} of {STEPS}" in capsys.readouterr().err
    found = weights(resumed)
    assert set(found) == set(uninterrupted)
    assert [name for name, tensor in uninterrupted.items() if not torch.equal(tensor, found[name])] == []


def test_the_state_holds_the_steps_before_it_and_more_steps_may_follow(stopped, uninterrupted) -> None:
    longer = Pretrainer(Recipe((Phase(64, 1, 1), Phase(64, 50, 1, "decoder"), Phase(128, 9, 2)), seed=5), stopped, CPU)
    assert (longer.step, longer.recipe.steps) == (KILLED_AT, 60)
    steps = {float(tensor) for name, tensor in weights(longer).items() if name.endswith("/step")}
    assert steps == {1.0, 1.0 + (KILLED_AT - 1) * DECODER_UPDATES}
    assert not torch.equal(weights(longer)["sam/mask_decoder.iou_token.weight"],
                           uninterrupted["sam/mask_decoder.iou_token.weight"])


@pytest.mark.parametrize(("phases", "requested"), [
    ((Phase(64, 4, 1),), "64:3:1:all"), ((Phase(64, 1, 1), Phase(128, 3, 1, "decoder")), "64:1:1:all 128:2:1:decoder"),
    ((Phase(64, 1, 1), Phase(64, 3, 2, "decoder")), "64:1:1:all 64:2:2:decoder")])
def test_steps_that_are_done_are_not_passed_off_as_others(stopped, phases, requested) -> None:
    with pytest.raises(UserError) as caught:
        Pretrainer(Recipe(phases, seed=5), stopped, CPU)
    assert caught.value.found == f"phases: saved 64:1:1:all 64:2:1:decoder, requested {requested}"


def test_fewer_steps_than_finished_are_refused_and_states_without_phases_continue(stopped, tmp_path) -> None:
    with pytest.raises(UserError, match="(?s)at least the steps.*3 finished, 1 requested"):
        Pretrainer(Recipe((Phase(64, 1, 1),), seed=5), stopped, CPU)
    with safe_open(stopped / STATE, framework="pt") as content:
        told = json.loads(content.metadata()["pretraining"])
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a mapping
    del told["recipe"]["phases"]
    save_file(tensors, tmp_path / STATE, metadata={"pretraining": json.dumps(told)})
    assert Pretrainer(RECIPE, tmp_path, CPU).step == KILLED_AT


@pytest.mark.parametrize("place", [300, -3])
def test_a_damaged_state_is_named_and_nothing_continues(stopped, tmp_path, place) -> None:
    content = bytearray((stopped / STATE).read_bytes())
    content[place] ^= 1
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(UserError, match="A checkpoint must be whole") as caught:
        Pretrainer(RECIPE, tmp_path, CPU)
    assert caught.value.where == str(tmp_path / STATE) and "Remove it to start again" in caught.value.mend
    save_file({"other": torch.zeros(1)}, tmp_path / STATE)
    with pytest.raises(UserError, match="must be valid"):
        Pretrainer(RECIPE, tmp_path, CPU)


def test_another_seed_or_other_losses_are_refused(stopped) -> None:
    with pytest.raises(UserError, match="A continued run must have the recipe that it began with") as caught:
        Pretrainer(Recipe(RECIPE.phases, seed=6), stopped, CPU)
    assert caught.value.found == "seed: saved 5, requested 6"
    assert caught.value.where == str(stopped / STATE)
    with pytest.raises(UserError) as caught:
        Pretrainer(Recipe(RECIPE.phases, seed=5, losses=("probe",)), stopped, CPU)
    assert caught.value.found.startswith("losses: saved ['promptable'")
    assert caught.value.found.endswith("requested ['probe']")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Pretrainer:
    """Before its first step."""
    return Pretrainer(RECIPE, tmp_path_factory.mktemp("fresh"), CPU)


def test_embeddings_begin_with_mean_0_and_deviation_1_in_each_channel(fresh) -> None:
    batch = make_batch(batch_shape(RECIPE.phases[0]), RECIPE.seed, 0)
    with torch.no_grad():
        embeddings = fresh.sam.image_encoder(batch.images.flatten(0, 2))
    torch.testing.assert_close(embeddings.mean((0, 2, 3)), torch.zeros(256), atol=1e-3, rtol=0)
    torch.testing.assert_close(embeddings.std((0, 2, 3)), torch.ones(256), atol=1e-3, rtol=0)
    start, last = untrained_state(), {"image_encoder.neck.3.weight", "image_encoder.neck.3.bias"}
    different = {name for name, tensor in fresh.sam.state_dict().items()
                 if name.startswith("image_encoder.") and not torch.equal(tensor, start[name])}
    assert different == last


def test_matrices_decay_and_the_rest_does_not(fresh) -> None:
    named = {id(tensor): name for part in (fresh.sam, fresh.extra) for name, tensor in part.named_parameters()}
    decaying, others = ({named[id(tensor)] for tensor in group["params"]} for group in fresh.optimizer.param_groups)
    assert [group["weight_decay"] for group in fresh.optimizer.param_groups] == [0.05, 0.0]
    assert decaying | others == set(named.values()) and not decaying & others
    assert {"image_encoder.blocks.0.attn.qkv.weight", "image_encoder.neck.0.weight", "projection.weight",
            "mask_decoder.transformer.layers.0.mlp.lin1.weight",
            "prompt_encoder.mask_downscaling.0.weight"} <= decaying
    assert {"image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h", "image_encoder.blocks.0.norm1.weight",
            "image_encoder.blocks.0.attn.qkv.bias", "mask_decoder.mask_tokens.weight", "mask_decoder.iou_token.weight",
            "prompt_encoder.point_embeddings.0.weight", "prompt_encoder.no_mask_embed.weight",
            "log_ridge", "log_block_ridge", "log_sharpness"} <= others


def test_the_first_average_is_a_tenth_of_the_old_and_the_first_rate_a_hundredth_of_the_peak(fresh) -> None:
    before = {name: tensor.clone() for name, tensor in fresh.sam.state_dict().items()}
    values = fresh._train_step(make_batch(batch_shape(RECIPE.phases[0]), RECIPE.seed, 0))
    assert set(values) == set(RECIPE.losses)
    after = fresh.sam.state_dict()
    moved = (after["image_encoder.pos_embed"] - before["image_encoder.pos_embed"]).abs().max()
    # Adam's first step is the rate, whatever the gradient; positions do not decay.
    assert float(moved) == pytest.approx(4e-4 / 100, rel=2e-2)
    for name, tensor in fresh.average.items():
        torch.testing.assert_close(tensor, 0.1 * before[name] + 0.9 * after[name], rtol=1e-5, atol=1e-8)
    frequencies = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"  # drawn once, never trained
    assert torch.equal(fresh.average[frequencies], before[frequencies])


def test_a_loss_that_is_no_number_stops_the_run(fresh, small_batch, monkeypatch) -> None:
    monkeypatch.setattr(module, "loss_of", lambda *given: torch.tensor(float("nan"), requires_grad=True))
    before = fresh.sam.image_encoder.pos_embed.detach().clone()
    with pytest.raises(FloatingPointError, match="loss promptable at step 0 is nan"):
        fresh._train_step(small_batch)
    assert torch.equal(fresh.sam.image_encoder.pos_embed, before)


def at_embeddings(fresh: Pretrainer, batch: Batch, names: tuple[str, ...], step: int, monkeypatch) -> Tensor:
    """What `names` ask of embeddings that are drawn, at step `step`."""
    torch.manual_seed(0)
    encoded = Encoded(batch, torch.randn(1, 4, 2, 256, 4, 4, requires_grad=True), cell_coverage(batch))
    monkeypatch.setattr(fresh, "recipe", replace(RECIPE, losses=names, phases=(Phase(64, DECODER_STEPS + 1, 1),)))
    monkeypatch.setattr(fresh, "step", step)
    set_input_size(fresh.sam, 64)
    fresh._backward(encoded, torch.Generator().manual_seed(0))
    return encoded.embeddings.grad


def test_each_loss_has_its_share_of_the_encoders_gradient(fresh, small_batch, monkeypatch) -> None:
    def asked(*names: str, step: int = 0) -> Tensor:
        return at_embeddings(fresh, small_batch, names, step, monkeypatch)

    for name, share in SHARES.items():
        assert float(asked(name, step=DECODER_STEPS).norm()) == pytest.approx(share, rel=1e-4)
    assert float(asked("promptable").norm()) == 0.0  # its decoder knows nothing yet
    begun = asked("in_context", step=(FIRST_LESSON + DECODER_STEPS) // 2)
    assert float(begun.norm()) == pytest.approx(SHARES["in_context"] / 2, rel=1e-4)
    # Contrast takes all cells at this size, whatever was drawn before.
    both = asked("reconstruction", "contrastive")
    torch.testing.assert_close(both, asked("reconstruction") + asked("contrastive"))


def test_the_encoder_is_frozen_while_only_the_decoder_is_trained(fresh, small_batch, monkeypatch) -> None:
    monkeypatch.setattr(fresh, "recipe", replace(RECIPE, phases=(Phase(64, 1, 1, "decoder"),)))
    monkeypatch.setattr(fresh, "average", {
        name: tensor if "gaussian" in name else tensor * 0.99 for name, tensor in fresh.sam.state_dict().items()})
    averaged = {name: tensor.clone() for name, tensor in fresh.average.items()}
    monkeypatch.setattr(fresh, "queries", QueryBuffer())
    assert set(fresh._train_step(small_batch)) == {"promptable", "in_context"}
    after = fresh.sam.state_dict()
    moved = {name.partition(".")[0] for name, tensor in after.items() if not torch.equal(tensor, averaged[name])}
    assert moved == {"prompt_encoder", "mask_decoder"}
    # Its rate warms up: the first step's updates are the first of 25.
    token = "mask_decoder.iou_token.weight"
    largest = float((after[token] - averaged[token]).abs().max())
    assert 0 < largest <= DECODER_UPDATES * RECIPE.learning_rate * DECODER_RATE * DECODER_UPDATES / 100 * 1.01


def test_frequencies_are_spread_from_a_tenth_to_one(fresh) -> None:
    torch.manual_seed(RECIPE.seed)
    drawn = build_sam("mini", 256).prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    factors = fresh.sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix / drawn
    torch.testing.assert_close(factors[0], 10 ** torch.linspace(-1, 0, 128))
    torch.testing.assert_close(factors[0], factors[1])


def test_the_log_has_means_between_lines_the_rest_at_the_end_and_then_the_validation(fresh, monkeypatch) -> None:
    seconds = count()
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))
    monkeypatch.setattr(module, "STEPS_BETWEEN_LINES", 3)
    monkeypatch.setattr(module, "STEPS_BETWEEN_VALIDATIONS", 4)
    monkeypatch.setattr(Pretrainer, "_train_step", lambda self, batch: {"probe": float(self.step)})
    monkeypatch.setattr(Pretrainer, "_batches", lambda self, first: repeat(None))
    monkeypatch.setattr(Pretrainer, "_save", lambda self: None)
    monkeypatch.setattr(Pretrainer, "validate", lambda self: {"probe_made": 0.5})
    monkeypatch.setattr(fresh, "recipe", Recipe((Phase(64, 3, 1), Phase(80, 5, 1))))
    monkeypatch.setattr(fresh, "step", 0)
    monkeypatch.setattr(fresh, "seconds", 10.0)
    fresh.run()
    lines = [json.loads(line) for line in (fresh.folder / LOG).read_text(encoding="utf-8").splitlines()]
    found = [(line["step"], line["size"], line.get("probe"), line.get("validation")) for line in lines]
    made = {"probe_made": 0.5}
    # Steps 0, 1, 2, then 3, 4, 5, then 6 and 7.
    assert found == [(3, 64, 1.0, None), (4, 80, None, made), (6, 80, 4.0, None), (8, 80, 6.5, None),
                     (8, 80, None, made)]
    # The clock goes on by one with each look; a step is one look after the one before, and the run began at 10.
    assert [line["seconds"] for line in lines] == [13, 14, 16, 18, 18]
    assert [line["learning_rate"] for line in lines] == pytest.approx([4e-6 * line["step"] for line in lines])


def test_batches_are_those_of_the_steps_that_are_left() -> None:
    recipe = Recipe((Phase(64, 2, 1), Phase(80, 1, 1)), seed=5)
    made = module._SyntheticBatches(recipe, 1, CPU)
    assert len(made) == 2
    assert torch.equal(made[0].images, make_batch(BatchShape(1, 4, 2, 64), 5, 1).images)
    assert torch.equal(made[1].images, make_batch(BatchShape(1, 4, 2, 80), 5, 2).images)


def test_images_of_another_size_are_encoded_as_a_loaded_encoder_does(mini_sam: Sam) -> None:
    torch.manual_seed(0)
    state = {name: tensor.clone() for name, tensor in mini_sam.state_dict().items()}
    for size in (256, 64):
        loaded = build_image_encoder("mini", size)
        loaded.load_state_dict(encoder_weights(state, ENCODER_SIZES["mini"], size))
        images = torch.randn(1, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(mini_sam.image_encoder(images), loaded(images), rtol=1e-4, atol=1e-4)


def test_each_part_s_gradient_is_shortened_to_a_norm_of_1(fresh, monkeypatch) -> None:
    monkeypatch.setattr(fresh.optimizer, "step", lambda: None)
    parts = fresh.sam.image_encoder, fresh.sam.prompt_encoder, fresh.sam.mask_decoder, fresh.extra
    for length, part in zip((0.5, 3.0, 1e4, 1.0), parts, strict=True):
        parameters = [*part.parameters()]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, length / sum(each.numel() for each in parameters) ** 0.5)
    fresh._update()
    norms = [torch.cat([parameter.grad.flatten() for parameter in part.parameters()]).norm().item() for part in parts]
    assert norms == pytest.approx([0.5, 1.0, 1.0, 1.0], rel=1e-2)  # float32 sums
