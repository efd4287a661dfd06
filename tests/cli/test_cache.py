"""samunet_cache on the real cache of a synthetic dataset: what it lists, what it finds wrong, what it removes."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from damage import flip

from samunet.cli import cache, plan_and_preprocess, plan_experiment, preprocess
from samunet.dataset.phantom import make_phantom_dataset

DATASET = "Dataset900_Phantom"
CASES = 5


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A root with raw and preprocessed folders, and a cache of the `pixels` encoder."""
    root = tmp_path_factory.mktemp("prepared")
    make_phantom_dataset(root / "raw", cases=CASES, test_cases=0)
    assert plan_and_preprocess.main(["-d", "900", "-np", "1", "--encoder", "pixels", *paths(root)]) == 0
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path) -> Path:
    """A copy of `prepared` that a test may modify."""
    shutil.copytree(prepared / "preprocessed", tmp_path / "preprocessed")
    (tmp_path / "raw").symlink_to(prepared / "raw")
    return tmp_path


def paths(root: Path) -> list[str]:
    return [word for name in ("raw", "preprocessed", "results") for word in (f"--{name}", str(root / name))]


def folder(root: Path) -> Path:
    return root / "preprocessed" / DATASET / "samunetPlans" / "embeddings" / "pixels"


def files(root: Path) -> set[str]:
    return {path.name for path in folder(root).iterdir()}


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in folder(root).iterdir())


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_list_says_what_there_is(root: Path, capsys) -> None:
    assert cache.main(["list", *paths(root)]) == 0
    told = f"{size(root) / 1e6:.1f} MB"
    assert capsys.readouterr().out.splitlines() == [
        f"{DATASET} samunetPlans pixels: 5 cases, 0 views, float16, {told}; matches plans and arrays",
        f"1 caches, {told}"]


def test_datasets_and_encoders_are_selected(root: Path, capsys) -> None:
    for more, count in ((["-d", "900"], 1), (["--encoder", "pixels"], 1), (["--encoder", "mini"], 0),
                        (["--encoder", "gone-1"], 0)):
        assert cache.main(["list", *more, *paths(root)]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(f"{count} caches")
    assert cache.main(["list", "-d", "7", *paths(root)]) == 2


def test_a_whole_cache_is_verified_and_nothing_is_pruned(root: Path, capsys) -> None:
    assert cache.main(["verify", *paths(root)]) == 0
    before = files(root)
    assert cache.main(["prune", *paths(root)]) == 0
    assert capsys.readouterr().out.splitlines() == ["1 caches are intact and match", "0.0 MB freed"]
    assert files(root) == before


@pytest.mark.parametrize(("spoil", "told", "pruned"), [
    (lambda path: edit(path / "phantom_000.json", weights="0" * 64),
     "phantom_000: weights: cached 000000000000, needed", True),
    (lambda path: edit(path / "phantom_000.json", tile_shape=[1, 1]), "by its signature", True),
    (lambda path: edit(path / "phantom_000.json", tile_step=0, tile_shape=[1, 1]), "not a whole array and signature",
     True),
    (lambda path: edit(path / "phantom_000.json", tile_shape="51"), "not a whole array and signature", True),
    (lambda path: edit(path / "phantom_000.json", image="f" * 64), "phantom_000: image: cached ffffffffffff, needed",
     True),
    (lambda path: (path / "phantom_000.json").write_text("{"), "phantom_000: A .json file must hold valid JSON", True),
    (lambda path: os.truncate(path / "phantom_000.npy", 5000), "phantom_000: not a whole array", True),
    (lambda path: flip(path / "phantom_000.npy", 5000, 1), "phantom_000: other bytes than were written", False),
    (lambda path: poke(path / "phantom_000.npy"), "phantom_000: other bytes than were written", False),
    (lambda path: poke(path / "phantom_000.npy", as_of_before=True), "phantom_000: numbers that are not finite", False),
    (lambda path: flip(path.parents[1] / "arrays" / "phantom_001_seg.b2nd", 300),
     "arrays: phantom_001: the preprocessed files are damaged", False),
])
def test_what_is_wrong_is_found_and_pruned(root: Path, capsys, spoil, told: str, pruned: bool) -> None:
    spoil(folder(root))
    assert cache.main(["verify", *paths(root)]) == 2
    error = capsys.readouterr().err
    assert told in error and "1 faults" in error
    whole, count = files(root), size(root)
    assert cache.main(["prune", "--dry_run", *paths(root)]) == 0
    assert files(root) == whole
    would = capsys.readouterr().out
    assert cache.main(["prune", *paths(root)]) == 0
    assert files(root) == (whole - {"phantom_000.json", "phantom_000.npy"} if pruned else whole)
    assert would == capsys.readouterr().out.replace("freed", "would be freed")
    assert would == f"{(count - size(root)) / 1e6:.1f} MB would be freed\n"


def poke(path: Path, *, as_of_before: bool = False) -> None:
    """Put a NaN into the last value of an array; `as_of_before` the signature had a checksum."""
    if as_of_before:
        signature = json.loads(path.with_suffix(".json").read_text())
        del signature["crc32"]
        path.with_suffix(".json").write_text(json.dumps(signature))
    array = np.load(path, mmap_mode="r+")
    array[-1, -1, -1, -1, -1] = np.nan
    array.flush()


def test_what_is_pruned_is_rebuilt(root: Path) -> None:
    before = (folder(root) / "phantom_001.npy").read_bytes()
    edit(folder(root) / "phantom_001.json", image="f" * 64)
    assert cache.main(["prune", *paths(root)]) == 0
    assert preprocess.main(["-d", "900", "-np", "1", "--encoder", "pixels", *paths(root)]) == 0
    assert (folder(root) / "phantom_001.npy").read_bytes() == before
    assert cache.main(["verify", *paths(root)]) == 0


def test_another_number_type_in_the_plans_makes_the_cache_stale(root: Path, capsys) -> None:
    assert plan_experiment.main(["-d", "900", "-np", "1", "--encoder", "pixels", "--cache_dtype", "int8",
                                 *paths(root)]) == 0
    assert cache.main(["list", *paths(root)]) == 0
    output = capsys.readouterr().out
    assert "5 of 5 cannot be used, as in: phantom_000: cache_dtype: cached float16, needed int8" in output
    large = size(root)
    assert preprocess.main(["-d", "900", "-np", "1", "--encoder", "pixels", *paths(root)]) == 0
    assert cache.main(["verify", *paths(root)]) == 0
    # One byte a value and 4 a channel of 16 x 16: 260 for 512.
    assert size(root) == pytest.approx(large * 260 / 512, rel=0.01)


def test_cases_that_left_the_dataset_are_pruned(root: Path) -> None:
    for name in ("phantom_002.json", "phantom_002.b2nd", "phantom_002_seg.b2nd"):
        (folder(root).parents[1] / "arrays" / name).unlink()
    assert cache.main(["prune", *paths(root)]) == 0
    assert not any(name.startswith("phantom_002") for name in files(root)) and len(files(root)) == 2 * (CASES - 1)


def test_while_the_arrays_are_gone_embeddings_are_kept(root: Path, capsys) -> None:
    shutil.rmtree(folder(root).parents[1] / "arrays")
    assert cache.main(["prune", *paths(root)]) == 0
    assert len(files(root)) == 2 * CASES
    assert cache.main(["verify", *paths(root)]) == 2
    assert "the arrays are gone" in capsys.readouterr().err


@pytest.mark.parametrize("gone", ["section", "plans"])
def test_a_cache_without_its_plans_is_pruned_whole(root: Path, gone: str, capsys) -> None:
    plans = folder(root).parents[2] / "samunetPlans.json"
    edit(plans, encoders={}) if gone == "section" else plans.unlink()
    assert cache.main(["list", *paths(root)]) == 0
    told = "section for encoder 'pixels'" if gone == "section" else "there is no samunetPlans.json"
    assert told in capsys.readouterr().out
    assert cache.main(["prune", *paths(root)]) == 0
    assert not folder(root).exists()


def test_views_that_no_run_uses_are_pruned(root: Path) -> None:
    """A run on one case of n images has min(6, 800 // n) views, and no run has more of that case."""
    from samunet.inputs.embedding_store import planned_signature
    from samunet.planning.plans import Plans
    from samunet.preprocessing.store import ArrayStore
    from samunet.preprocessing.view_names import View, view_name
    from samunet.preprocessing.views import ViewedArrays

    plans = Plans.load(folder(root).parents[2] / "samunetPlans.json")
    arrays = ViewedArrays(ArrayStore(folder(root).parents[1] / "arrays"), plans.dataset)
    slices = arrays.properties("phantom_000").shape[0]
    most = min(6, 800 // slices)
    carried = "0123456789" * 6
    views = [View(number, transported) for transported in (False, True) for number in (most, most + 1)]
    names = [view_name("phantom_000", view, carried if view.transported else None) for view in views]
    other = view_name("phantom_000", View(1, transported=True), "f" * 64)
    for name in (*names, other):
        shutil.copy(folder(root) / "phantom_000.npy", folder(root) / f"{name}.npy")
        shutil.copy(folder(root) / "phantom_000.json", folder(root) / f"{name}.json")
        edit(folder(root) / f"{name}.json", **planned_signature(arrays.properties(name), plans.dataset,
                                                                plans.for_encoder("pixels")))
        if name not in names[:2]:  # whose partner the run alone knows: what it holds must be what its name says
            edit(folder(root) / f"{name}.json", image=carried)
    assert cache.main(["prune", *paths(root)]) == 0
    assert sorted(name for name in files(root) if "__view" in name) == sorted(
        f"{name}{ending}" for name in (names[0], names[2]) for ending in (".json", ".npy"))
    assert cache.main(["verify", *paths(root)]) == 0


def test_leftovers_are_pruned_once_no_command_can_be_writing_them(root: Path) -> None:
    for name in (".unfinished-phantom_000.npy", "lost.npy", "half.json"):
        (folder(root) / name).write_bytes(b"some")
    assert cache.main(["verify", *paths(root)]) == 2
    assert cache.main(["prune", *paths(root)]) == 0
    assert len(files(root)) == 2 * CASES + 3
    for name in (".unfinished-phantom_000.npy", "lost.npy", "half.json"):
        os.utime(folder(root) / name, (time.time() - 7200,) * 2)
    assert cache.main(["prune", *paths(root)]) == 0
    assert len(files(root)) == 2 * CASES


def test_all_removes_what_is_useful_too(root: Path, capsys) -> None:
    assert cache.main(["prune", "--all", "--encoder", "untrained", *paths(root)]) == 0
    assert len(files(root)) == 2 * CASES
    assert cache.main(["prune", "--all", "-d", "900", *paths(root)]) == 0
    assert not folder(root).exists()


def test_flags_of_prune_are_refused_elsewhere(root: Path, capsys) -> None:
    assert cache.main(["list", "--all", *paths(root)]) == 2
    assert "belong to prune" in capsys.readouterr().err


def test_two_prunes_wait_for_each_other_and_the_second_looks_again(root: Path, monkeypatch, capsys) -> None:
    @contextmanager
    def after_another_prune(lock: Path):
        assert lock == folder(root).with_name("pixels.lock")  # the one that writers of the cache hold
        shutil.rmtree(folder(root), ignore_errors=True)
        yield

    monkeypatch.setattr(cache, "locked", after_another_prune)
    assert cache.main(["prune", "--all", *paths(root)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0.0 MB freed"
