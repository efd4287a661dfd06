"""The synthetic tumours: what a case holds, and what the files say of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from samunet.files import read_json


def test_a_tumour_differs_from_its_distractors_by_its_core_alone(script) -> None:
    made = script("synthetic_tumours")
    case, same = (made.synthetic_case(np.random.default_rng([3]), core, True) for core in (made.CORE, 0.0))
    core = case.image - same.image
    assert np.allclose(np.unique(core.round(2)), [0, made.CORE]) and (case.tumour[core > 1] == 1).all()
    assert label(case.tumour)[1] == 1 and label(case.distractors > 0)[1] == made.BLOBS - 1
    blobs = [case.tumour > 0, *(case.distractors == number for number in range(1, made.BLOBS))]
    means = [same.image[blob].mean() - same.image[~binary_dilation(blob, iterations=4)].mean() for blob in blobs]
    assert np.allclose(means, made.CONTRAST, atol=0.6 * made.CONTRAST)
    for index, blob in enumerate(blobs):  # two voxels apart in every direction, at least
        wide = binary_dilation(blob, np.ones((3, 3, 3)), 2)
        assert not any((wide & other).any() for other in blobs[:index])


def test_without_a_tumour_every_blob_is_a_distractor_without_a_core(script) -> None:
    made = script("synthetic_tumours")
    case, other = (made.synthetic_case(np.random.default_rng([3]), core, False) for core in (made.CORE, 0.0))
    assert not case.tumour.any() and case.distractors.max() == made.BLOBS and (case.image == other.image).all()
    assert [case.distractors[tuple(place)] for place in case.places()] == [1, 2, 3, 4, 5]


def test_the_files_say_where_distractors_are_and_are_written_once(script, tmp_path) -> None:
    made = script("synthetic_tumours")
    folder = made.make_dataset(tmp_path, 1, 4, 0)
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == ["tumour_000.nii.gz"]
    places = read_json(folder / "distractors.json")
    assert list(places) == [f"tumour_{number:03d}" for number in (1, 2, 3, 4)]
    for name, found in places.items():
        distractors, tumour = (made.read(folder / kind / f"{name}.nii.gz") for kind in ("distractorsTs", "labelsTs"))
        assert [distractors[tuple(place)] for place in found] == list(range(1, len(found) + 1))
        assert tumour.any() == (name != "tumour_004") and not (tumour.astype(bool) & (distractors > 0)).any()
    image = folder / "imagesTs" / "tumour_001_0000.nii.gz"
    before = image.read_bytes(), image.stat().st_mtime_ns
    assert made.make_dataset(tmp_path, 1, 4, 0) == folder and image.stat().st_mtime_ns == before[1]
    other = made.make_dataset(tmp_path / "again", 2, 1, 0)  # a case depends on its number alone
    assert (other / "imagesTr" / "tumour_001_0000.nii.gz").read_bytes() == before[0]
    with pytest.raises(SystemExit):
        made.make_dataset(tmp_path, 1, 5, 0)
