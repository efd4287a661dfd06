"""Whole choices: on made scores for the rules, on a tiny dataset for what is read, written, and gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from samunet.benchmarking import choice
from samunet.benchmarking.choice import Search, find_best
from samunet.benchmarking.ladder import Length
from samunet.benchmarking.machines import train_requests
from samunet.cli import find_best_configuration as command
from samunet.cli import predict
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import digest_of_file, make_folder, read_json, write_json
from samunet.inference.model_folder import find_model
from samunet.locks import owned
from samunet.registration.registration import register
from samunet.training.experiment import run_folder
from samunet.training.settings import Request
from samunet.variants import atlas, hybrid_off

SEARCH = Search("5", "0", ("label_prior", "linear_head", "probe"), "untrained", "tiny", "cpu", iterations=2)
RECORD = "tiny__untrained__fold_0.json"
OUTER = ("d", "e", "f")  # fold 0's validation cases


def record(paths: Paths, name: str = RECORD) -> dict:
    return read_json(paths.results / "Dataset005_Made" / "choice" / name)


def name_of(request: Request) -> str:
    """Of the choice's files."""
    drawn = "" if request.shots is None else f"__shots{request.shots}_draw{request.draw}"
    return f"tiny__untrained{drawn}__fold_0"


@pytest.fixture
def faked(monkeypatch, paths: Paths) -> Callable[[dict[str, tuple[float, ...]]], list[Request]]:
    """Give each variant its Dice in each round, -1 a fault.

    Returns the requests of all runs, the chosen one's own last.
    """

    def give(table: dict[str, tuple[float, ...]]) -> list[Request]:
        asked: list[Request] = []

        def run(_work: object, requests: Sequence[Request], place: Paths, trained_by: str, _threads: int) -> str | None:
            assert trained_by == "samunet_find_best_configuration"
            assert place.votes == paths.results / "Dataset005_Made" / "choice" / f"{name_of(requests[0])}.votes"
            number = int(place.results.name.removeprefix("round"))
            for request in requests:
                asked.append(request)
                dice = table[request.variant][max(number - 1, 0)]
                if dice < 0:
                    return "killed"
                final = run_folder(request, place).final
                write_json(make_folder(final) / "run.json", {"seconds": {"training": 6.0}})
                metrics = {"1": {"Dice": dice}, "2": {"Dice": dice}}
                case = {"reference_file": f"labels/case{request.inner}.nii.gz", "metrics": metrics}
                write_json(make_folder(final / "validation") / "summary.json", {"metric_per_case": [case]})
            return None

        monkeypatch.setattr(choice, "in_own_process", run)
        monkeypatch.setattr(choice, "ensure_trained", lambda request, *_, **__: asked.append(request))
        return asked

    return give


def test_three_candidates_are_halved_within_the_budget(faked, paths: Paths, capsys) -> None:
    asked = faked({"label_prior": (0.2,), "cnn_head": (0.5,), "linear_head": (0.6, 0.7), "probe": (0.7, 0.6)})
    search = replace(SEARCH, variants=("label_prior", "cnn_head", "linear_head", "probe"), iterations=None,
                     minutes=21.0)
    told = find_best(search, paths, "the command")
    # Three cases: each left out once. 3 candidates and 2 with twice the time are 7 parts of 3 minutes, 1 minute a run.
    runs = [(request.variant, request.minutes, request.inner) for request in asked]
    assert runs == [
        *(("label_prior", None, inner) for inner in range(3)),
        *((name, pytest.approx(1.0), inner) for name in ("cnn_head", "linear_head", "probe") for inner in range(3)),
        *((name, pytest.approx(2.0), inner) for name in ("probe", "linear_head") for inner in range(3)),
        ("linear_head", None, None)]
    assert sum(request.minutes or 0 for request in asked) == pytest.approx(21)
    assert [request.validate for request in asked] == [True] * 18 + [False]
    assert "chosen: linear_head, Dice 0.700 on 3 held-out cases, +0.100 [+0.100, +0.100] against probe" in told
    content = record(paths)
    assert (content["variant"], content["runner_up"], content["fixed"]) == ("linear_head", "probe", False)
    held_out = {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}
    assert sorted(content["inner_folds"], key=lambda each: each["val"]) == [
        {"train": others, "val": [name]} for name, others in held_out.items()]
    assert content["labelled_cases"] == ["a", "b", "c"] and content["command"] == "the command"
    assert [(each["variant"], each["round"], each["Dice"]) for each in content["trials"]] == [
        ("label_prior", 0, 0.2), ("cnn_head", 1, 0.5), ("linear_head", 1, 0.6), ("probe", 1, 0.7), ("probe", 2, 0.6),
        ("linear_head", 2, 0.7)]
    table = capsys.readouterr().err
    assert "| cnn_head | 1 | 0.3 | 0.500 | -0.100 [-0.100, -0.100] |" in table
    assert "| linear_head | 2 | 0.3 | 0.700 |  |" in table


def test_iterations_are_doubled_from_round_to_round(faked, paths: Paths) -> None:
    asked = faked({"cnn_head": (0.5,), "linear_head": (0.6, 0.7), "probe": (0.7, 0.6)})
    find_best(replace(SEARCH, variants=("cnn_head", "linear_head", "probe"), iterations=5), paths, "")
    assert [request.iterations for request in asked] == [5] * 9 + [10] * 6 + [None]


def test_one_that_fails_is_reported_and_drops_out(faked, paths: Paths, capsys) -> None:
    asked = faked({"label_prior": (0.5,), "linear_head": (-1,), "probe": (0.3,)})
    told = find_best(SEARCH, paths, "")
    assert "chosen: label_prior (no training), Dice 0.500" in told and "against probe" in told
    assert [request.variant for request in asked].count("linear_head") == 1
    assert record(paths)["trials"][1]["faults"] == ["killed"]
    assert "| linear_head | 1 | 0.0 | failed |" in capsys.readouterr().err


def test_where_all_fail_nothing_is_written(faked, paths: Paths) -> None:
    faked({"label_prior": (-1,), "linear_head": (-1,), "probe": (-1,)})
    with pytest.raises(UserError, match="(?s)At least one.*probe: killed"):
        find_best(SEARCH, paths, "")
    assert not list((paths.results / "Dataset005_Made" / "choice").iterdir())


@pytest.mark.parametrize("shots", [1, 2])
def test_below_three_labelled_cases_hybrid_is_fixed(faked, paths: Paths, shots: int) -> None:
    asked = faked({})
    search = replace(SEARCH, variants=("linear_head", "hybrid"), shots=shots, draw=1)
    assert find_best(search, paths, "").startswith("not cross-validated: hybrid")
    [final] = asked
    assert (final.variant, final.iterations, final.minutes, final.shots) == ("hybrid", None, None, shots)
    content = record(paths, f"tiny__untrained__shots{shots}_draw1__fold_0.json")
    assert content["fixed"] and content["trials"] == [] and content["Dice"] is content["against_runner_up"] is None
    assert content["model"] == f"Dataset005_Made/hybrid__tiny__untrained/shots{shots}_draw1"


def test_cases_of_two_patients_cannot_be_cross_validated_either(faked, paths: Paths, tmp_path: Path) -> None:
    copied = replace(paths, preprocessed=tmp_path / "preprocessed")
    shutil.copytree(paths.preprocessed, copied.preprocessed)
    groups = {name: "one" if name in "ab" else name for name in "abcdef"}
    write_json(copied.preprocessed / "Dataset005_Made" / "groups.json", groups)
    faked({})
    assert "2 patients are too few" in find_best(replace(SEARCH, variants=("hybrid",)), copied, "")


def test_the_fixed_one_must_be_a_candidate(paths: Paths) -> None:
    with pytest.raises(UserError, match="(?s)without cross-validation.*2 labelled"):
        find_best(replace(SEARCH, shots=2), paths, "")
    assert not paths.results.exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"shots": 4}, "4 shots, 3 cases"), ({"fold": "7"}, "fold must be one that exists"),
    ({"plans_name": "other"}, "file is missing"), ({"encoder": "pixels"}, "section for encoder")])
def test_bad_input_is_refused_before_anything_is_written(paths: Paths, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_best(replace(SEARCH, **changes), paths, "")
    assert not paths.results.exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"minutes": 0.0, "iterations": None}, "minutes to train must be above 0"),
    ({"iterations": 0}, "iterations must be 1"),
    ({"minutes": 3.0}, "Only one of"), ({"variants": ("unet9",)}, "known one"),
    ({"variants": ("sam_zeroshot",)}, "needs some")])
def test_searches_that_make_no_sense_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SEARCH, **changes)


@pytest.fixture(scope="module")
def blind(prepared: Path, tmp_path_factory) -> Iterator[Paths]:
    """The dataset without anything readable of fold 0's validation cases: images, labels, arrays, even digests."""
    root = tmp_path_factory.mktemp("blind")
    for name in ("raw", "preprocessed"):
        shutil.copytree(prepared / name, root / name, ignore=shutil.ignore_patterns("embeddings"))
    spoiled = [path for path in root.rglob("*") if path.is_file() and path.name.split(".")[0].split("_")[0] in OUTER]
    # Image and label raw, array, array of labels, properties, copy of the label.
    assert len(spoiled) == 6 * len(OUTER)
    for path in spoiled:
        path.write_text("not to be read")
    yield Paths(root / "raw", root / "preprocessed", root / "results")


@pytest.mark.slow
def test_a_killed_choice_ends_like_an_undisturbed_one_and_never_reads_the_validation_cases(
    blind: Paths, here: None, tmp_path: Path, monkeypatch
) -> None:
    told = find_best(SEARCH, blind, "")
    disturbed = replace(blind, results=tmp_path / "results")
    calls = []

    def killed(work: Callable, requests: Sequence[Request], *arguments: object) -> str | None:
        calls.append(requests)
        if len(calls) in (2, 5):  # after one of linear_head's runs, then after one of probe's
            assert work(requests[:1], *arguments) is None
            raise KeyboardInterrupt
        return work(requests, *arguments)

    monkeypatch.setattr(choice, "in_own_process", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            find_best(SEARCH, disturbed, "")
        assert not list(disturbed.results.rglob(RECORD))
    assert [requests[0].variant for requests in calls] == ["label_prior", "linear_head", "label_prior", "linear_head",
                                                           "probe"]
    first = {path: path.stat().st_mtime_ns for path in disturbed.results.rglob("run.json")}
    assert find_best(SEARCH, disturbed, "").replace(str(disturbed.results), str(blind.results)) == told
    assert first.items() <= {path: path.stat().st_mtime_ns for path in disturbed.results.rglob("run.json")}.items()
    ours, theirs = record(disturbed), record(blind)
    for content in (ours, theirs):
        assert content.pop("finished")
        assert all(trial.pop("seconds")["training"] >= 0 for trial in content["trials"])
    assert ours == theirs
    files = [path.relative_to(blind.results) for path in blind.results.rglob("checkpoint_final.safetensors")]
    assert len(files) == 3 * 3 + 1
    assert all(digest_of_file(blind.results / path) == digest_of_file(disturbed.results / path) for path in files)


def test_the_chosen_model_is_the_one_that_predict_takes(blind: Paths, here: None) -> None:
    find_best(SEARCH, blind, "")  # finds what the test before has left
    content = record(blind)
    model = blind.results / content["model"]
    run = read_json(model / "fold_0" / "run.json")
    assert run["train_cases"] == ["a", "b",
                                  "c"] and run["val_cases"] == [] and not (model / "fold_0" / "validation").exists()
    assert run["settings"]["iterations"] == (0 if content["variant"] == "label_prior" else 20)  # the plan's
    found = find_model(blind.results)
    assert (found.folder, found.folds) == (model, ("0",)) and found.why.startswith(f"chosen: {content['variant']}")
    first_round = blind.results / "Dataset005_Made" / "choice" / "round1" / "Dataset005_Made"
    folds = sorted(first_round.glob("probe*/inner*/fold_0/run.json"))
    assert [read_json(path)["val_cases"] for path in folds] == [each["val"] for each in content["inner_folds"]]
    assert sorted(name for each in content["inner_folds"] for name in each["val"]) == ["a", "b", "c"]


@pytest.mark.slow
def test_no_pair_of_cases_is_registered_twice(blind: Paths, here: None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(hybrid_off, "ITERATIONS", 2)
    calls = []
    monkeypatch.setattr(atlas, "register", lambda *images: calls.append(images) or register(*images))
    paths = replace(blind, results=tmp_path / "results")
    find_best(replace(SEARCH, variants=("atlas", "hybrid")), paths, "")
    views = max(read_json(path)["views"] for path in paths.results.rglob("round1/**/run.json"))
    # Each of the three cases, and each of its views, meets both others once; the training on all meets no new pair.
    assert len(calls) == 3 * 2 * (1 + views)
    assert not list((paths.results / "Dataset005_Made" / "choice").glob("*.votes"))


@pytest.mark.slow
def test_the_command_chooses_in_processes_of_their_own_and_predict_takes_its_choice(
    prepared: Path, tmp_path: Path, capfd
) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    folders = ["--raw", str(paths.raw), "--preprocessed", str(paths.preprocessed), "--results", str(paths.results)]
    flags = ["-d", "5", "-f", "0", "--variants", "label_prior", "-p", "tiny", "--encoder", "untrained", "-device",
             "cpu"]
    assert command.main([*flags, *folders]) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    dice = record(paths)["Dice"]
    assert last.startswith(f"chosen: label_prior (no training), Dice {dice:.3f} on 3 held-out cases, without another")
    assert last.endswith(f"(record: {paths.results / 'Dataset005_Made' / 'choice' / RECORD})")
    assert predict.main(["-i", str(prepared / "raw" / "Dataset005_Made" / "imagesTr"), "-o",
                         str(tmp_path / "predicted"),
                         "-device", "cpu", *folders]) == 0
    told = capfd.readouterr().err
    assert "label_prior__tiny__untrained, fold 0; chosen: label_prior (no training)" in told
    assert len(list((tmp_path / "predicted").glob("*.nii.gz"))) == 6


def test_flags_become_a_search(monkeypatch, tmp_path: Path, capsys) -> None:
    asked: list[tuple[Search, str]] = []
    monkeypatch.setattr(choice, "find_best", lambda search, paths,
                        typed: asked.append((search, typed)) or "where it lies")
    folders = [word for name in ("--raw", "--preprocessed", "--results") for word in (name, str(tmp_path))]
    assert command.main(["-d", "5", "--shots", "5", "--encoder", "untrained", "-device", "cpu", *folders]) == 0
    assert command.main(["-d", "5", "-f", "0", "--iterations", "3", "--variants", "probe", "-p", "mine", "--encoder",
                         "untrained", "-device", "cpu", "--draw", "2", "--seed", "1", *folders]) == 0
    (first, typed), (second, _) = asked
    ladder = ("label_prior", "atlas", "hybrid_teacher", "linear_head", "cnn_head", "autosam", "fewshot",
              "hybrid_embeddings", "lora", "hybrid")
    assert first == Search("5", "all", ladder, "untrained", "samunetPlans", "cpu", shots=5, minutes=60.0)
    assert second == Search("5", "0", ("probe",), "untrained", "mine", "cpu", draw=2, seed=1, iterations=3)
    assert typed.startswith("samunet_find_best_configuration -d 5 --shots 5")
    assert capsys.readouterr().out.splitlines() == ["where it lies"] * 2
    with pytest.raises(SystemExit) as stopped:
        command.main(["-d", "5", "--shots", "0", "--encoder", "untrained", *folders])
    assert stopped.value.code == 2
    assert "--shots: must be a whole number from 1 to 1000000, not 0" in capsys.readouterr().err


def test_a_fault_names_its_inner_fold(paths: Paths, monkeypatch) -> None:
    def train(request: Request, *_: object, **__: object) -> None:
        if request.inner == 1:
            raise UserError("No more.", where="here", found="none")

    monkeypatch.setattr("samunet.training.run.ensure_trained", train)
    requests = [SEARCH.request("probe", Length(iterations=1), inner) for inner in range(3)]
    fault = train_requests(requests, paths, "a test", 1)
    assert fault is not None and fault.startswith("inner fold 1: No more.")
    assert train_requests(requests[:1], paths, "a test", 1) is None


def test_a_second_choice_of_the_same_labels_is_refused_before_any_training(paths: Paths, tmp_path: Path) -> None:
    """Its candidates would be trained in the folders of the first."""
    place = replace(paths, results=tmp_path)
    record = choice._record(SEARCH, place)
    with owned(record.with_name(f".{record.name}.lock"), record), pytest.raises(UserError,
                                                                                match="Only one command") as caught:
        find_best(SEARCH, place, "")
    assert caught.value.where == str(record) and list(record.parent.iterdir()) == []
