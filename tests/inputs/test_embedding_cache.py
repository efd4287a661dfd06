"""The cache: what is encoded, what is kept, what is refused, and what happens where the disk has no room."""

from __future__ import annotations

import json
import re
import shutil
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from damage import flip, rewrite, truncate

from samunet.errors import BadCases, UserError
from samunet.files import digest_of_array
from samunet.inputs import embedding_store
from samunet.inputs.embedding_cache import embeddings_of, ensure_embeddings, open_embeddings, size_text
from samunet.inputs.embedding_store import CachedEmbeddings
from samunet.inputs.embeddings import LiveEmbeddings, StoredCaseEmbeddings, all_picks
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.checksums import checksum_of_file
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.view_names import View, view_name
from samunet.preprocessing.views import ViewedArrays

PAYLOAD = 2 * 2 * 512 * 4 * 4 * 2  # slices, tiles, channels, 4 x 4 tokens, float16


def free_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10 * free, used=9 * free, free=free))


def edited(path: Path, **changes: object) -> None:
    rewrite(path, json.dumps({**json.loads(path.read_text()), **changes}).encode())


def change_image(arrays: ArrayStore, name: str) -> None:
    case = arrays.load(name)
    image = case.image + 1
    properties = replace(case.properties, image_digest=digest_of_array(image))
    arrays.write(PreparedCase(image, case.segmentation, properties))


@pytest.mark.parametrize("plans", ["float16", "int8"], indirect=True)
def test_the_cache_holds_what_is_encoded_on_the_fly(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    store = ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    for name in ("one", "two"):
        cached = open_embeddings(name, arrays, plans, encoder, store)
        live = LiveEmbeddings(arrays.load(name), plans, encoder)
        # 12 rows at tiles of 8 and half a tile's step: starts 0 and 4; one column.
        assert cached.frame.starts == live.frame.starts == [(0, 0), (4, 0)] and cached.depth == 2
        picks = all_picks(2, cached.frame)
        assert torch.equal(cached.read(picks), live.read(picks))
        assert torch.equal(cached.read([(1, 1), (0, 0)]), torch.cat([live.read([(1, 1)]), live.read([(0, 0)])]))


def test_of_two_runs_side_by_side_one_encodes_and_the_other_finds_it(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    """The second begins while the first encodes; two cases of 8 pictures make two batches, for both together."""
    batches: list[int] = []
    second = threading.Thread(target=ensure_embeddings,
                              args=(["one", "two"], arrays, plans, encoder, tmp_path / "cache"))

    def begin_the_second(_module, given, _made) -> None:
        batches.append(given[0].shape[0])
        if len(batches) == 1:
            second.start()
            second.join(0.5)  # it would be done by then, or under way, if it did not wait

    handle = encoder.module.register_forward_hook(begin_the_second)
    ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    second.join()
    handle.remove()
    assert batches == [8, 8]
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"one.npy", "one.json", "two.npy", "two.json"}


def test_short_cases_share_batches_and_come_out_the_same(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    """One channel: 4 pictures a case, so two cases make a batch of 8."""
    dataset = replace(plans.dataset, channel_names=("a",), normalization=("zscore",), use_mask_for_norm=(False,),
                      foreground_intensity=({},))
    plans = replace(plans, dataset=dataset)
    for name in arrays.names():
        case = arrays.load(name)
        arrays.write(PreparedCase(case.image[:1], case.segmentation, replace(
            case.properties, image_digest=digest_of_array(case.image[:1]), intensity_percentiles=((-2.0, 2.0),))))
    seen = []
    handle = encoder.module.register_forward_hook(lambda _module, given, _made: seen.append(given[0].shape[0]))
    ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "together")
    assert seen == [8]
    for name in ("one", "two"):
        ensure_embeddings([name], arrays, plans, encoder, tmp_path / "alone")
        assert (tmp_path / "alone" / f"{name}.npy").read_bytes() == (tmp_path / "together" / f"{name}.npy").read_bytes()
    assert seen == [8, 8, 8]
    handle.remove()


@pytest.mark.parametrize(("plans", "size"), [("float16", PAYLOAD), ("int8", PAYLOAD // 2 + 2 * 2 * 512 * 4)],
                         indirect=["plans"])
def test_bytes_of_a_case_by_hand(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, size: int
) -> None:
    ensure_embeddings(["one"], arrays, plans, encoder, tmp_path)
    header = (tmp_path / "one.npy").stat().st_size - size
    assert header == np.lib.format.open_memmap(tmp_path / "one.npy", "r").offset


def test_what_will_be_written_is_told_before(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free_disk(monkeypatch, 5 * 10**9)
    ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    # 2 x 65536 bytes
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"embeddings of 2 cases (untrained): 0.1 MB, 5.0 GB free in {tmp_path / 'cache'}"
    ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    assert capsys.readouterr().err == ""


def test_sizes_are_told_as_a_person_reads_them() -> None:
    assert [size_text(count) for count in (65_536, 99_000_000, 2_149_000_000)] == ["0.1 MB", "99.0 MB", "2.1 GB"]


@pytest.mark.parametrize("plans", ["float16", "int8"], indirect=True)
def test_where_the_disk_has_no_room_the_same_numbers_are_encoded_on_the_fly(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewed = ViewedArrays(arrays, plans.dataset)
    names = ["one", "two", view_name("two", View(1))]
    cached = embeddings_of(names, viewed, plans, encoder, tmp_path / "cache")
    ensure_embeddings(["one"], viewed, plans, encoder, tmp_path / "full")
    capsys.readouterr()
    free_disk(monkeypatch, 50_000)
    live = embeddings_of(names, viewed, plans, encoder, tmp_path / "full")
    assert capsys.readouterr().err.count("not cached but encoded on the fly") == 1
    # What was cached before is used; nothing new was written.
    assert [type(live[name]) for name in names] == [CachedEmbeddings, StoredCaseEmbeddings, StoredCaseEmbeddings]
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["one.json", "one.npy"]
    for name in names:
        picks = all_picks(2, cached[name].frame)
        assert torch.equal(cached[name].read(picks), live[name].read(picks))


def test_what_is_replaced_needs_no_new_room(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    change_image(arrays, "one")
    free_disk(monkeypatch, 20_000)
    store = ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    open_embeddings("one", arrays, plans, encoder, store)


def test_matching_embeddings_are_kept_and_stale_ones_made_anew(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cache"
    ensure_embeddings(["one", "two"], arrays, plans, encoder, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    change_image(arrays, "two")
    capsys.readouterr()
    ensure_embeddings(["one", "two"], arrays, plans, encoder, folder)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"two.npy", "two.json"}
    assert capsys.readouterr().err.startswith("two: cached embeddings do not match and are encoded again (image: "
                                              "cached ")


@pytest.mark.parametrize("difference", ["weights", "tile_shape", "image", "cache_dtype"])
def test_a_mismatch_is_refused_named_and_made_anew(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, difference: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    section = plans.for_encoder("untrained")
    if difference == "weights":
        encoder = replace(encoder, digest="0" * 64)
    elif difference == "tile_shape":
        plans = replace(plans, encoders={"untrained": replace(section, tile_shape=(12, 8))})
    elif difference == "cache_dtype":
        plans = replace(plans, encoders={"untrained": replace(section, cache_dtype="int8")})
    else:
        change_image(arrays, "one")
    with pytest.raises(UserError, match=f"found: {difference}: cached"):
        open_embeddings("one", arrays, plans, encoder, store)
    capsys.readouterr()
    ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    said = capsys.readouterr().err.splitlines()[0]
    who = "one" if difference == "image" else "one, two"
    assert said.startswith(f"{who}: cached embeddings do not match and are encoded again ({difference}: cached")
    cached = open_embeddings("one", arrays, plans, encoder, store)
    assert torch.equal(cached.read([(1, 0)]), LiveEmbeddings(arrays.load("one"), plans, encoder).read([(1, 0)]))


def test_a_cache_without_its_signature_was_never_written(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    store = ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    (tmp_path / "cache" / "one.json").unlink()
    with pytest.raises(UserError, match="never written"):
        open_embeddings("one", arrays, plans, encoder, store)


def test_a_fault_while_encoding_leaves_no_half_case(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_pictures: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(encoder.module, "forward", broken)
    with pytest.raises(RuntimeError, match="the device is gone"):
        ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_signature_names_everything_that_embeddings_depend_on(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    ensure_embeddings(["one"], arrays, plans, encoder, tmp_path / "cache")
    written = json.loads((tmp_path / "cache" / "one.json").read_text())
    assert set(written) == {"encoder", "weights", "family", "input_size", "tile_shape", "tile_step", "composition",
                            "cache_dtype", "shape", "image", "intensity_limits", "crc32"}
    assert written["crc32"] == zlib.crc32((tmp_path / "cache" / "one.npy").read_bytes())


def test_arrays_that_cannot_be_read_do_not_keep_other_cases_from_being_encoded(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    damaged = arrays.folder / "one.b2nd"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(BadCases) as caught:
        ensure_embeddings(["one", "two"], arrays, plans, encoder, tmp_path / "cache")
    assert caught.value.where == str(damaged)
    store = ensure_embeddings(["two"], arrays, plans, encoder, tmp_path / "cache")
    live = LiveEmbeddings(arrays.load("two"), plans, encoder)
    picks = all_picks(2, live.frame)
    assert torch.equal(open_embeddings("two", arrays, plans, encoder, store).read(picks), live.read(picks))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"two.npy", "two.json"}


@pytest.mark.parametrize("plans", ["float16", "int8"], indirect=True)
@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda folder: flip(folder / "one.npy", 5000), "other bytes than were written"),
    (lambda folder: flip(folder / "one.npy", 40), "other bytes than were written"),
    (lambda folder: truncate(folder / "one.npy", 9000), "other bytes than were written"),
    (lambda folder: truncate(folder / "one.npy", 0), "other bytes than were written"),
    (lambda folder: truncate(folder / "one.json", 100), "A .json file must hold valid JSON."),
    (lambda folder: rewrite(folder / "one.json", b"[1]"), "must be a JSON object. list"),
    (lambda folder: edited(folder / "one.json", crc32=7), "other bytes than were written"),
    (lambda folder: edited(folder / "one.json", input_size=80), "input_size: cached 80, needed 64"),
])
def test_damaged_embeddings_are_refused_and_rebuilt_to_the_same_bytes(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, spoil, reason: str,
    capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cache"
    store = ensure_embeddings(["one", "two"], arrays, plans, encoder, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    spoil(folder)
    with pytest.raises(UserError, match=re.escape(reason)) as caught:
        open_embeddings("one", arrays, plans, encoder, store)
    assert caught.value.where == str(folder / "one.npy")
    capsys.readouterr()
    ensure_embeddings(["one", "two"], arrays, plans, encoder, folder)
    assert capsys.readouterr().err.startswith("one: cached embeddings do not match and are encoded again (")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_of_a_cache_without_a_checksum_layout_and_size_are_compared(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path
) -> None:
    store = ensure_embeddings(["one"], arrays, plans, encoder, tmp_path)
    written = json.loads((tmp_path / "one.json").read_text())
    del written["crc32"]
    (tmp_path / "one.json").write_text(json.dumps(written))
    assert open_embeddings("one", arrays, plans, encoder, store).depth == 2
    truncate(tmp_path / "one.npy", 60_000)
    with pytest.raises(UserError, match="not a whole array and signature"):
        open_embeddings("one", arrays, plans, encoder, store)


def test_a_run_reads_a_cached_file_once_to_compare_it(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(embedding_store, "checksum_of_file",
                        lambda path: read.append(path.name) or checksum_of_file(path))
    for _ in range(3):
        embeddings_of(["one", "two"], arrays, plans, encoder, tmp_path)
    assert sorted(read) == ["one.npy", "two.npy"]
