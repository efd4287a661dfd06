"""The steps side by side with those of another command: each waits until the other has written."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from samunet.api.steps import Steps
from samunet.dataset.paths import Paths
from samunet.dataset.phantom import make_phantom_dataset
from samunet.errors import BadCases, UserError
from samunet.files import copy_whole, write_json
from samunet.networks.checkpoints.encoders import encoder_spec

CASES = 3


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    raw = make_phantom_dataset(tmp_path / "raw", cases=CASES, test_cases=0)
    return Steps.of("900", Paths(raw.parent, tmp_path / "preprocessed", tmp_path / "results"), "samunetPlans", 1)


class Seen:
    """Stands for a function that writes: notes who calls it, and at its first call has the second command begin."""

    def __init__(self, write, second: threading.Thread) -> None:
        self.write, self.second, self.callers = write, second, []

    def __call__(self, *arguments):
        self.callers.append("second" if threading.current_thread() is self.second else "first")
        if len(self.callers) == 1:
            self.second.start()
            self.second.join(0.5)  # it would be done by then, or under way, if it did not wait
        return self.write(*arguments)


def test_labels_are_copied_by_one_command_after_the_other(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = steps.fingerprint(clean=False)
    plans = steps.plan(fingerprint, encoder_spec("mini"), 8.0, None, "float16")
    steps.arrays(plans)
    for path in (steps.folder / "gt_segmentations").iterdir():
        path.unlink()
    seen = Seen(copy_whole, threading.Thread(target=steps.arrays, args=(plans,)))
    monkeypatch.setattr("samunet.api.steps.copy_whole", seen)
    steps.arrays(plans)
    seen.second.join()
    assert seen.callers == ["first"] * CASES + ["second"] * CASES
    assert sorted(path.name for path in (steps.folder / "gt_segmentations").iterdir()) == [
        f"phantom_{number:03d}.nii.gz" for number in range(CASES)]


def test_the_fingerprint_the_plans_and_the_folds_are_written_by_one_command_after_the_other(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_three() -> None:
        steps.plan(steps.fingerprint(clean=False), encoder_spec("mini"), 8.0, None, "float16")
        steps.splits(None)

    seen = Seen(write_json, threading.Thread(target=steps.fingerprint, args=(False,)))
    monkeypatch.setattr("samunet.planning.fingerprint.write_json", seen)
    all_three()
    seen.second.join()
    assert seen.callers == ["first"]  # the second finds it
    for module in ("plans", "splits"):
        seen = Seen(write_json, threading.Thread(target=all_three))
        (steps.folder / "splits_final.json").unlink()
        monkeypatch.setattr(f"samunet.planning.{module}.write_json", seen)
        all_three()
        seen.second.join()
        assert seen.callers == (["first", "second"] if module == "plans" else ["first"])


def test_a_bad_case_has_neither_arrays_nor_embeddings_and_the_others_have_both(steps: Steps) -> None:
    plans = steps.plan(steps.fingerprint(clean=False), encoder_spec("pixels"), 8.0, None, "float16")
    label = steps.dataset.cases[1].label
    assert label is not None
    label.write_bytes(label.read_bytes()[:100])
    with pytest.raises(BadCases) as caught:
        steps.preprocess(plans, "pixels", encoder_spec("pixels"))
    assert caught.value.where == str(label)
    made = ["phantom_000", "phantom_002"]
    assert sorted(path.stem for path in (steps.plans_folder / "arrays").glob("*.json")) == made
    assert sorted(path.stem for path in (steps.plans_folder / "embeddings").glob("*/*.npy")) == made
    assert (steps.folder / "gt_segmentations" / "phantom_000.nii.gz").is_file()


def test_channels_that_changed_after_planning_are_refused_though_nothing_is_to_do(steps: Steps) -> None:
    plans = steps.plan(steps.fingerprint(clean=False), encoder_spec("mini"), 8.0, None, "float16")
    steps.arrays(plans)
    changed = replace(steps, dataset=replace(steps.dataset, channel_names=("sonar",)))
    with pytest.raises(UserError, match="(?s)must be those of the plans.*dataset.json.*sonar.*The plans have MRI"):
        changed.arrays(plans)
    steps.arrays(plans)
