from __future__ import annotations

import json
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from samunet.dataset.dataset import load_dataset
from samunet.errors import BadCases, UserError
from samunet.files import digest_of_file, digest_of_json
from samunet.planning import fingerprint as module
from samunet.planning.fingerprint import Fingerprint, dataset_digest, draw_foreground, extract_fingerprint


def write(path: Path, array: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    sitk.WriteImage(image, str(path))


def make_dataset(folder: Path, channels: dict[str, str], cases: int = 3) -> Path:
    """Noise with a border of zeros two voxels wide, and a box of label 1; the last case has label 2 as well."""
    generator = np.random.default_rng(0)
    for case in range(cases):
        shape = (8 + case, 20, 18)
        spacing_mm = (3.0 + case, 1.0, 0.9)
        for channel in channels:
            image = np.zeros(shape, np.float32)
            image[2:-2, 2:-2, 2:-2] = generator.normal(40, 300, (shape[0] - 4, 16, 14)).round()
            write(folder / "imagesTr" / f"case_{case}_{int(channel):04d}.nii.gz", image, spacing_mm)
        label = np.zeros(shape, np.uint8)
        label[3:6, 5:12, 4:10] = 1
        label[3, 5, 4] = 2 if case == cases - 1 else 1
        write(folder / "labelsTr" / f"case_{case}.nii.gz", label, spacing_mm)
    content = {
        "channel_names": channels,
        "labels": {"background": 0, "one": 1, "two": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_figures_by_hand(tmp_path):
    dataset = load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"}))
    found = extract_fingerprint(dataset, tmp_path / "fingerprint.json", 1, False)
    assert np.allclose(found.spacings_mm, [(3, 1, 0.9), (4, 1, 0.9), (5, 1, 0.9)])
    assert found.shapes_after_crop == ((4, 16, 14), (5, 16, 14), (6, 16, 14))
    assert found.median_relative_size_after_cropping == pytest.approx(5 * 16 * 14 / (9 * 20 * 18))
    assert found.foreground_intensity_properties_per_channel == {}
    assert found.label_channels == 3
    assert Fingerprint.load(tmp_path / "fingerprint.json") == found


def test_labels_do_not_touch_the_fingerprint_unless_a_channel_is_ct(tmp_path):
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"})
    path = tmp_path / "fingerprint.json"
    extract_fingerprint(load_dataset(folder), path, 1, False)
    before = path.read_bytes()
    write(folder / "labelsTr" / "case_0.nii.gz", np.zeros((8, 20, 18), np.uint8), (3, 1, 0.9))
    extract_fingerprint(load_dataset(folder), path, 1, True)
    assert path.read_bytes() == before


def test_it_is_used_again_until_the_data_change(tmp_path, capsys):
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"})
    path = tmp_path / "fingerprint.json"
    extract_fingerprint(load_dataset(folder), path, 1, False)
    capsys.readouterr()
    extract_fingerprint(load_dataset(folder), path, 1, False)
    assert "used again" in capsys.readouterr().err
    extract_fingerprint(load_dataset(folder), path, 1, True)
    assert "used again" not in capsys.readouterr().err
    write(folder / "imagesTr" / "case_0_0000.nii.gz", np.ones((8, 20, 18), np.float32), (3, 1, 0.9))
    assert extract_fingerprint(load_dataset(folder), path, 1, False).shapes_after_crop[0] == (8, 20, 18)


@pytest.mark.parametrize(("change", "told"), [
    ({"spacings": "1 1 1"}, "$.spacings_mm"),
    ({"spacings": [[1, 1, 0]]}, "$.spacings_mm[0][2]"),
    ({"spacings": [[1, 1]]}, "$.spacings_mm[0]"),
    ({"shapes_after_crop": [[8, 20, 1.5]]}, "$.shapes_after_crop[0][2]"),
    ({"shapes_after_crop": []}, "shapes of 0"),
    ({"median_relative_size_after_cropping": 2}, "$.median_relative_size_after_cropping"),
    ({"foreground_intensity_properties_per_channel": {"0": []}}, "$.foreground_intensity_properties_per_channel.0"),
    ({"label_channels": 10**400 * -1}, "$.label_channels"),
    ({"dataset_digest": None}, "$.dataset_digest"),
])
def test_a_value_of_another_form_is_told_with_its_field(tmp_path, change, told):
    path = tmp_path / "fingerprint.json"
    extract_fingerprint(load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"})), path, 1, False)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match="fingerprint must hold") as caught:
        Fingerprint.load(path)
    assert told in caught.value.found and caught.value.where == str(path)


@pytest.mark.parametrize("text", ["{}", "not json", '{"spacings": []}', '{"samunet_fingerprint_version": 1}'])
def test_a_foreign_or_damaged_file_is_replaced(tmp_path, text):
    path = tmp_path / "fingerprint.json"
    path.write_text(text)
    found = extract_fingerprint(load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"})), path, 1, False)
    assert Fingerprint.load(path) == found


def test_a_digit_that_was_changed_is_seen_and_the_file_replaced(tmp_path):
    dataset, path = (load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"})),
                     tmp_path / "fingerprint.json")
    found = extract_fingerprint(dataset, path, 1, False)
    text = path.read_text()
    path.write_text(text.replace('"label_channels": ', '"label_channels": 1'))
    with pytest.raises(UserError, match="must be as it was written") as caught:
        Fingerprint.load(path)
    assert caught.value.where == str(path)
    assert extract_fingerprint(dataset, path, 1, False) == found and path.read_text() == text
    content = json.loads(text)
    del content["samunet_fingerprint_digest"]  # as it was written before
    path.write_text(json.dumps(content))
    assert Fingerprint.load(path) == found


def test_more_processes_give_the_same_bytes(tmp_path):
    dataset = load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"}))
    extract_fingerprint(dataset, tmp_path / "one.json", 1, False)
    extract_fingerprint(dataset, tmp_path / "two.json", 2, False)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_drawn_values_by_hand():
    image = np.arange(24, dtype=np.float32).reshape(2, 1, 3, 4)
    foreground = np.zeros((1, 3, 4), bool)
    foreground[0, 1, :2] = True  # values 4 and 5, then 16 and 17
    generator = np.random.RandomState(1234)
    first = [4 + place for place in generator.randint(0, 2, 6)]
    second = [16 + place for place in generator.randint(0, 2, 6)]
    assert draw_foreground(image, foreground, [1], 6)[0].tolist() == second
    assert [values.tolist() for values in draw_foreground(image, foreground, [0, 1], 6)] == [first, second]
    assert draw_foreground(image, np.zeros_like(foreground), [1], 6) == (None,)


def test_ct_statistics_equal_nnunets(tmp_path, monkeypatch):
    """Same samples, so the same figures to the last bit; with fewer samples than usual on both sides, for speed."""
    reference = pytest.importorskip("nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    dataset = load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "T2", "1": "CT"}))
    threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(reference, "multiprocessing", threads)
    extractor = reference.DatasetFingerprintExtractor(1, num_processes=1)
    extractor.show_progress_bar = False
    assert extractor.num_foreground_voxels_for_intensitystats == module.FOREGROUND_SAMPLES
    extractor.num_foreground_voxels_for_intensitystats = 10_000
    monkeypatch.setattr(module, "FOREGROUND_SAMPLES", 10_000)
    expected = extractor.run()
    found = extract_fingerprint(dataset, tmp_path / "fingerprint.json", 1, False)
    assert set(found.foreground_intensity_properties_per_channel) == {"1"}
    assert (
        found.foreground_intensity_properties_per_channel["1"]
        == expected["foreground_intensity_properties_per_channel"][1]
    )
    assert [list(spacing) for spacing in found.spacings_mm] == [list(spacing) for spacing in expected["spacings"]]
    assert list(found.shapes_after_crop) == expected["shapes_after_crop"]
    assert found.median_relative_size_after_cropping == expected["median_relative_size_after_cropping"]


def test_ct_without_any_foreground_is_an_error(tmp_path):
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "CT"}, cases=1)
    write(folder / "labelsTr" / "case_0.nii.gz", np.zeros((8, 20, 18), np.uint8), (3, 1, 0.9))
    with pytest.raises(UserError, match="foreground voxels"):
        extract_fingerprint(load_dataset(folder), tmp_path / "fingerprint.json", 1, False)
    assert not (tmp_path / "fingerprint.json").exists()


def test_a_wrong_number_of_channels_is_an_error(tmp_path):
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"})
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "T1", "1": "T2"}}))
    with pytest.raises(UserError, match="channels that dataset.json names"):
        extract_fingerprint(load_dataset(folder), tmp_path / "fingerprint.json", 1, False)


def test_a_ct_label_of_another_shape_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOREGROUND_SAMPLES", 10_000)
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "CT"})
    write(folder / "labelsTr" / "case_1.nii.gz", np.zeros((8, 20, 18), np.uint8), (3, 1, 0.9))
    with pytest.raises(UserError, match="its image's shape"):
        extract_fingerprint(load_dataset(folder), tmp_path / "fingerprint.json", 1, False)


def test_a_ct_label_along_other_axes_gives_the_same_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "FOREGROUND_SAMPLES", 10_000)
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "CT"})
    expected = extract_fingerprint(load_dataset(folder), tmp_path / "straight.json", 1, False)
    path = str(folder / "labelsTr" / "case_1.nii.gz")
    sitk.WriteImage(sitk.Flip(sitk.ReadImage(path), [True, True, False]), path)
    found = extract_fingerprint(load_dataset(folder), tmp_path / "turned.json", 1, False)
    assert found.foreground_intensity_properties_per_channel == expected.foreground_intensity_properties_per_channel
    assert "case_1.nii.gz is stored in another direction" in capsys.readouterr().err


def test_an_unknown_channel_name_ends_before_any_file_is_read(tmp_path):
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "mystery"})
    with pytest.raises(UserError, match="channel's name must be known"):
        extract_fingerprint(load_dataset(folder), tmp_path / "fingerprint.json", 1, False)


def test_a_spacing_file_beside_a_3d_tiff_makes_it_anew(tmp_path):
    folder = tmp_path / "Dataset001_Tiff"
    for part, name in (("imagesTr", "a_0000.tif"), ("labelsTr", "a.tif")):
        (folder / part).mkdir(parents=True)
        tifffile.imwrite(folder / part / name, np.ones((5, 8, 9), np.uint8))
    content = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "one": 1}, "numTraining": 1,
               "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps(content))
    dataset, path = load_dataset(folder), tmp_path / "fingerprint.json"
    assert extract_fingerprint(dataset, path, 1, False).spacings_mm == ((1, 1, 1),)
    for spacing in ([3, 1, 1], [4, 1, 1]):
        (folder / "imagesTr" / "a.json").write_text(json.dumps({"spacing": spacing}))
        assert extract_fingerprint(dataset, path, 1, False).spacings_mm == (tuple(spacing),)
    (folder / "imagesTr" / "a.json").unlink()
    assert extract_fingerprint(dataset, path, 1, False).spacings_mm == ((1, 1, 1),)


@pytest.mark.parametrize("with_labels", [True, False])
def test_the_digest_is_of_these_files_and_words_alone(tmp_path, with_labels):
    """Spelled out, because another digest would make everything anew that users have."""
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "T1", "1": "T2"}, cases=2)
    (folder / "imagesTr" / "case_0.json").write_text("of no meaning beside NIfTI")
    cases = {f"case_{case}": {
        "images": [digest_of_file(folder / "imagesTr" / f"case_{case}_000{channel}.nii.gz") for channel in (0, 1)],
        "label": digest_of_file(folder / "labelsTr" / f"case_{case}.nii.gz") if with_labels else None}
             for case in (0, 1)}
    told = {"cases": cases, "channel_names": ["T1", "T2"], "reader": None, "label_channels": 3}
    assert dataset_digest(load_dataset(folder), with_labels=with_labels, workers=2) == digest_of_json(told)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_cases_that_cannot_be_read_are_told_and_nothing_is_written(tmp_path, workers):
    folder = make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"}, 4)
    broken = [folder / "imagesTr" / f"case_{number}_0000.nii.gz" for number in (1, 3)]
    for path in broken:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadCases) as caught:
        extract_fingerprint(load_dataset(folder), tmp_path / "fingerprint.json", workers, False)
    assert [problem.where for problem in caught.value.problems] == list(map(str, broken))
    assert not (tmp_path / "fingerprint.json").exists()


def test_files_that_cannot_be_opened_are_told_together(tmp_path, monkeypatch):
    dataset = load_dataset(make_dataset(tmp_path / "Dataset001_Made", {"0": "MRI"}))

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("samunet.dataset.case_files.digest_of_path", closed)
    with pytest.raises(BadCases) as caught:
        dataset_digest(dataset, with_labels=False, workers=2)
    assert [problem.where for problem in caught.value.problems] == [str(case.images[0]) for case in dataset.cases]
