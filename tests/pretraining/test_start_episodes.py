"""Classes from an anatomy's labels, transported labels, and volumes of synthetic patients."""

from __future__ import annotations

import pytest
import torch

from samunet.networks.start import SLOTS
from samunet.pretraining import start_episodes
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.start_episodes import KINDS, PATIENTS, make_episode, random_classes, random_episode
from samunet.pretraining.start_rendering import render_volumes


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_classes_are_labels_that_both_parts_show_and_the_largest_is_background(monkeypatch) -> None:
    """Label 0 fills the volumes; 5 and 6 are in all, 7 in the labelled patient alone, 8 in the other alone."""
    monkeypatch.setattr(start_episodes, "MERGED_SHARE", 0.0)
    monkeypatch.setattr(start_episodes, "MISSING_SHARE", 0.0)
    labels = torch.zeros(2, 4, 10, 20, dtype=torch.uint8)
    labels[:, 0, :4], labels[:, 1, :4] = 5, 6
    labels[0, 2, :4], labels[1, 3, :4] = 7, 8
    seen = set()
    for seed in range(20):
        classes = random_classes(labels, 1, generator(seed))
        of_label = {int(label): classes[labels == label].unique().tolist() for label in labels.unique()}
        assert of_label[0] == of_label[7] == of_label[8] == [0]
        seen.add((*of_label[5], *of_label[6]))
    assert seen == {(1, 0), (0, 1), (1, 2), (2, 1)}


def test_other_labels_become_parts_of_classes(monkeypatch) -> None:
    monkeypatch.setattr(start_episodes, "MERGED_SHARE", 1.0)
    labels = torch.zeros(2, 4, 10, 20, dtype=torch.uint8)
    labels[:, 0, :4], labels[0, 2, :1] = 5, 9  # 20 voxels: no class by itself
    classes = random_classes(labels, 1, generator())
    assert torch.equal(classes, (labels > 0).to(torch.uint8))


def test_a_volume_of_one_label_is_one_class() -> None:
    assert random_classes(torch.full((2, 2, 4, 4), 3, dtype=torch.uint8), 1, generator()).unique().tolist() == [1]


def test_transported_labels_that_are_not_misplaced_are_the_classes_in_slots(monkeypatch) -> None:
    monkeypatch.setattr(start_episodes, "MISPLACED", (0.0, 0.0))
    episode = make_episode(KINDS[1], 2, True, generator(4))
    slots = episode.inputs[:, 1:]
    used = [slot for slot in range(SLOTS) if bool(slots[:, slot].any())]
    assert len(used) == int(episode.classes.max())
    for slot in used:
        value = episode.classes[slots[:, slot] > 0.5].unique()
        assert len(value) == 1
        assert torch.allclose(slots[:, slot], (episode.classes == value).float(), atol=1e-3)


def test_episodes_without_transported_labels_have_empty_slots_and_labels_are_shares() -> None:
    assert not bool(make_episode(KINDS[1], 1, False, generator(4)).inputs[:, 1:].any())
    slots = make_episode(KINDS[1], 1, True, generator(4)).inputs[:, 1:]
    assert float(slots.min()) >= 0 and 0.5 < float(slots.sum(1).max()) <= 1.0001


def test_kinds_take_turns_and_the_same_step_is_the_same_episode() -> None:
    first, again, other = random_episode(1, 5, KINDS), random_episode(1, 5, KINDS), random_episode(1, 9, KINDS)
    assert first.kind == other.kind == KINDS[1]
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.classes, again.classes)
    assert not torch.equal(first.inputs[:3, :1], other.inputs[:3, :1])
    assert len(first.classes) == PATIENTS[first.labelled]


@pytest.mark.parametrize("thick", [False, True])
def test_rendered_volumes_have_mean_0_and_standard_deviation_1_and_show_their_labels(thick: bool, monkeypatch) -> None:
    monkeypatch.setattr("samunet.pretraining.start_rendering.contrasts",
                        lambda *given: torch.linspace(0, 1, LABELS).expand(2, 3, -1))
    labels = torch.zeros(2, 8, 16, 16, dtype=torch.uint8)
    labels[:, :, 4:12, 4:12] = LABELS - 1
    image = render_volumes(labels, LABELS, thick, generator(1))
    std, mean = torch.std_mean(image, (1, 2, 3, 4))
    assert torch.allclose(mean, torch.zeros(2), atol=1e-5) and torch.allclose(std, torch.ones(2), atol=1e-4)
    inside, outside = image[:, 0, :, 6:10, 6:10], image[:, 0, :, :2]
    assert bool((inside.mean((1, 2, 3)) - outside.mean((1, 2, 3)) > 1).all())
