"""samunet_train's flags: what they become, what is refused before torch is loaded."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from samunet import console
from samunet.cli import train
from samunet.dataset.paths import Paths
from samunet.training.finished_run import FinishedRun
from samunet.training.settings import Request
from samunet.variants.registry import VARIANTS

LIGHT = ("import sys; from samunet.cli.train import main, parser; {}; "
         "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)")


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list:
    """What the command hands to the training room; nothing is trained."""
    calls: list = []
    monkeypatch.setattr(console, "_said", set())

    def noted(name: str, request: Request, paths: Paths, **named: object) -> FinishedRun:
        calls.append((name, request, paths, named))
        return FinishedRun(paths.results, None, "")

    for name in ("train_model", "validate_model"):
        monkeypatch.setattr(f"samunet.api.training.{name}", partial(noted, name))
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"samunet_{name}", str(tmp_path / name))
    return calls


def test_flags_become_a_request(asked, tmp_path: Path) -> None:
    code = train.main(["27", "cnn_head", "3", "-p", "mine", "--epochs", "4", "--shots", "5", "--draw", "2", "--seed",
                       "9", "--shot_slices", "7",
                       "-pretrained_weights", "w.safetensors", "--npz", "-device", "cpu", "-np", "3", "--c",
                       "--results", str(tmp_path / "elsewhere")])
    assert code == 0
    [(name, request, paths, named)] = asked
    assert name == "train_model" and named == {"must_continue": True, "workers": 3}
    assert (request.dataset, request.variant, request.fold, request.plans_name) == ("27", "cnn_head", "3", "mine")
    assert request.iterations == 200 and request.minutes is None
    assert (request.shots, request.draw, request.seed, request.shot_slices) == (5, 2, 9, 7)
    assert request.pretrained_weights == Path("w.safetensors") and request.probabilities and request.device == "cpu"
    assert (paths.raw, paths.results) == (tmp_path / "raw", tmp_path / "elsewhere")


@pytest.mark.parametrize("mode, variant", [("off", "hybrid_off"), ("augment", "hybrid_augment"), ("prior", "hybrid"),
                                           ("selftrain", "hybrid_selftrain"), ("teacher", "hybrid_teacher")])
def test_a_mode_of_transport_is_a_variant_of_its_own(asked, mode: str, variant: str) -> None:
    for name in ("hybrid", variant):
        for flags in (["--transport", mode], ["--set", f"transport={mode}"]):
            assert train.main(["27", name, "0", *flags]) == 0
            assert asked.pop()[1].variant == variant
    assert train.main(["27", "hybrid", "0"]) == 0 and asked.pop()[1].variant == "hybrid"


@pytest.mark.parametrize(("variant", "found"),
                         [("unet", "no setting transport"), ("hybrid_off", "transport=selftrain")])
def test_transport_is_refused_where_it_means_nothing_or_contradicts_the_name(
    asked, capsys, variant: str, found: str
) -> None:
    assert train.main(["27", variant, "0", "--transport", "selftrain"]) == 2
    told = capsys.readouterr().err
    assert found in told and variant in told
    assert not asked


def test_settings_are_values_of_the_request(asked, capsys) -> None:
    assert train.main(["27", "hybrid", "0", "--set", "dropout=0.2", "--set", "transport=off"]) == 0
    request = asked.pop()[1]
    assert (request.variant, request.settings) == ("hybrid_off", {"dropout": 0.2})
    assert train.main(["27", "lora", "0", "--set", "rank=1000", "--set", "alpha=2"]) == 2
    told = capsys.readouterr().err
    assert "alpha" in told and "rank: int at least 1 at most 256" in told and not asked


def test_list_prints_the_settings_of_one_variant(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.main(["--list", "lora"])
    assert stopped.value.code == 0
    assert "--set rank: int at least 1 at most 256, default 4" in capsys.readouterr().out
    assert train.main(["--list", "nope"]) == 2 and "nope" in capsys.readouterr().err


def test_val_only_validates(asked) -> None:
    assert train.main(["27", "label_prior", "all", "--val", "-np", "1"]) == 0
    [(name, request, _, named)] = asked
    assert name == "validate_model" and named == {"workers": 1}
    assert request.iterations is None and request.encoder == "mini"


def test_one_process_validates_once_more_however_many_trained(asked, monkeypatch) -> None:
    started: list = []
    monkeypatch.setattr(train, "launch", lambda processes, _: started.append(processes))
    assert train.main(["27", "label_prior", "0", "-num_gpus", "2"]) == 0 and (started, asked) == ([2], [])
    assert train.main(["27", "label_prior", "0", "-num_gpus", "2", "--val"]) == 0
    assert started == [2] and [name for name, *_ in asked] == ["validate_model"]


def test_a_line_says_that_the_encoder_is_untrained(asked, capsys) -> None:
    train.main(["27", "cnn_head", "0", "--encoder", "untrained"])
    assert capsys.readouterr().err.count("untrained") == 1
    console._said.clear()
    train.main(["27", "label_prior", "0", "--encoder", "untrained"])
    assert "untrained" not in capsys.readouterr().err


def test_list_prints_every_variant_without_torch(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.parser().parse_args(["--list"])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(VARIANTS)
    listed = subprocess.run([sys.executable, "-c", LIGHT.format("\ntry: main(['--list'])\nexcept SystemExit: pass")],
                            check=False)
    assert listed.returncode == 0


def test_an_unknown_variant_is_refused_without_torch() -> None:
    refused = subprocess.run([sys.executable, "-c", LIGHT.format("assert main(['4', 'nope', '0']) == 2")],
                             check=False, capture_output=True, text=True)
    assert refused.returncode == 0, refused.stderr
    assert "nope" in refused.stderr and all(name in refused.stderr for name in VARIANTS)


@pytest.mark.parametrize(("flags", "kind", "file"), [
    (["--oracle_prompts"], "point", None),
    (["--oracle_prompts", "box3d"], "box3d", None),
    (["--prompts", "clicks.json"], None, Path("clicks.json")),
])
def test_prompts_come_from_the_labels_or_a_file(asked, flags, kind, file) -> None:
    assert train.main(["27", "sam_zeroshot", "0", *flags]) == 0
    [(_, request, _, _)] = asked
    assert (request.oracle_prompts, request.prompts) == (kind, file)


@pytest.mark.parametrize(("flags", "fault"), [
    (["--prompts", "boxes.json", "--box_relax", "5"], "where an oracle gives boxes"),
    (["--oracle_prompts", "point", "--box_relax", "5"], "where an oracle gives boxes"),
])
def test_boxes_are_relaxed_only_with_an_oracle(asked, capsys, flags, fault) -> None:
    assert train.main(["27", "sam_zeroshot", "0", "--oracle_prompts", "box3d", "--box_relax", "5"]) == 0
    assert asked.pop()[1].box_relax == 5.0
    assert train.main(["27", "sam_zeroshot", "0", *flags]) == 2
    assert fault in capsys.readouterr().err and asked == []


def test_a_variant_that_answers_prompts_needs_some(asked, capsys) -> None:
    assert train.main(["27", "sam_zeroshot", "0"]) == 2
    told = capsys.readouterr().err
    assert "--prompts" in told and "--oracle_prompts" in told
    assert train.main(["27", "label_prior", "0", "--oracle_prompts"]) == 2
    assert "one of: 3d_adapter_box, 3d_promptable, sam_zeroshot" in capsys.readouterr().err and asked == []


@pytest.mark.parametrize("flags", [["--epochs", "1", "--minutes", "2"], ["--c", "--val"], ["--iterations", "many"],
                                   ["--prompts", "clicks.json", "--oracle_prompts"], ["--oracle_prompts", "line"]])
def test_flags_that_contradict_each_other_exit_with_2(flags) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.parser().parse_args(["4", "cnn_head", "0", *flags])
    assert stopped.value.code == 2


@pytest.mark.parametrize(("flags", "told"), [
    (["--epochs", "0"], "argument --epochs: must be a whole number from 1 to 200000, not 0"),
    (["--box_relax", "-1"], "argument --box_relax: must be a number from 0 to 1000, not -1"),
    (["--box_relax", "inf"], "argument --box_relax: must be a number from 0 to 1000, not inf"),
])
def test_bad_numbers_are_reported_with_their_bounds_and_exit_with_2(asked, capsys, flags, told) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.main(["4", "label_prior", "0", *flags])
    assert stopped.value.code == 2 and told in capsys.readouterr().err and asked == []


def test_loggers_are_named_once_each(asked) -> None:
    assert train.main(["27", "unet", "0", "--logger", "wandb", "--logger", "csv", "--logger", "wandb"]) == 0
    assert asked.pop()[1].loggers == ("wandb", "csv")
    assert train.main(["27", "unet", "0"]) == 0 and asked.pop()[1].loggers == ()
