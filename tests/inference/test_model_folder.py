"""Models made by hand on disk: which is meant, what is loaded, what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.model_files import digest_of_labels
from samunet.inference.model_folder import (
    chosen_device,
    chosen_runs,
    find_model,
    finished_runs,
    list_models,
    load_model,
)
from samunet.networks.checkpoints.encoders import encoder_spec, load_encoder
from samunet.networks.sam import EncoderSize, build_image_encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans, digest_of_plan
from samunet.variants.registry import variant_class

CPU = torch.device("cpu")
DATASET = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "numTraining": 2,
           "file_ending": ".nii.gz"}


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def make_run(results):
    """Write a finished fold: label_prior with a prior of 0.25 and 0.75 unless another state is given."""

    def make(dataset, model, fold, finished, *, below="", trained_by="samunet_train", digest=None, state=None):
        variant, plans_name, encoder = model.split("__")
        folder = results / dataset / model / below
        run = folder / f"fold_{fold}"
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({
            "variant": variant, "fold": str(fold), "finished": finished, "trained_by": trained_by,
            "encoder": {"id": encoder, "name": encoder, "digest": digest},
        }))
        dataset_plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (2, 2, 2), False, ("MRI",),
                                   ("zscore",), (False,), ({},))
        section = EncoderPlan(encoder, 64, (8, 8), 0.5, "repeat", 2, "float16", 0, 1)
        Plans(plans_name, dataset, dataset_plan, {encoder: section}).save(folder / "plans.json")
        (folder / "dataset.json").write_text(json.dumps(DATASET))
        prior = torch.stack([torch.full((2, 2, 2), 0.25), torch.full((2, 2, 2), 0.75)])
        save_file(state or {"prior": prior}, run / "checkpoint_final.safetensors")
        return folder

    return make


def test_the_last_trained_model_is_found(results, make_run):
    make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    newest = make_run("Dataset004_A", "atlas__samunetPlans__untrained", 1, "2024-01-03T00:00:00+00:00",
                      below="shots5_draw0")
    make_run("Dataset004_A", "cnn_head__samunetPlans__untrained", 0, None)
    benchmark = make_run("Dataset004_A", "autosam__samunetPlans__untrained", 0, "2024-01-09T00:00:00+00:00",
                         trained_by="samunet_benchmark")
    assert find_model(results).folder == newest
    prior = newest.parents[1] / "label_prior__samunetPlans__untrained"
    assert find_model(results, dataset="4", variant="label_prior").folder == prior
    assert find_model(results, dataset="Dataset004_A", shots=5, draw=0).folder == newest
    assert find_model(results, variant="autosam").folder == benchmark


def test_a_benchmarks_folds_are_neither_the_last_trained_nor_averaged(results, make_run):
    trained = make_run("Dataset004_A", "cnn_head__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    later = make_run("Dataset004_A", "hybrid__samunetPlans__untrained", 0, "2024-01-02T00:00:00+00:00")
    for fold in (1, 2):
        make_run("Dataset004_A", "cnn_head__samunetPlans__untrained", fold, "2024-01-09T00:00:00+00:00",
                 trained_by="samunet_benchmark")
    found = find_model(results)
    assert (found.folder, found.folds) == (later, ("0",))
    make_run("Dataset004_A", "cnn_head__samunetPlans__untrained", 3, "2024-01-03T00:00:00+00:00")
    found = find_model(results)
    assert (found.folder, found.folds) == (trained, ("0", "3"))
    assert find_model(results, variant="cnn_head").folds is None


def chosen(results, folder, fold, finished, name="tiny__untrained__fold_0"):
    """Write a record of samunet_find_best_configuration."""
    path = results / folder.relative_to(results).parts[0] / "choice" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"told": f"chosen: {folder.name}", "model": folder.relative_to(results).as_posix(),
                                "fold": fold,
                                "finished": finished}))


def test_a_choice_goes_before_what_was_trained_last(results, make_run):
    model = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00",
                     trained_by="samunet_find_best_configuration")
    make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 1, "2024-01-02T00:00:00+00:00",
             trained_by="samunet_benchmark")
    few = make_run("Dataset004_A", "probe__samunetPlans__untrained", "all", "2024-01-02T00:00:00+00:00",
                   below="shots5_draw0")
    later = make_run("Dataset004_A", "atlas__samunetPlans__untrained", 0, "2024-01-09T00:00:00+00:00")
    assert find_model(results).folder == later and "nothing was chosen" in find_model(results).why
    chosen(results, model, "0", "2024-01-01T00:00:01+00:00")
    found = find_model(results)
    # Fold 1 may have learned from cases that the choice's fold held out.
    assert (found.folder, found.folds) == (model, ("0",)) and found.why.startswith("chosen: label_prior__samunetPlans")
    chosen(results, few, "all", "2024-01-02T00:00:01+00:00", "tiny__untrained__shots5_draw0__fold_all")
    assert find_model(results).folder == few and find_model(results, shots=5).folder == few
    assert find_model(results, variant="atlas").folder == later and find_model(results, shots=5,
                                                                               draw=0).folds == ("all",)


def test_a_choice_whose_model_is_gone_or_a_benchmarks_is_none(results, make_run):
    later = make_run("Dataset004_A", "atlas__samunetPlans__untrained", 0, "2024-01-09T00:00:00+00:00")
    replaced = make_run("Dataset004_A", "probe__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00",
                        trained_by="samunet_benchmark")
    chosen(results, replaced, "0", "2024-01-02T00:00:00+00:00")
    assert find_model(results).folder == later
    chosen(results, later, "1", "2024-01-02T00:00:00+00:00")
    found = find_model(results)
    assert found.folds == ("0",) and "nothing was chosen" in found.why


def test_several_datasets_are_listed_even_where_one_has_a_choice(results, make_run):
    model = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    make_run("Dataset005_B", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    chosen(results, model, "0", "2024-01-02T00:00:00+00:00")
    with pytest.raises(UserError, match="Dataset004_A, Dataset005_B"):
        find_model(results)


def test_several_datasets_are_listed(results, make_run):
    for dataset in ("Dataset004_A", "Dataset005_B"):
        make_run(dataset, "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    with pytest.raises(UserError, match="Dataset004_A, Dataset005_B"):
        find_model(results)
    assert find_model(results, dataset="005").folder.parent.name == "Dataset005_B"


def test_models_of_labelled_slices_are_identified_by_their_folders(results, make_run):
    name = "label_prior__samunetPlans__untrained"
    folders = [make_run("Dataset004_A", name, 0, f"2024-01-0{day}T00:00:00+00:00", below=below)
               for day, below in enumerate(("shots5_draw0_slices10", "shotsall_draw2_slices10", "shots5_draw0", ""), 1)]
    found = [(model.folder, model.shots, model.draw, model.shot_slices) for model in list_models(results)]
    assert sorted(found, key=lambda each: folders.index(each[0])) == [
        (folders[0], 5, 0, 10), (folders[1], None, 2, 10), (folders[2], 5, 0, None), (folders[3], None, None, None)]
    assert find_model(results, shot_slices=10).folder == folders[1]
    assert find_model(results, shot_slices=10, shots=5).folder == folders[0]
    with pytest.raises(UserError, match="trained model is needed"):
        find_model(results, shot_slices=9)


def test_no_fitting_model_lists_what_there_is(results, make_run):
    with pytest.raises(UserError, match="no finished model"):
        find_model(results)
    make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    with pytest.raises(UserError, match="label_prior__samunetPlans__untrained"):
        find_model(results, variant="atlas")


def test_all_finished_folds_are_loaded_in_order(make_run):
    for fold in ("all", 10, 2):
        folder = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", fold, "2024-01-01T00:00:00+00:00")
    (folder / "fold_3.unfinished").mkdir()
    (folder / "fold_3.unfinished" / "run.json").write_text(json.dumps({"finished": None}))
    assert list(finished_runs(folder)) == ["2", "10", "all"]
    model = load_model(folder, None, CPU)
    assert model.folds == ("2", "10", "all") and len(model.variants) == 3
    assert model.encoder is None and model.file_ending == ".nii.gz"
    assert model.variants[0].prior[1].unique().tolist() == [0.75]
    assert load_model(folder, ["10"], CPU).folds == ("10",)
    with pytest.raises(UserError, match="missing: 3"):
        load_model(folder, ["2", "3"], CPU)


def test_a_folder_without_folds_names_those_below(make_run):
    folder = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00",
                      below="shots5_draw0")
    with pytest.raises(UserError, match="folders below: shots5_draw0"):
        load_model(folder.parent, None, CPU)


def test_a_truncated_checkpoint_is_reported(make_run):
    folder = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    path = folder / "fold_0" / "checkpoint_final.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="must be whole"):
        load_model(folder, None, CPU)


@pytest.mark.parametrize(("file", "old", "new"),
                         [("plans.json", "1.0", "1.5"), ("dataset.json", '"a": 1', '"a": 1, "b": 2')])
def test_plans_and_labels_must_be_those_of_training(make_run, file, old, new):
    """Another spacing, or one more label, would change predictions without a word."""
    folder = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    plans = Plans.load(folder / "plans.json")
    settings = {"plan": digest_of_plan(plans, plans.for_encoder("untrained")),
                "labels": digest_of_labels(LabelSpace({"background": 0, "a": 1}))}
    run = folder / "fold_0" / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "settings": settings}))
    load_model(folder, None, CPU)
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=f"must be used with the {file} that it was trained with") as caught:
        load_model(folder, None, CPU)
    assert (caught.value.where, caught.value.found) == (str(folder / file), "other content than fold_0 recorded")


def test_the_encoder_must_be_the_one_of_training(make_run):
    encoder = load_encoder("untrained", 64)
    folder = make_run("Dataset004_A", "linear_head__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00",
                      digest=encoder.digest, state=_linear_head_state())
    model = load_model(folder, None, CPU)
    assert model.encoder is not None and model.encoder.digest == encoder.digest
    run = folder / "fold_0" / "run.json"
    content = json.loads(run.read_text())
    run.write_text(json.dumps({**content, "encoder": {**content["encoder"], "digest": "0" * 64}}))
    with pytest.raises(UserError, match="000000000000.*untrained.*" + encoder.digest[:12]):
        load_model(folder, None, CPU)


@pytest.fixture
def own(tmp_path):
    """An encoder's file."""
    torch.manual_seed(3)
    encoder = build_image_encoder(EncoderSize(96, 2, 3, 0, (), 64), 64)
    (tmp_path / "here").mkdir()
    torch.save(encoder.state_dict(prefix="image_encoder."), tmp_path / "here" / "own.pth")
    return tmp_path / "here" / "own.pth"


@pytest.fixture
def moved(make_run, own):
    """Write a model that was trained with `own` when that lay elsewhere: as `typed`, under the family that this says.
    """

    def make(typed):
        there = f"{own}@medsam" if typed.endswith("@medsam") else str(own)
        folder = make_run("Dataset004_A", f"linear_head__samunetPlans__{encoder_spec(there).id}", 0,
                          "2024-01-01T00:00:00+00:00",
                          digest=load_encoder(there, 64).digest, state=_linear_head_state())
        run = json.loads((folder / "fold_0" / "run.json").read_text())
        (folder / "fold_0" / "run.json").write_text(json.dumps({**run, "encoder": {**run["encoder"], "name": typed}}))
        return folder

    return make


@pytest.mark.parametrize(("typed", "family"), [("../gone/own.pth", "sam"), ("C:\\gone\\own.pth@medsam", "medsam")])
def test_an_encoders_file_that_moved_is_found_by_its_name_in_the_checkpoints_folder(
    moved, own, typed, family, monkeypatch
):
    folder = moved(typed)
    with pytest.raises(UserError, match="Name its file with --encoder"):
        load_model(folder, None, CPU)
    monkeypatch.setenv("samunet_checkpoints", str(own.parent))
    for given in (None, typed, folder.name.split("__")[2]):
        assert load_model(folder, None, CPU, given).encoder.spec.family == family


def test_an_encoders_file_is_named_where_it_lies_now(results, moved, own):
    folder = moved("../gone/own.pth")
    assert find_model(results, encoder=str(own)).folder == folder
    assert find_model(results, encoder="../gone/own.pth").folder == folder
    assert load_model(folder, None, CPU, str(own)).encoder.spec == encoder_spec(str(own))
    for other in ("untrained", f"{own}@medsam"):  # other weights; and the same, but another input
        with pytest.raises(UserError, match="must be used with the encoder"):
            load_model(folder, None, CPU, other)


def _linear_head_state():
    from samunet.dataset.labels import LabelSpace
    from samunet.variants.base import VariantContext

    plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (2, 2, 2), False, ("MRI",), ("zscore",),
                       (False,), ({},))
    section = EncoderPlan("untrained", 64, (8, 8), 0.5, "repeat", 2, "float16", 0, 1)
    context = VariantContext(LabelSpace.from_dataset_json(DATASET), plan, section, {})
    return variant_class("linear_head")(context).state()


def test_devices():
    assert chosen_device("cpu") == CPU
    with pytest.raises(UserError, match="-device"):
        chosen_device("abacus")


RUN = {"variant": "label_prior", "fold": "0", "finished": "2024-01-01T00:00:00+00:00", "trained_by": "samunet_train",
       "encoder": {"id": "untrained", "name": "untrained", "digest": None}}


@pytest.mark.parametrize(("content", "field"), [
    ([], "got `array`"),
    ("run", "got `str`"),
    ({}, "no `variant` - at `$`; no `encoder` - at `$`; no `finished` - at `$`; no `trained_by`"),
    ({**RUN, "variant": []}, "$.variant"),
    ({**RUN, "encoder": None}, "$.encoder"),
    ({**RUN, "encoder": {"name": "mini"}}, "no `id` - at `$.encoder`; no `digest` - at `$.encoder`"),
    ({**RUN, "encoder": {**RUN["encoder"], "id": 3}}, "$.encoder.id"),
    ({**RUN, "finished": 20240101}, "$.finished"),
    ({**RUN, "trained_by": None}, "$.trained_by"),
    ({**RUN, "settings": None}, "$.settings"),
    ({**RUN, "settings": -1}, "$.settings"),
    ({**RUN, "seconds": {"training": float("nan")}}, "not finite - at `$.seconds.training`"),
])
def test_a_run_json_of_another_form_is_reported_with_its_field(results, make_run, content, field):
    model = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    path = model / "fold_0" / "run.json"
    path.write_text(json.dumps(content))
    for read in (lambda: find_model(results), lambda: load_model(model, None, torch.device("cpu"))):
        with pytest.raises(UserError, match="run.json must be") as caught:
            read()
        assert field in caught.value.found and caught.value.where == str(path)


@pytest.mark.parametrize("content", [[], None, {}, {"labels": {"background": 0, "a": 1}},
                                     {"file_ending": 3, "labels": {"background": 0, "a": 1}}])
def test_a_models_dataset_json_of_another_form_is_reported(make_run, content):
    model = make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    (model / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="dataset.json") as caught:
        load_model(model, None, torch.device("cpu"))
    assert str(model / "dataset.json") in str(caught.value)


@pytest.mark.parametrize(("content", "field"), [
    ([], "got `array`"),
    ({}, "no `model` - at `$`; no `fold` - at `$`; no `finished` - at `$`; no `told` - at `$`"),
    ({"model": 3, "fold": "0", "finished": "", "told": ""}, "$.model"),
    ({"model": "m", "fold": 0, "finished": "", "told": ""}, "$.fold"),
    ({"model": "m", "fold": "0", "finished": None, "told": ""}, "$.finished"),
])
def test_a_record_of_a_choice_of_another_form_is_reported(results, make_run, content, field):
    make_run("Dataset004_A", "label_prior__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    path = results / "Dataset004_A" / "choice" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="record of a choice") as caught:
        find_model(results)
    assert field in caught.value.found and caught.value.where == str(path)


def test_a_model_of_a_variant_that_is_not_installed_is_refused(make_run):
    folder = make_run("Dataset004_A", "two_convolutions__samunetPlans__untrained", 0, "2024-01-01T00:00:00+00:00")
    with pytest.raises(UserError, match="(?s)must be of a variant that is installed.*run.json.*two_convolutions"):
        load_model(folder, None, CPU)


def test_a_model_that_is_not_there_is_no_model_without_folds(tmp_path):
    with pytest.raises(UserError, match=r"must be a folder, or a bundle \(.zip\), that exists") as caught:
        chosen_runs(tmp_path / "model.zip", ["0"])
    assert caught.value.where == str(tmp_path / "model.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="finished: none; missing: 0"):
        chosen_runs(tmp_path / "empty", ["0"])
