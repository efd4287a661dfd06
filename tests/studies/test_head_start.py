"""Changed forms of `autosam` are what they say, and the table pairs them with the plain one."""

from __future__ import annotations

import json
from types import ModuleType, SimpleNamespace

import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.inputs.batches import Batch
from samunet.networks.autosam_head import AutoSamHead

STATE = {"prompt_encoder.point_embeddings.1.weight": torch.full((1, 256), 10.0),
         "mask_decoder.mask_tokens.weight": torch.full((4, 256), 100.0)}


@pytest.fixture
def study(script) -> ModuleType:
    return script("head_start")


def variant_with(head: AutoSamHead) -> SimpleNamespace:
    return SimpleNamespace(network=head, labels=LabelSpace({"background": 0, "a": 1}),
                           context=SimpleNamespace(sam_state=STATE))


def test_tokens_of_regions_are_the_means_of_their_cells(study) -> None:
    """2 x 2 cells hold 1 and 3 on the background, 5 and 5 on the class; type and mask token add 110."""
    embeddings = torch.tensor([[1.0, 3.0], [5.0, 5.0]]).expand(1, 256, 2, 2)
    labels = torch.tensor([[0] * 4, [0] * 4, [1] * 4, [1] * 4])[None]
    batches = SimpleNamespace(read=lambda iteration: Batch(iteration, ["one"], embeddings, labels))
    variant = variant_with(AutoSamHead(256, 2, 32, {}))
    study.region_tokens(variant, batches)
    assert variant.network.class_tokens.detach()[:, 0].tolist() == pytest.approx([112.0, 115.0])


@torch.no_grad()
def test_mixing_begins_as_the_plain_head_and_then_reaches_neighbours(study) -> None:
    torch.manual_seed(0)
    variant = variant_with(AutoSamHead(256, 2, 32, {}).eval())
    image = torch.randn(1, 256, 2, 2)
    plain = variant.network(image)
    study.mixing(variant, None)
    torch.nn.init.zeros_(variant.network.upscaling[-1].second.bias)
    assert torch.equal(variant.network(image), plain)
    mixing = study.Mixing(1)
    mixing.first.weight.fill_(1.0)
    mixing.second.weight.fill_(1.0)
    mixing.first.bias.zero_()
    mixing.second.bias.zero_()
    spot = torch.zeros(1, 1, 7, 7)
    spot[0, 0, 3, 3] = 1.0
    assert (mixing(spot) != 0).sum() == 25  # two 3x3 convolutions reach 5 x 5


def test_the_table_pairs_jobs_of_the_same_length_and_cases(script, monkeypatch, tmp_path) -> None:
    formats = script("table_format")
    common = {"commit": "c", "dataset": "D", "plans": "P", "fold": "1", "draw": 0, "seed": 0, "iterations": 100,
              "core_minutes": None, "core_seconds": 46.4, "groups": {"a": "p", "b": "q"}}
    lines = [common | {"row": "autosam", "loss": [0.6, 0.442], "dice": {"a": 0.2, "b": 0.4}},
             common | {"row": "autosam_warm_up", "loss": [0.5], "dice": {"a": 0.3, "b": 0.5}},
             common | {"row": "autosam_mixing", "loss": [0.5], "dice": {"a": 0.3, "b": 0.5}, "seed": 1}]
    (tmp_path / "head_start.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(formats, "RESULTS", tmp_path)
    tables = script("tables_heads")
    monkeypatch.setattr(tables, "records", formats.records)
    rows = tables.head_start().splitlines()[2:]
    assert rows[0] == "| D | P | 100 iterations | `autosam` | 1 | 0.300 |  | 0.442 | 46 |"
    assert "`autosam_warm_up` | 1 | 0.400 | +0.100 [+0.100, +0.100] | 0.500" in rows[1]
    assert "`autosam_mixing` | 1 | 0.400 |  | 0.500" in rows[2]  # no job of this seed to compare with
