"""samunet_pretrain_encoder: two steps from the command line to an encoder that loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from samunet.cli import pretrain_encoder
from samunet.locks import owned
from samunet.networks.checkpoints.encoders import encoder_spec, load_encoder
from samunet.networks.sam import build_sam
from samunet.pretraining.pretrainer import LOG, Pretrainer
from samunet.pretraining.recipe import LOSSES, Phase, Recipe
from samunet.pretraining.state import STATE

ARGUMENTS = ("--phases", "64:2:1", "-device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Iterator[Path]:
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("pretrained")
    assert pretrain_encoder.main(["-o", str(folder), *ARGUMENTS]) == 0
    yield folder
    (folder / STATE).unlink()


def tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as content:
        names = [name for name in content.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
        return {name[len(prefix) :]: content.get_tensor(name) for name in names}


def test_the_file_is_a_whole_sam_in_half_precision(trained, tmp_path) -> None:
    weights = trained / "mini.safetensors"
    assert weights.stat().st_size < 24e6
    found = tensors(weights)
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in build_sam("mini", 256).state_dict().items()}
    assert {name: tensor.shape for name, tensor in found.items()} == expected
    assert {tensor.dtype for tensor in found.values()} == {torch.float16}
    # They are the averaged weights, and these have left their start.
    average = tensors(trained / STATE, "average/")
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in average.items())
    start = Pretrainer(Recipe((Phase.parse("64:2:1"),)), tmp_path, torch.device("cpu")).average
    moved = [name for name, tensor in average.items() if not torch.equal(tensor, start[name])]
    assert {name.partition(".")[0] for name in moved} == {"image_encoder", "prompt_encoder", "mask_decoder"}


def test_it_loads_and_gives_the_embeddings_of_the_averaged_weights(trained) -> None:
    weights = trained / "mini.safetensors"
    spec = encoder_spec(str(weights))
    assert (spec.size, spec.family, spec.native_input_size) == ("mini", "mini", 256)
    encoder = load_encoder(str(weights), 256)
    sam = build_sam("mini", 256)
    sam.load_state_dict({name: tensor.half().float() for name, tensor in tensors(trained / STATE, "average/").items()})
    pictures = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(encoder.module(pictures), sam.image_encoder(pictures), rtol=1e-4, atol=1e-4)


def test_card_and_log_say_how_it_was_trained(trained) -> None:
    card = json.loads((trained / "mini.json").read_text(encoding="utf-8"))
    assert card["trained_on"] == "16 images of synthetic anatomies; no collected image"
    assert card["command"] == f"samunet_pretrain_encoder -o {trained} --phases 64:2:1 -device cpu"
    assert (card["seed"], card["steps"], card["hardware"]) == (0, 2, "CPU")
    [figures] = card["validation"]
    assert set(figures) == {"probe_made", "place", "in_context", "box", "ellipse", "probe_phantom"}
    assert all(0 < value < 1 for value in figures.values())
    losses, validation = (json.loads(line) for line in (trained / LOG).read_text(encoding="utf-8").splitlines())
    for line in (losses, validation):
        assert (line["step"], line["size"], line["threads"]) == (2, 64, torch.get_num_threads())
        assert line["learning_rate"] == pytest.approx(4e-4 * 2 / 100)
        assert line["seconds"] == losses["seconds"] > 0
    assert validation["validation"] == figures and "validation" not in losses
    assert all(losses[name] > 0 for name in LOSSES)


def test_a_run_that_is_done_trains_no_further(trained, capsys) -> None:
    files = ("mini.safetensors", STATE, LOG)
    before = {name: ((trained / name).read_bytes() if name != STATE else (trained / name).stat().st_mtime_ns)
              for name in files}
    assert pretrain_encoder.main(["-o", str(trained), *ARGUMENTS]) == 0
    said = capsys.readouterr()
    assert "continuing at step 2 of 2" in said.err
    assert said.out == f"{trained / 'mini.safetensors'}: select it with --encoder {trained / 'mini.safetensors'}\n"
    after = {name: ((trained / name).read_bytes() if name != STATE else (trained / name).stat().st_mtime_ns)
             for name in files}
    assert after == before


def test_another_recipe_in_the_same_folder_is_refused(trained, capsys) -> None:
    assert pretrain_encoder.main(["-o", str(trained), *ARGUMENTS, "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert "A continued run must have the recipe that it began with." in error and "seed: saved 0, requested 1" in error


@pytest.mark.parametrize("phase", ("64:2", "60:2:1", "64:0:1", "big"))
def test_bad_phases_are_refused_before_anything_is_written(phase, tmp_path, capsys) -> None:
    assert pretrain_encoder.main(["-o", str(tmp_path / "x"), "--phases", phase]) == 2
    error = capsys.readouterr().err
    assert "where: --phases" in error and f"found: {phase}" in error and "128:4000:4" in error
    assert not (tmp_path / "x").exists()


def test_an_unknown_loss_is_a_usage_error(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        pretrain_encoder.main(["-o", str(tmp_path / "x"), "--without", "colour"])
    assert caught.value.code == 2 and "colour" in capsys.readouterr().err


def test_the_command_knows_the_losses_without_importing_torch() -> None:
    assert pretrain_encoder.LOSSES == LOSSES
    code = ("import sys; from samunet.cli.pretrain_encoder import parser; parser().format_help(); "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fewer_steps_than_were_done_are_refused(trained, capsys) -> None:
    assert pretrain_encoder.main(["-o", str(trained), "--phases", "64:1:1", "-device", "cpu"]) == 2
    assert "2 finished, 1 requested" in capsys.readouterr().err


def test_leaving_out_every_loss_is_refused(tmp_path, capsys) -> None:
    assert pretrain_encoder.main(["-o", str(tmp_path / "new"), "--without", *LOSSES]) == 2
    assert "At least one loss" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_second_pretraining_in_one_folder_is_refused(tmp_path, capsys) -> None:
    with owned(tmp_path / ".pretraining.lock", tmp_path):
        assert pretrain_encoder.main(["-o", str(tmp_path), *ARGUMENTS]) == 2
    assert "Only one command at a time" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
