"""Loggers: what they get of a whole run, what TensorBoard and wandb store of it, what happens when one fails."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from whole_runs import REQUEST, model, start

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json
from samunet.training import loggers
from samunet.training.logbook import Entry, Logbook
from samunet.training.loggers import Loggers, makers_of, scores_of


class Memory:
    """Stores its calls. Those of the last one that was made are in `calls`."""

    calls: list[tuple]

    def __init__(self, folder: Path) -> None:
        type(self).calls = [("made", folder.name, folder.is_dir())]

    def update_config(self, config: Mapping[str, Any]) -> None:
        self.calls.append(("config", dict(config)))

    def log(self, key: str, value: float, step: int) -> None:
        self.calls.append((key, value, step))

    def log_summary(self, values: Mapping[str, float]) -> None:
        self.calls.append(("summary", dict(values)))


class Broken(Memory):
    def log(self, key: str, value: float, step: int) -> None:
        raise ZeroDivisionError("no server")


def test_a_run_gives_its_settings_then_its_lines_then_its_scores(
    paths: Paths, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loggers.SHIPPED_LOGGERS, "memory", f"{__name__}:Memory")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Memory.__module__])
    start(replace(REQUEST, loggers=("memory",)), paths)
    made, config, *lines, summary = Memory.calls
    assert made == ("made", "fold_0.unfinished", True)
    assert config[1]["iterations"] == 60 and config[1]["variant"] == "linear_head"
    assert [(key, step) for key, _, step in lines] == [
        (key, step) for step in (50, 60) for key in ("loss", "learning_rate", "seconds", "pseudo_dice")]
    written = read_json(model(paths) / "fold_0" / "validation" / "summary.json")
    assert summary[1]["Dice"] == written["foreground_mean"]["Dice"] and len(summary[1]) == 1 + len(written["mean"])
    name = "checkpoint_final.safetensors"
    assert (model(paths) / "fold_0" / name).read_bytes() == (finished / name).read_bytes()


def test_a_logger_that_fails_is_reported_once_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(folder: Path) -> Memory:
        raise OSError("no network")

    several = Loggers({"broken": Broken, "memory": Memory, "unreachable": unreachable}, tmp_path / "run")
    several.begin({})
    logbook = Logbook(tmp_path, 0, several)
    for iteration in (50, 100):
        logbook.add(Entry(iteration, 0.5, 0.001, 2.0))
    several.end({})
    told = capsys.readouterr().err
    assert told.count("logger broken failed and gets nothing more: ZeroDivisionError: no server") == 1
    assert told.count("logger unreachable failed and gets nothing more: OSError: no network") == 1
    assert Memory.calls[2] == ("loss", 0.5, 50) and Memory.calls[-1] == ("summary", {}) and len(Memory.calls) == 9
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_scores_by_hand() -> None:
    summary = {"foreground_mean": {"Dice": 0.75, "IoU": 0.6}, "mean": {"1": {"Dice": 1}, "(1, 2)": {"Dice": 0.5}}}
    assert scores_of(summary) == {"Dice": 0.75, "Dice/1": 1.0, "Dice/(1, 2)": 0.5}
    assert scores_of(None) == {}


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_package_that_is_not_installed_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, name: str, package: str
) -> None:
    monkeypatch.delitem(sys.modules, f"samunet.training.{name}_logger", raising=False)
    monkeypatch.setitem(sys.modules, package, None)  # as the import of a package that is not there
    with pytest.raises(UserError, match=rf"needs the package {name}\.") as caught:
        start(replace(REQUEST, loggers=(name,)), paths)
    assert caught.value.mend == f"Install the extra: pip install 'samunet[{name}]'."
    assert not model(paths).exists()


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Loggers(makers_of(["tensorboard"]), tmp_path)
    run.begin({"variant": "unet"})
    run.log({"loss": 0.5}, 50)
    run.log({"loss": 0.25}, 100)
    run.end({"Dice": 0.75})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(50, 0.5), (100, 0.25)]
    assert [(event.step, event.value) for event in events.Scalars("validation/Dice")] == [(100, 0.75)]
    [text] = events.Tensors("settings/text_summary")
    assert b'"variant": "unet"' in text.tensor_proto.string_val[0]


def test_wandb_stores_a_run_on_the_disk_and_continues_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for _ in range(2):
        run = Loggers(makers_of(["wandb"]), tmp_path)
        run.begin({"variant": "unet"})
        run.log({"loss": 0.5, "learning_rate": 0.125}, 50)
        run.end({"Dice": 0.75})
    wandb.teardown()  # its service writes on when a run is finished
    name = (tmp_path / "wandb_run.txt").read_text()
    stored = list((tmp_path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert 1 <= len(stored) <= 2 and len(list((tmp_path / "wandb").glob("offline-run-*"))) == len(stored)
    for each in (b'"unet"', b"loss", b"0.125", b"Dice", b"0.75"):
        assert all(each in path.read_bytes() for path in stored)
