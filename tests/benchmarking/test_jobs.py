from __future__ import annotations

from pathlib import Path

import pytest

from samunet.benchmarking.jobs import Benchmark, Job
from samunet.dataset.paths import Paths
from samunet.training.experiment import run_folder


def benchmark(**changes) -> Benchmark:
    given = {"dataset": "4", "variants": ("label_prior", "unet", "probe"), "folds": ("0", "2"), "shots": (None, 1),
             "draws": 2, "encoder": "untrained", "plans_name": "samunetPlans", "device": "cpu", "minutes_head": 3.0,
             "minutes_network": 10.0}
    return Benchmark(**given | changes)


def test_few_shots_first_and_one_draw_of_all() -> None:
    jobs = list(benchmark().jobs())
    assert len(jobs) == 3 * 2 * (2 + 1)
    assert jobs[0] == Job("label_prior", "0", 1, 0) and jobs[2] == Job("probe", "0", 1, 0)
    assert jobs[3].fold == "2" and jobs[6] == Job("label_prior", "0", 1, 1)
    assert [job.shots for job in jobs[12:]] == [None] * 6 and {job.draw for job in jobs[12:]} == {0}
    assert str(jobs[0]) == "label_prior, fold 0, 1 shot, draw 0" and str(jobs[-1]) == "probe, fold 2, all cases"


def test_heads_and_networks_have_minutes_of_their_own() -> None:
    asked = benchmark()
    minutes = {job.variant: asked.request(job).minutes for job in asked.jobs()}
    assert minutes == {"label_prior": None, "unet": 10.0, "probe": 3.0}
    fixed = benchmark(iterations=7)
    requests = {job.variant: fixed.request(job) for job in fixed.jobs()}
    assert [requests[name].iterations for name in ("label_prior", "unet", "probe")] == [7, 7, 7]
    assert all(request.minutes is None for request in requests.values())


def test_folder_is_where_train_puts_it(tmp_path: Path) -> None:
    (tmp_path / "raw" / "Dataset004_Made").mkdir(parents=True)
    paths = Paths(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    asked = benchmark()
    model = tmp_path / "results" / "Dataset004_Made" / "probe__samunetPlans__untrained"
    assert asked.folder(Job("probe", "2", 1, 1), paths) == model / "shots1_draw1" / "fold_2"
    assert asked.folder(Job("probe", "2", None, 0), paths) == model / "fold_2"


def test_an_unknown_shot_count_is_refused_when_the_request_is_made() -> None:
    with pytest.raises(Exception, match="shots"):
        benchmark(shots=(0,)).request(Job("probe", "0", 0, 0))


def test_labelled_slices_belong_to_every_job_and_make_draws_of_all_cases(tmp_path: Path) -> None:
    (tmp_path / "raw" / "Dataset004_Made").mkdir(parents=True)
    paths = Paths(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    asked = benchmark(variants=("probe",), folds=("0",), shot_slices=10)
    jobs = list(asked.jobs())
    assert list(map(str, jobs)) == [
        "probe, fold 0, 1 shot, 10 slices, draw 0", "probe, fold 0, 1 shot, 10 slices, draw 1",
        "probe, fold 0, all cases, 10 slices, draw 0", "probe, fold 0, all cases, 10 slices, draw 1"]
    assert {asked.request(job).shot_slices for job in jobs} == {10}
    assert [asked.folder(job, paths).parent.name for job in jobs] == [
        "shots1_draw0_slices10", "shots1_draw1_slices10", "shotsall_draw0_slices10", "shotsall_draw1_slices10"]
    assert asked.folder(jobs[3], paths) == run_folder(asked.request(jobs[3]), paths).final
