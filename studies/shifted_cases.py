"""The hippocampus data as one dataset of a source and shifted targets, split by patient, for domain_shift.py."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from samunet.dataset.dataset import RawCase, load_dataset
from samunet.files import make_folder, write_json
from samunet.planning.groups import find_groups
from samunet.planning.splits import make_splits

NUMBER, NAME, ENDING = "903", "Dataset903_Shifted", ".nii.gz"
TUNING = (0, 1, 5)  # labelled target cases
THICK = 3  # slices
BIAS_VOXELS, BIAS, NOISE = 12.0, 0.4, 0.5

Case = tuple[np.ndarray, np.ndarray]  # intensities float64 and labels, (Z, Y, X)
Shift = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def inverted(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Bright and dark exchanged, within the image's own limits."""
    return image.max() + image.min() - image


def biased(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Times the exponential of a smooth field with standard deviation BIAS."""
    field = gaussian_filter(random.standard_normal(image.shape), BIAS_VOXELS, mode="nearest")
    return image * np.exp(BIAS * field / field.std())


def noisy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With noise of half the image's standard deviation."""
    return image + NOISE * image.std() * random.standard_normal(image.shape)


def unchanged(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As it is."""
    return image


# Of float32 patients that are not in the source; `thick` differs by its slices, `uint8` are other patients.
MADE: dict[str, Shift] = {"unchanged": unchanged, "inverted": inverted, "thick": unchanged, "bias": biased,
                          "noise": noisy}
SHIFTS = ("uint8", *MADE)


def fold_of(shift: str, labelled: int) -> str:
    """The fold that trains on `labelled` target cases of `shift`.

    Fold 0 trains on the source and validates all shifts.
    """
    return "0" if labelled == 0 else str(1 + SHIFTS.index(shift) * (len(TUNING) - 1) + TUNING.index(labelled) - 1)


def shift_of(case: str) -> str:
    """The shift in a target case's name."""
    return case.rpartition("__")[2]


def make_dataset(source: Path, folder: Path, test: int) -> Path:
    """Write the dataset and its splits in `folder`; the same ones whenever it is called. Returns its folder.

    Patients whom the source's own fold 0 validates are left out, so that what is developed here has not seen them. Of
    the others the uint8 patients are one target; the last max(TUNING) + `test` float32 patients, after a seeded
    shuffle, are the made ones, and all other float32 patients are the source. A target has one case of each patient.
    """
    dataset = load_dataset(source)
    groups = find_groups(dataset, None)
    assert groups is not None, "the dataset must have known patients"
    left_out = set(make_splits([case.name for case in dataset.cases], groups)[0]["val"])
    patients: dict[str, list[RawCase]] = defaultdict(list)
    for case in sorted(dataset.cases, key=lambda case: case.name):
        if case.name not in left_out:
            patients[groups[case.name]].append(case)
    order = np.random.default_rng(1).permutation(sorted(patients)).tolist()
    eight = [patient for patient in order if is_uint8(patients[patient][0])]
    others = [patient for patient in order if patient not in eight]
    count = max(TUNING) + test
    target = make_folder(folder / NAME)
    names = {shift: [copied(patients[patient][0], target, shift)
                     for patient in (eight if shift == "uint8" else others)[-count:]]
             for shift in SHIFTS}
    training = [copied(case, target, None) for patient in others[:-count] for case in patients[patient]]
    write_splits(target, training, names)
    everyone = [*training, *(name for each in names.values() for name in each)]
    with (target / "groups.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("case", "patient"),
                                      *((name, groups[name.partition("__")[0]]) for name in everyone)])
    write_json(target / "dataset.json", {**dataset.content, "numTraining": len(everyone), "file_ending": ENDING})
    return target


def write_splits(target: Path, training: list[str], names: dict[str, list[str]]) -> None:
    """Fold 0 from the source to the test cases of all shifts.

    Then, for each shift, 1 and 5 of its other cases to its test cases.
    """
    test = {shift: sorted(each[max(TUNING):]) for shift, each in names.items()}
    splits = [{"train": sorted(training), "val": sorted(name for each in test.values() for name in each)}]
    splits += [{"train": sorted(names[shift][:labelled]), "val": test[shift]} for shift in SHIFTS
               for labelled in TUNING[1:]]
    write_json(target / "splits_final.json", splits)


def is_uint8(case: RawCase) -> bool:
    """Whether the file holds bytes."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(case.images[0]))
    reader.ReadImageInformation()
    return reader.GetPixelID() == sitk.sitkUInt8


def copied(case: RawCase, target: Path, shift: str | None) -> str:
    """Write a case, with the named synthetic shift if there is one, and return its name, which contains the shift."""
    name = case.name if shift is None else f"{case.name}__{shift}"
    places = [make_folder(target / folder) / file
              for folder, file in (("imagesTr", f"{name}_0000{ENDING}"), ("labelsTr", f"{name}{ENDING}"))]
    assert case.label is not None
    for path, place in zip((case.images[0], case.label), places, strict=True):
        if shift not in MADE:
            shutil.copyfile(path, place)
            continue
        image, is_label = sitk.ReadImage(str(path)), place is places[1]
        if not is_label:
            random = np.random.default_rng([7, SHIFTS.index(shift), int("".join(filter(str.isdigit, case.name)))])
            moved = MADE[shift](sitk.GetArrayFromImage(image).astype(np.float64), random).astype(np.float32)
            image = like(moved, image)
        sitk.WriteImage(thick(image, is_label) if shift == "thick" else image, str(place))
    return name


def thick(image: sitk.Image, is_label: bool) -> sitk.Image:
    """THICK slices become one: the mean of an image, the middle one of labels.

    Slices that are left over at the end go.
    """
    array = sitk.GetArrayFromImage(image)
    slabs = array[: len(array) // THICK * THICK].reshape(-1, THICK, *array.shape[1:])
    thicker = sitk.GetImageFromArray(slabs[:, THICK // 2] if is_label else slabs.mean(1))
    thicker.SetOrigin(image.TransformIndexToPhysicalPoint((0, 0, THICK // 2)))
    thicker.SetDirection(image.GetDirection())
    x, y, z = image.GetSpacing()
    thicker.SetSpacing((x, y, z * THICK))
    return thicker


def like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    """`array` on the grid of `image`."""
    moved = sitk.GetImageFromArray(array)
    moved.CopyInformation(image)
    return moved
