"""When a run continues, begins anew or is refused, and that a folder is replaced whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from samunet.errors import UserError
from samunet.training.run_folder import RunFolder, Start, stored_run
from samunet.training.settings import Settings

SETTINGS = Settings("Dataset004_Hippocampus", "cnn_head", "0", "samunetPlans", "untrained", 400, None, 8, 5e-4, 1e-2, 0,
                    None,
                    0, None, "cpu", "ab", "cd", "ef")
LONGER = dataclasses.replace(SETTINGS, iterations=500)


def run_of(settings: Settings, finished: str | None = None) -> dict:
    return {"settings": settings.to_json(), "variant": settings.variant,
            "encoder": {"id": settings.encoder, "name": "untrained", "digest": "ab"},
            "train_cases": ["a"], "val_cases": ["b"], "seconds": {}, "finished": finished,
            "trained_by": "samunet_train"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "model", "0")


def finish(folder: RunFolder, settings: Settings, weights: str) -> None:
    folder.write(run_of(settings, "2026-01-01T00:00:00+00:00"))
    (folder.work / "weights").write_text(weights)
    folder.finish()


def test_nothing_there(folder: RunFolder) -> None:
    assert folder.start(SETTINGS, must_continue=False) is Start.ANEW
    with pytest.raises(UserError, match="needs a run to continue"):
        folder.start(SETTINGS, must_continue=True)


def test_an_unfinished_run_of_equal_settings_continues(folder: RunFolder) -> None:
    folder.write(run_of(SETTINGS))
    (folder.work / "weights").write_text("half")
    for must_continue in (False, True):
        assert folder.start(SETTINGS, must_continue) is Start.CONTINUE
    assert (folder.work / "weights").read_text() == "half"


@pytest.mark.parametrize("is_finished", [False, True])
def test_other_settings_of_the_variant_never_replace_a_run(folder: RunFolder, is_finished: bool) -> None:
    wider = dataclasses.replace(SETTINGS, variant_settings={"rank": 16}, changed_settings={"rank": 16})
    if is_finished:
        finish(folder, wider, "wide")
    else:
        folder.write(run_of(wider))
    with pytest.raises(UserError, match=r"(?s)one set.*found: rank=16 there, default settings here.*--results"):
        folder.start(SETTINGS, must_continue=False)
    assert folder.start(wider, must_continue=False) is (Start.ANEW if is_finished else Start.CONTINUE)


def test_an_older_run_without_recorded_settings_matches_the_defaults_alone(folder: RunFolder) -> None:
    older = run_of(SETTINGS)
    del older["settings"]["variant_settings"], older["settings"]["changed_settings"]
    folder.write(older)
    assert folder.start(dataclasses.replace(SETTINGS, variant_settings={"rank": 4}),
                        must_continue=True) is Start.CONTINUE
    changed = dataclasses.replace(SETTINGS, variant_settings={"rank": 16}, changed_settings={"rank": 16})
    with pytest.raises(UserError, match="changed_settings"):
        folder.start(changed, must_continue=True)


def test_an_unfinished_run_of_other_settings(folder: RunFolder) -> None:
    folder.write(run_of(SETTINGS))
    with pytest.raises(UserError, match="iterations: 400 there, 500 here"):
        folder.start(LONGER, must_continue=True)
    assert folder.work.is_dir()
    assert folder.start(LONGER, must_continue=False) is Start.ANEW
    assert not folder.work.exists()


def test_a_finished_run(folder: RunFolder) -> None:
    finish(folder, SETTINGS, "old")
    assert folder.start(SETTINGS, must_continue=True) is Start.NOTHING
    with pytest.raises(UserError, match="iterations: 400 there, 500 here"):
        folder.start(LONGER, must_continue=True)
    assert folder.start(SETTINGS, must_continue=False) is Start.ANEW
    assert (folder.final / "weights").read_text() == "old"


def test_a_new_run_replaces_the_old_one_when_whole(folder: RunFolder) -> None:
    finish(folder, SETTINGS, "old")
    finish(folder, LONGER, "new")
    assert (folder.final / "weights").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["fold_0"]


@pytest.mark.parametrize("step", ["before", "between", "after"])
def test_killed_while_the_folders_are_swapped(folder: RunFolder, step: str) -> None:
    finish(folder, SETTINGS, "old")
    folder.write(run_of(LONGER, "2026-01-02T00:00:00+00:00"))
    (folder.work / "weights").write_text("new")
    if step != "before":
        folder.final.rename(folder.parent / "fold_0.replaced")
    if step == "after":
        folder.work.rename(folder.final)
    assert folder.start(LONGER, must_continue=True) is Start.NOTHING
    assert (folder.final / "weights").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["fold_0"]


def test_stored_run_of_no_run(tmp_path: Path) -> None:
    assert stored_run(tmp_path) is None


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(("damage", "field"), [
    ([], "got `array`"),
    (None, "got `null`"),
    ({}, "no `settings`"),
    ({"settings": {}}, "no `iterations` - at `$.settings`"),
    ({"settings": {**SETTINGS.to_json(), "seed": "0"}}, "$.settings.seed"),
    ({"variant": []}, "$.variant"),
    ({"encoder": {"id": "mini-3", "digest": 3}}, "$.encoder.digest"),
    ({"train_cases": {"a": 1}}, "$.train_cases"),
    ({"seconds": {"training": "long"}}, "$.seconds.training"),
    ({"support": {"a": ["first"]}}, "$.support[...][0]"),
    ({"tokens": {}}, "required field `rule` - at `$.tokens`"),
    ({"finished": True}, "$.finished"),
])
def test_a_damaged_record_is_told_with_its_field_and_nothing_is_removed(
    folder: RunFolder, finished: bool, damage: Any, field: str
) -> None:
    place = folder.final if finished else folder.work
    place.mkdir(parents=True)
    content = {**run_of(SETTINGS), **damage} if damage else damage
    (place / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="run.json must be") as caught:
        folder.start(SETTINGS, must_continue=False)
    assert field in caught.value.found and caught.value.where == str(place / "run.json")
    assert json.loads((place / "run.json").read_text()) == content


def test_a_run_has_one_owner_at_a_time_and_no_lock_stays_with_it(folder: RunFolder) -> None:
    finish(folder, SETTINGS, "old")
    with folder.owned(), pytest.raises(UserError, match="Only one command") as caught, folder.owned():
        pytest.fail("both own it")
    assert caught.value.where == str(folder.final) and f"process {os.getpid()} " in caught.value.found
    with folder.owned(), RunFolder(folder.parent, "1").owned():  # another fold
        pass
    assert [path.name for path in folder.parent.iterdir()] == ["fold_0"]


def test_a_finished_run_is_not_replaced_without_a_word(folder: RunFolder, capsys) -> None:
    finish(folder, SETTINGS, "old")
    assert folder.start(SETTINGS, must_continue=False) is Start.ANEW
    assert f"{folder.final} is finished with the same settings, and is trained again" in capsys.readouterr().err
    assert folder.start(LONGER, must_continue=False) is Start.ANEW
    assert folder.start(SETTINGS, must_continue=True) is Start.NOTHING
    assert capsys.readouterr().err == ""
