"""Whole benchmarks on a tiny dataset: what is written, continued runs, reported faults, killed processes."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import os
import shlex
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from samunet.benchmarking import machines
from samunet.benchmarking.benchmark import run_benchmark
from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.machines import run_job, run_on_dask
from samunet.cli import benchmark as command
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.locks import owned
from samunet.training import run as training_run

HEADS = Benchmark("5", ("label_prior", "linear_head"), ("0", "1"), (None, 2), 1, "untrained", "tiny", "cpu",
                  iterations=3)


def run(benchmark: Benchmark, paths: Paths, **options) -> Path:
    return run_benchmark(benchmark, paths,
                         **{"workers": None, "scheduler": None, "reference": None, "command": "", **options})


def weights(benchmark: Benchmark, paths: Paths) -> dict[str, bytes]:
    return {str(job): (benchmark.folder(job, paths) / "checkpoint_final.safetensors").read_bytes()
            for job in benchmark.jobs()}


@pytest.fixture(scope="module")
def finished(prepared: Path, jobs_here, tmp_path_factory) -> Paths:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("finished"))
    with jobs_here():
        run(HEADS, paths)
    return paths


def test_every_job_is_run_and_reported(finished: Paths) -> None:
    folder = finished.results / "Dataset005_Made" / "benchmark"
    rows = read_json(folder / "summary.json")
    assert [(row["method"], row["shots"]) for row in rows] == [
        ("label_prior", "2"), ("linear_head", "2"), ("label_prior", "all"), ("linear_head", "all")]
    assert rows[1]["difference"].startswith(("+", "-")) and "difference" not in rows[0]
    assert [row["labels"] for row in rows] == ["2", "2", "3", "3"]
    assert all(float(row["memory MB"]) > 50 for row in rows)
    # Six cases in two folds, two classes, one draw of two shots and one of all, two methods.
    lines = list(csv.DictReader((folder / "cases.csv").open()))
    assert len(lines) == 6 * 2 * 2 * 2
    model = finished.results / "Dataset005_Made" / "linear_head__tiny__untrained"
    summary = json.loads((model / "shots2_draw0" / "crossval_results_folds_0_1" / "summary.json").read_text())
    of_draw = [float(line["Dice"]) for line in lines
               if (line["method"], line["shots"], line["draw"], line["class"]) == ("linear_head", "2", "0", "1")]
    assert summary["mean"]["1"]["Dice"] == pytest.approx(sum(of_draw) / 6)
    run_file = read_json(model / "fold_0" / "run.json")
    assert run_file["trained_by"] == "samunet_benchmark" and run_file["settings"]["iterations"] == 3


def test_a_second_call_trains_nothing_and_writes_the_same(finished: Paths, here: None, monkeypatch, capsys) -> None:
    folder = finished.results / "Dataset005_Made"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    text = (folder / "benchmark" / "cases.csv").read_bytes()
    monkeypatch.setattr(machines, "run_job", None)  # no job has a process of its own
    run(HEADS, finished)
    assert "finished before: 8 of 8 jobs" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")} == before
    assert (folder / "benchmark" / "cases.csv").read_bytes() == text


def test_finished_are_runs_as_asked_for_whose_validation_is_there(finished: Paths, tmp_path: Path, here: None) -> None:
    paths = dataclasses.replace(finished, results=tmp_path / "results")
    shutil.copytree(finished.results, paths.results)
    jobs = list(HEADS.jobs())
    assert machines.finished_jobs(HEADS, jobs, paths) == {*jobs}
    longer = dataclasses.replace(HEADS, iterations=4)
    assert machines.finished_jobs(longer, jobs, paths) == {job for job in jobs if job.variant == "label_prior"}
    shutil.rmtree(HEADS.folder(jobs[0], paths) / "validation")
    shutil.rmtree(HEADS.folder(jobs[1], paths))
    assert machines.finished_jobs(HEADS, jobs, paths) == {*jobs[2:]}


def test_a_fault_while_looking_at_one_job_leaves_it_to_that_job(finished: Paths, here: None, monkeypatch) -> None:
    first, *others = HEADS.jobs()
    original = training_run.open_experiment
    monkeypatch.setattr(training_run, "open_experiment", lambda request, paths: (
        1 / 0 if request == HEADS.request(first) else original(request, paths)))
    assert machines.finished_jobs(HEADS, [first, *others], finished) == {*others}


def test_an_unknown_variant_is_refused_before_anything_runs(paths: Paths) -> None:
    with pytest.raises(UserError, match="known one"):
        run(Benchmark("5", ("label_prior", "unet9"), ("0",), (None,), 1, "untrained", "tiny", "cpu"), paths)
    assert not paths.results.exists()


def test_a_job_that_fails_is_reported_and_the_others_continue(paths: Paths, here: None, capsys) -> None:
    asked = Benchmark("5", ("label_prior",), ("0",), (2, 50), 1, "untrained", "tiny", "cpu")
    folder = run(asked, paths)
    rows = read_json(folder / "summary.json")
    assert rows[0]["Dice"] != "not run" and rows[0]["why"] == ""
    assert rows[1]["Dice"] == "not run" and "50 shots, draw 0" in rows[1]["why"]
    told = capsys.readouterr().err
    assert "at most the fold's labelled training cases" in told and "1/2 label_prior" in told


@pytest.mark.slow
def test_a_job_whose_process_is_killed_continues_to_the_same_bytes(paths: Paths, tmp_path: Path) -> None:
    asked = Benchmark("5", ("linear_head",), ("0",), (2,), 1, "untrained", "tiny", "cpu", iterations=400)
    job = Job("linear_head", "0", 2, 0)
    latest = asked.folder(job, paths).with_name("fold_0.unfinished") / "checkpoint_latest.safetensors"
    killed = []

    def kill() -> None:
        while not latest.is_file():
            time.sleep(0.01)
        [child] = [int(pid) for pid in Path(f"/proc/self/task/{main}/children").read_text().split()
                   if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(child, signal.SIGKILL)
        killed.append(child)

    main = threading.get_native_id()
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    outcome = run_job(asked, job, paths, 1)
    thread.join(5)
    assert outcome.fault is None and killed
    undisturbed = Paths(paths.raw, paths.preprocessed, tmp_path / "undisturbed")
    assert run_job(asked, job, undisturbed, 1).fault is None
    assert weights(asked, paths) == weights(asked, undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask")
def test_workers_side_by_side_give_the_same_numbers(finished: Paths, paths: Paths) -> None:
    priors = dataclasses.replace(HEADS, variants=("label_prior",))
    run(priors, paths, workers=2)
    one, other = ((each.results / "Dataset005_Made" / "benchmark" / "cases.csv").read_text().splitlines()
                  for each in (finished, paths))
    assert [line for line in one if "label_prior" in line] == other[1:]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask")
def test_two_benchmarks_on_one_scheduler_share_no_job(paths: Paths, tmp_path: Path) -> None:
    from distributed import LocalCluster

    priors, job = dataclasses.replace(HEADS, variants=("label_prior",)), Job("label_prior", "0", 2, 0)
    elsewhere = dataclasses.replace(paths, results=tmp_path / "elsewhere")
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        given = {"threads": 1, "workers": 1, "address": cluster.scheduler_address}
        first = run_on_dask(priors, [job], paths, **given)
        assert next(first).fault is None  # and its results are still kept by the scheduler
        assert [outcome.fault for outcome in run_on_dask(priors, [job], elsewhere, **given)] == [None]
        first.close()
    assert all((priors.folder(job, each) / "run.json").is_file() for each in (paths, elsewhere))


def test_a_reference_that_is_not_among_the_methods_is_refused_before_anything_runs(paths: Paths) -> None:
    with pytest.raises(UserError) as caught:
        run(Benchmark("5", ("atlas", "probe"), ("0",), (None,), 1, "untrained", "tiny", "cpu"), paths,
            reference="label_prior")
    assert (caught.value.where, caught.value.found) == ("--reference",
                                                        "label_prior") and "atlas, probe" in caught.value.mend
    assert not paths.results.exists()


@pytest.mark.parametrize(("variants", "told"), [(("atlas",), True), (("atlas", "label_prior"), False)])
def test_a_line_says_that_nothing_is_compared(paths: Paths, capsys, variants: tuple[str, ...], told: bool) -> None:
    with pytest.raises(UserError):  # there is no such dataset
        run(Benchmark("9", variants, ("0",), (None,), 1, "untrained", "tiny", "cpu"), paths)
    assert ("no comparison: label_prior" in capsys.readouterr().err) == told


def test_the_examples_compare_something() -> None:
    for line in command.EXAMPLES.splitlines():
        options = command.parser().parse_args(shlex.split(line.split("   ")[0])[1:])
        assert options.variants is None or "label_prior" in options.variants


def test_folds_that_share_cases_or_hold_none_out_are_refused_before_anything_runs(paths: Paths, tmp_path: Path) -> None:
    here = dataclasses.replace(paths, preprocessed=Path(shutil.copytree(paths.preprocessed, tmp_path / "preprocessed")))
    write_json(here.preprocessed / "Dataset005_Made" / "splits_final.json",
               [{"train": ["a", "b", "c", "d"], "val": ["e", "f"]}, {"train": ["a", "b", "c", "d"], "val": ["f", "e"]}])

    def refused(*folds: str) -> UserError:
        with pytest.raises(UserError) as caught:
            run(Benchmark("5", ("label_prior",), folds, (None,), 1, "untrained", "tiny", "cpu"), here)
        return caught.value

    assert (refused("0", "1").where, refused("0", "1").found) == ("--folds 0 1", "e, f")
    assert "held-out validation cases" in str(refused("all"))
    assert (refused("0", "2").where, refused("0", "2").found) == ("--folds", "2") and "0, 1." in refused("2").mend
    (here.preprocessed / "Dataset005_Made" / "tiny.json").unlink()
    (here.preprocessed / "Dataset005_Made" / "splits_final.json").unlink()
    assert "must be planned" in str(refused("0")) and not here.results.exists()
    assert not (here.preprocessed / "Dataset005_Made" / "splits_final.json").exists()


def test_nnunet_without_a_length_is_refused_before_anything_runs(paths: Paths) -> None:
    with pytest.raises(UserError, match="needs a training length"):
        run(Benchmark("5", ("label_prior", "nnunet_2d"), ("0",), (None,), 1, "untrained", "tiny", "cpu"), paths)
    assert not paths.results.exists()


@pytest.mark.parametrize(("variants", "imported"),
                         [(("label_prior", "nnunet_2d"), []), (("label_prior",), [Path("model")])])
def test_nnunet_is_refused_where_slices_are_counted(paths: Paths, variants, imported) -> None:
    asked = Benchmark("5", variants, ("0",), (None,), 1, "untrained", "tiny", "cpu", iterations=3, shot_slices=2)
    with pytest.raises(UserError, match="(?s)whole cases.*--shot_slices"):
        run(asked, paths, nnunet_results=imported)
    assert not paths.results.exists()


def test_labelled_slices_are_reported_in_the_tables(paths: Paths, here: None) -> None:
    folder = run(Benchmark("5", ("label_prior",), ("0",), (2, None), 1, "untrained", "tiny", "cpu", shot_slices=3),
                 paths)
    assert [(row["shots"], row["labels"]) for row in read_json(folder / "summary.json")] == [
        ("2 (3 slices)", "2"), ("all (3 slices)", "3")]


def test_a_second_benchmark_of_a_dataset_is_refused_before_any_job(prepared: Path, tmp_path: Path) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path)
    with owned(tmp_path / "Dataset005_Made" / ".benchmark.lock",
               tmp_path), pytest.raises(UserError, match="Only one command") as caught:
        run(HEADS, paths)
    assert caught.value.where == str(tmp_path / "Dataset005_Made" / "benchmark")
    assert list((tmp_path / "Dataset005_Made").iterdir()) == []


def test_a_folder_of_results_that_is_partly_gone_is_made_whole(paths: Paths, here: None) -> None:
    priors = dataclasses.replace(HEADS, variants=("label_prior",), shots=(2,))
    folder = run(priors, paths)
    text = (folder / "cases.csv").read_bytes()
    first, second = (priors.folder(job, paths) for job in priors.jobs())
    stamp = (second / "run.json").stat().st_mtime_ns
    shutil.rmtree(folder)
    shutil.rmtree(first)
    run(priors, paths)
    assert (folder / "cases.csv").read_bytes() == text and (second / "run.json").stat().st_mtime_ns == stamp
    shutil.rmtree(first / "validation")  # what a run.json alone does not say
    run(priors, paths)
    assert (folder / "cases.csv").read_bytes() == text
