"""The teacher's average by hand, whose labels train which voxels; labels of unlabelled cases change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from whole_runs import model, start

from samunet.benchmarking.results import marked
from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json
from samunet.inputs.pasted import PastedBatches, PastedVolumes
from samunet.inputs.volumes import Volumes
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.store import ArrayStore
from samunet.training.experiment import open_experiment
from samunet.training.settings import Request
from samunet.variants.base import VariantContext
from samunet.variants.hybrid_off import HybridSettings
from samunet.variants.hybrid_teacher import LABELLED_ITERATIONS, HybridTeacherVariant
from samunet.variants.losses import deeply_supervised
from samunet.variants.teacher import Teacher

SHAPE = (4, 16, 16)
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), SHAPE, False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (16, 16), 0.5, "repeat", 2, "float16", 0, 1)
PLAIN = LabelSpace({"background": 0, "organ": 1, "other": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
REQUEST = Request("5", "hybrid_teacher", "0", "untrained", "tiny", iterations=2, shots=1)


def variant(labels: LabelSpace = PLAIN) -> HybridTeacherVariant:
    torch.manual_seed(0)
    settings = HybridSettings(transport="teacher", embeddings="off")
    return HybridTeacherVariant(VariantContext(labels, DATASET, SECTION, {}, settings=settings))


def test_the_average_keeps_a_tenth_at_first_and_more_later() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 10.0)
    teacher = Teacher(network)
    nn.init.constant_(network.weight, 0.0)
    found = []
    for _ in range(3):
        teacher.follow(network)
        found.append(teacher.network.weight.item())
    # 1/10, 2/11 and 3/12 of what was there
    assert found == pytest.approx([1.0, 2 / 11, 2 / 11 / 4])
    for _ in range(2000):
        teacher.follow(network)
    nn.init.constant_(network.weight, 1.0)
    before = teacher.network.weight.item()
    teacher.follow(network)
    assert teacher.network.weight.item() == pytest.approx(0.99 * before + 0.01)
    assert not teacher.network.weight.requires_grad and network.weight.requires_grad


def test_an_average_goes_on_where_it_was() -> None:
    network = nn.Linear(2, 1)
    teacher, other = Teacher(network), Teacher(nn.Linear(2, 1))
    for _ in range(5):
        teacher.follow(network)
    other.load_state(teacher.state())
    nn.init.constant_(network.weight, 3.0)
    for each in (teacher, other):
        each.follow(network)
    assert torch.equal(teacher.network.weight, other.network.weight)


def mixed(made: HybridTeacherVariant) -> PastedVolumes:
    shape = made.volume.shape
    torch.manual_seed(1)
    first, second = torch.randn(2, 1, *shape), torch.randn(2, 1, *shape)
    labelled = torch.zeros(2, *shape, dtype=torch.bool)
    labelled[:, :, :8] = True
    cells = torch.zeros(2, 0, *made.volume.cells)
    both = torch.where(labelled[:, None], first, second)
    return PastedVolumes(Volumes(both, cells), Volumes(second, cells), labelled)


@pytest.mark.parametrize("labels", [PLAIN, REGIONS])
def test_the_teacher_labels_the_unlabelled_part_as_it_sees_the_whole_case(labels: LabelSpace) -> None:
    made = variant(labels)
    inputs = mixed(made)
    *stages, found = made.outputs(inputs)
    with torch.no_grad():
        made.network.eval()
        alone = made.network(inputs.unlabelled.image, inputs.unlabelled.embeddings)[0]
    # After one iteration the average is, but for rounding, the network: it began as its copy.
    expected = np.stack([labels.decode(each.numpy(), threshold=0.0) for each in alone])
    assert {*np.unique(expected)} >= {1, 2}
    assert (found[inputs.labelled] == UNANNOTATED).all()
    unlabelled = ~inputs.labelled.numpy()
    assert (found.numpy()[unlabelled] == expected[unlabelled]).mean() > 0.99
    assert len(stages) == len(made.network.heads) and stages[0].requires_grad and not found.requires_grad


def test_both_parts_train_and_the_teachers_half_as_much() -> None:
    made = variant()
    inputs = mixed(made)
    known = torch.where(inputs.labelled, 1, UNANNOTATED)
    outputs = made.outputs(inputs)
    of_part = [deeply_supervised(outputs[:-1], each, PLAIN, made.volume.padded) for each in (known, outputs[-1])]
    assert made.loss(outputs, known).item() == pytest.approx((of_part[0] + 0.5 * of_part[1]).item())
    assert of_part[1] > 0.1
    assert made.loss(outputs[:-1], known).item() == pytest.approx(of_part[0].item())  # no unlabelled case


def test_embeddings_are_not_pasted() -> None:
    asked = HybridSettings(transport="teacher", embeddings="on")
    with pytest.raises(UserError, match="transport=teacher with embeddings"):
        asked.resolved(SECTION)
    auto = HybridSettings(transport="teacher")
    assert not auto.registers and not auto.needs_encoder
    named = replace(SECTION, encoder="sam_vit_b")
    assert auto.resolved(named).embeddings == "off" and HybridSettings().resolved(named).embeddings == "on"


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


def test_images_of_other_patients_train_and_their_labels_change_nothing(paths: Paths, monkeypatch) -> None:
    experiment = open_experiment(REQUEST, paths)
    [drawn] = experiment.train_cases

    def batches() -> PastedBatches:
        made = experiment.build_variant().batches(experiment.data({"seconds": {}}))
        assert isinstance(made, PastedBatches)
        return made

    whole = batches()
    monkeypatch.setattr(ArrayStore, "segmentation", spoiled(ArrayStore.segmentation, drawn))
    noisy = batches()
    names = set()
    for iteration in range(LABELLED_ITERATIONS - 2, LABELLED_ITERATIONS + 18):
        first, second = whole.read(iteration), noisy.read(iteration)
        assert first.names == second.names and torch.equal(first.segmentation, second.segmentation)
        if isinstance(first.inputs, PastedVolumes):
            assert torch.equal(first.inputs.mixed.image, second.inputs.mixed.image)
        names |= {*first.names}
    assert {drawn} < names and not names & {*experiment.val_cases}


def spoiled(original: Callable[[ArrayStore, str], np.ndarray | None], but: str):
    """Reads another label than the stored one of every case but one."""
    def read(store: ArrayStore, name: str) -> np.ndarray | None:
        found = original(store, name)
        return found if found is None or name == but else np.full_like(found, 2)
    return read


def test_a_run_tells_whose_images_it_read_and_its_model_holds_no_teacher(paths: Paths) -> None:
    start(REQUEST, paths)
    folder = model(paths, "hybrid_teacher") / "shots1_draw0" / "fold_0"
    run = read_json(folder / "run.json")
    assert run["pseudo_labelled_cases"] and not {*run["pseudo_labelled_cases"]} & {*run["train_cases"],
                                                                                   *run["val_cases"]}
    assert marked("hybrid_teacher", [run]) == "hybrid_teacher (unlabelled data)"
    off = replace(REQUEST, variant="hybrid_off", settings={"embeddings": "off"})
    start(off, paths)
    other = model(paths, "hybrid_off") / "shots1_draw0" / "fold_0"
    sizes = [(each / "checkpoint_final.safetensors").stat().st_size for each in (folder, other)]
    assert sizes[0] == sizes[1]


def test_where_no_case_is_unlabelled_it_trains_as_hybrid_off_does(paths: Paths, capsys) -> None:
    experiment = replace(open_experiment(REQUEST, paths), unlabelled_cases=())
    record: dict = {"seconds": {}}
    batches = experiment.build_variant().batches(experiment.data(record))
    assert isinstance(batches.read(0).inputs, Volumes) and record["pseudo_labelled_cases"] == []
    assert "trains as hybrid_off does" in capsys.readouterr().err
