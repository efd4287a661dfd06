"""What an exported file and its card hold; the whole way through the command is in tests/cli."""

from __future__ import annotations

import json
from types import SimpleNamespace

import torch
from safetensors import safe_open

from samunet.pretraining.export import export
from samunet.pretraining.pretrainer import LOG
from samunet.pretraining.recipe import Phase, Recipe


def test_averaged_weights_in_half_precision_and_a_card(tmp_path) -> None:
    average = {"image_encoder.b": torch.tensor([1 / 3]), "image_encoder.a": torch.arange(6.0).view(2, 3).T}
    lines = [{"step": 1, "threads": 1}, {"step": 1, "threads": 2, "validation": {"probe_made": 0.25}},
             {"step": 2, "threads": 1, "validation": {"probe_made": 0.5}}]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    recipe = Recipe((Phase(64, 2, 3), Phase(128, 1, 2)), seed=7, losses=("probe",))
    run = SimpleNamespace(folder=tmp_path, average=average, recipe=recipe, step=3, seconds=5400.0,
                          device=torch.device("cpu"))
    path = export(run, "samunet_pretrain_encoder -o x")
    assert path == tmp_path / "mini.safetensors"
    with safe_open(path, framework="pt") as content:
        assert content.metadata() == {"family": "mini"}
        assert sorted(content.keys()) == ["image_encoder.a", "image_encoder.b"]
        assert torch.equal(content.get_tensor("image_encoder.a"), torch.tensor([[0, 3], [1, 4], [2, 5]]).half())
        assert float(content.get_tensor("image_encoder.b")) == 0.333251953125  # the half-precision number next to 1/3
    card = json.loads((tmp_path / "mini.json").read_text(encoding="utf-8"))
    # 2 x 3 families and 1 x 2, of 4 patients with 2 slices each.
    assert card["trained_on"] == "64 images of synthetic anatomies; no collected image"
    assert (card["command"], card["seed"], card["steps"], card["hours"]) == ("samunet_pretrain_encoder -o x", 7, 3, 1.5)
    assert (card["hardware"], card["threads"], card["licence"]) == ("CPU", [1, 2], "Apache-2.0")
    assert card["validation"] == [{"probe_made": 0.5}]
    assert card["recipe"]["losses"] == ["probe"]
    assert card["recipe"]["phases"][1] == {"size": 128, "steps": 1, "families": 2, "part": "all"}
