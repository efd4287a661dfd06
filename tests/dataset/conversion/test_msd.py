"""Tasks of the Decathlon: every voxel, every header field, and the same files as nnU-Net's converter writes."""

from __future__ import annotations

import gzip
import json
import multiprocessing.pool
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from old_datasets import files_of, task, write_image

from samunet.cli.convert_MSD_dataset import main
from samunet.dataset.conversion.msd import convert_msd
from samunet.dataset.dataset import load_dataset
from samunet.errors import UserError


def test_channels_become_files_with_the_voxels_and_the_grid_of_the_image(tmp_path, paths):
    source = task(tmp_path, channels=3)
    target = convert_msd(source, paths, None, 1)
    assert target == paths.raw / "Dataset005_Two"
    before = nibabel.load(source / "imagesTr/b.nii.gz")
    for channel in range(3):
        after = nibabel.load(target / f"imagesTr/b_000{channel}.nii.gz")
        assert after.shape == (5, 4, 3) and after.get_data_dtype() == np.int16
        # voxel (x, y, z) of the second image counts x fastest, and goes on from channel to channel
        assert after.dataobj[1, 2, 1] == 1000 + channel * 60 + 1 * 20 + 2 * 5 + 1
        np.testing.assert_array_equal(after.affine, before.affine)
        assert after.header["pixdim"][4:].tolist() == [1, 1, 1, 1]  # not the distance of channels
    assert [case.name for case in load_dataset(target).cases] == ["a_1", "b"]
    assert not [name for name in files_of(target) if "._" in name]


def test_a_slope_stays_in_the_header(tmp_path, paths):
    """ITK, and so nnU-Net, would write the products in another type."""
    source = task(tmp_path, channels=2)
    path = source / "imagesTr/b.nii.gz"
    whole = np.asanyarray(nibabel.load(path).dataobj)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[112:120] = np.array([0.5, 3.0], "<f4").tobytes()  # scl_slope and scl_inter
    path.write_bytes(gzip.compress(content))
    part = nibabel.load(convert_msd(source, paths, None, 1) / "imagesTr/b_0001.nii.gz")
    assert (part.dataobj.slope, part.dataobj.inter) == (0.5, 3.0)
    np.testing.assert_array_equal(part.dataobj.get_unscaled(), whole[..., 1])


@pytest.mark.parametrize("channels", [1, 2])
def test_the_files_are_those_of_nnunet(tmp_path, paths, theirs, monkeypatch, channels):
    from nnunetv2.dataset_conversion import convert_MSD_dataset as reference

    threads = SimpleNamespace(Pool=multiprocessing.pool.ThreadPool)  # processes would import nnU-Net for seconds
    monkeypatch.setattr(reference, "multiprocessing", SimpleNamespace(get_context=lambda method: threads))
    source = task(tmp_path, channels)
    reference.convert_msd_dataset(f"{source}/", 31, 1)
    assert main(["-i", str(source), "-overwrite_id", "31", "-np", "1", "--raw", str(paths.raw), "--preprocessed",
                 str(paths.preprocessed), "--results", str(paths.results)]) == 0
    ours, other = files_of(paths.raw), files_of(theirs)
    assert list(ours) == list(other)
    for name in ours:
        if "imagesTr" in name or "imagesTs" in name:
            own, reference_image = (sitk.ReadImage(str(root / name)) for root in (paths.raw, theirs))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(own), sitk.GetArrayFromImage(reference_image))
            for read in ("GetPixelIDValue", "GetSpacing", "GetOrigin", "GetDirection"):
                assert getattr(own, read)() == getattr(reference_image, read)()
        if channels == 1 or "labelsTr" in name:
            assert json_of(ours[name]) == json_of(other[name])
    name = "Dataset031_Two/dataset.json"
    assert json.loads(ours[name]) == json.loads(other[name])


def json_of(content):
    return json.loads(content) if content.startswith(b"{") else content


def remove(path):
    return lambda source: (source / path).unlink()


def edited(**changes):
    def edit(source):
        path = source / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return edit


@pytest.mark.parametrize(
    "break_it, message",
    [
        (remove("labelsTr/b.nii.gz"), "missing: b.nii.gz"),
        (remove("imagesTr/b.nii.gz"), "missing: b.nii.gz"),
        (remove("dataset.json"), "A required file is missing"),
        (lambda source: write_image(source / "imagesTs/c.nii.gz", np.zeros((2, 3, 4, 5), np.int16)), "2 channels"),
        (lambda source: (source / "imagesTr/b.nii.gz").write_bytes(b"no image"), "b.nii.gz"),
        (edited(modality=["MRI"]), "modality"),
        (edited(labels={"background": 0}), "labels"),
        (edited(labels={"0": "background", "2": "edge"}), "consecutive"),
        (edited(labels={"0": "background", "1": "edge", "2": "edge"}), "name of its own"),
    ],
)
def test_bad_input_changes_nothing(tmp_path, paths, break_it, message):
    source = task(tmp_path, channels=3)
    break_it(source)
    before = files_of(tmp_path)
    with pytest.raises(UserError, match=message):
        convert_msd(source, paths, None, 1)
    assert files_of(tmp_path) == before


def test_a_number_that_is_taken_and_a_folder_of_another_name_are_refused(tmp_path, paths):
    source = task(tmp_path, channels=1)
    (paths.results / "Dataset005_Other").mkdir(parents=True)
    with pytest.raises(UserError, match="must be free"):
        convert_msd(source, paths, None, 1)
    assert not [*paths.raw.glob("*")]
    source.rename(tmp_path / "Two")
    with pytest.raises(UserError, match="TaskXX_NAME"):
        convert_msd(tmp_path / "Two", paths, None, 1)


def test_a_wrong_count_is_corrected_with_a_line(tmp_path, paths, capsys):
    target = convert_msd(task(tmp_path, channels=1, numTraining=7), paths, None, 1)
    assert json.loads((target / "dataset.json").read_text())["numTraining"] == 2
    assert "says numTraining 7, and 2 training cases" in capsys.readouterr().err
