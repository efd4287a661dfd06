"""The cache: what is encoded, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samunet.dataset.geometry import Geometry
from samunet.errors import UserError
from samunet.files import digest_of_array
from samunet.networks.checkpoints import Encoder, load_encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.embeddings import LiveEmbeddings, ensure_embeddings, open_embeddings
from samunet.preprocessing.store import ArrayStore


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("untrained", 64)


@pytest.fixture
def plans() -> Plans:
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1, 1, 1), (2, 12, 8), False, ("a", "b"),
                          ("zscore", "zscore"), (False, False), ({}, {}))
    section = EncoderPlan("untrained", 64, (8, 8), 0.5, "neighbours", 1, 2, "float16", 0, 10)
    return Plans("samunetPlans", "Dataset001_Made", dataset, {"untrained": section})


@pytest.fixture
def arrays(tmp_path: Path) -> ArrayStore:
    store = ArrayStore(tmp_path / "arrays")
    for number, name in enumerate(("one", "two")):
        image = np.random.default_rng(number).standard_normal((2, 2, 12, 8), dtype=np.float32)
        shape = (2, 12, 8)
        store.write(PreparedCase(image, None, CaseProperties(
            name, Geometry("SimpleITKIO", shape, (1, 1, 1)), shape, ((0, 2), (0, 12), (0, 8)), shape, shape,
            ((-2.0, 2.0), (-2.0, 2.0)), digest_of_array(image), None, {})))
    return store


def test_the_cache_holds_what_is_encoded_on_the_fly(arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path):
    store = ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    cached = open_embeddings("one", arrays, plans, encoder, store)
    live = LiveEmbeddings(arrays.load("one"), plans, encoder)
    # 12 rows at tiles of 8 and half a tile's step: starts 0 and 4; one column.
    assert cached.frame.starts == live.frame.starts == [(0, 0), (4, 0)] and cached.depth == 2
    picks = [(1, 1), (0, 0)]
    read = cached.read(picks)
    assert read.shape == (2, 512, 4, 4) and read.dtype == torch.float32
    # The live form rounds as the cache does; another batch may change the last bit of a float16.
    torch.testing.assert_close(read, live.read(picks), rtol=1e-3, atol=1e-3)


def test_channels_encoded_alone_stand_side_by_side(arrays: ArrayStore, plans: Plans, encoder: Encoder):
    case = arrays.load("one")
    both = LiveEmbeddings(case, plans, encoder).read([(0, 0)])
    dataset = replace(plans.dataset, channel_names=("b",), normalization=("zscore",), use_mask_for_norm=(False,),
                      foreground_intensity=({},))
    second = PreparedCase(case.image[1:], None, replace(case.properties, intensity_percentiles=((-2.0, 2.0),)))
    alone = LiveEmbeddings(second, replace(plans, dataset=dataset), encoder).read([(0, 0)])
    torch.testing.assert_close(both[:, 256:], alone, rtol=1e-3, atol=1e-3)  # float16, another batch


def test_matching_embeddings_are_kept_and_stale_ones_encoded_anew(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "cache"
    ensure_embeddings(["one", "two"], arrays, plans, encoder, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    case = arrays.load("two")
    image = case.image + 1
    arrays.write(PreparedCase(image, None, replace(case.properties, image_digest=digest_of_array(image))))
    capsys.readouterr()
    ensure_embeddings(["one", "two"], arrays, plans, encoder, folder)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"two.npy", "two.json"}
    assert "two: cached embeddings do not match" in capsys.readouterr().err


@pytest.mark.parametrize("difference", ["weights", "tile_shape", "image"])
def test_a_mismatch_is_refused_and_named(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, difference: str
):
    store = ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    if difference == "weights":
        encoder = replace(encoder, digest="0" * 64)
    elif difference == "tile_shape":
        section = replace(plans.for_encoder("untrained"), tile_shape=(12, 8))
        plans = replace(plans, encoders={"untrained": section})
    else:
        case = arrays.load("one")
        arrays.write(PreparedCase(case.image * 2, None, replace(case.properties,
                                                                image_digest=digest_of_array(case.image * 2))))
    with pytest.raises(UserError, match=f"found: {difference}: cached"):
        open_embeddings("one", arrays, plans, encoder, store)


def test_a_cache_without_its_signature_was_never_written(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
):
    store = ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    (tmp_path / "cache" / "one.json").unlink()
    with pytest.raises(UserError, match="never written"):
        open_embeddings("one", arrays, plans, encoder, store)


def test_the_signature_names_everything_that_embeddings_depend_on(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
):
    ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    written = json.loads((tmp_path / "cache" / "one.json").read_text())
    assert set(written) == {"encoder", "weights", "family", "input_size", "tile_shape", "tile_step", "composition",
                            "cache_dtype", "shape", "image", "intensity_limits"}
