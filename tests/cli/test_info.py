"""samunet_info prints what is installed, as text and as JSON."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import samunet
from samunet.cli.info import main
from samunet.networks.checkpoints import released
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.variants.registry import VARIANTS


@pytest.fixture
def content(capsys, monkeypatch, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "sam_vit_b_01ec64.pth").write_bytes(b"0" * 3 * 2**20)
    (tmp_path / "checkpoints" / "notes.txt").write_text("no checkpoint")
    for name in ("raw", "preprocessed", "results", "checkpoints"):
        monkeypatch.setenv(f"samunet_{name}", str(tmp_path / name))
    assert main(["--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_versions_paths_encoders_hardware_and_variants(content, tmp_path):
    assert content["samunet"] == samunet.__version__
    assert content["packages"]["torch"].count(".") >= 2
    assert content["paths"]["samunet_raw"] == {"path": str(tmp_path / "raw"), "exists": True}
    assert content["paths"]["samunet_results"] == {"path": str(tmp_path / "results"), "exists": False}
    names = ["mini", "untrained", "pixels", "vit_b", "vit_l", "vit_h", "sam_vit_b_01ec64.pth"]
    assert list(content["encoders"]) == names
    assert [name for name, encoder in content["encoders"].items() if encoder["default"]] == [DEFAULT_ENCODER]
    assert content["encoders"]["sam_vit_b_01ec64.pth"]["description"].startswith("3 MiB")
    assert content["variants"] == {name: entry.help for name, entry in VARIANTS.items()}
    hardware = content["hardware"]
    assert hardware["processors"] == os.cpu_count() and hardware["memory_bytes"] > 2**30
    assert "SimpleITKIO" in content["readers"] and content["loggers"] == ["tensorboard", "wandb"]


def test_the_page_names_the_keys(content):
    page = (Path(__file__).parents[2] / "documentation" / "reference" / "info.md").read_text(encoding="utf-8")
    table = set(re.findall(r"`(\w+)`", page.partition("|---|---|")[2].partition("```")[0]))
    assert content.keys() | content["hardware"].keys() | {"path", "exists", "description", "default"} <= table


def test_text_fits_one_screen(capsys, content):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert f"{os.cpu_count()} (" in text and "results (does not exist yet)" in text and "mini-3" in text
    assert text.startswith(f"samunet {samunet.__version__}, Python 3.")
    assert len(text.splitlines()) <= 40
    for name in ("untrained", *VARIANTS):
        assert name in text


@pytest.mark.parametrize("ships", [True, False])
def test_mini_says_what_it_was_trained_on(tmp_path, monkeypatch, capsys, ships):
    monkeypatch.setattr(released, "files", lambda package: tmp_path)
    if ships:
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "mini-3.json").write_text('{"trained_on": "images that were made"}')
    assert main([]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "mini-3" in line)
    assert ("mini-3, trained on images that were made" if ships else "mini-3, not shipped") in line
