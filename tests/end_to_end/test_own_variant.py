"""documentation/how-to/own-variant.md, followed literally: each variant trains and predicts by the real commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from warm_server import WarmServer

from samunet.dataset.phantom import NAME, make_phantom_dataset
from samunet.files import read_json, write_json

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "documentation" / "how-to" / "own-variant.md"
EXAMPLE = ROOT / "documentation" / "examples" / "two_convolutions"
NPZ_AND_CSV = EXAMPLE.with_name("npz_and_csv")
SNIPPETS = dict(
    re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
LONGEST_HEAD, LONGEST = 25, 60  # lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory, samunet: Callable[..., str]) -> Path:
    """A root with the phantom, planned and preprocessed for the encoder `pixels`, without views."""
    root = tmp_path_factory.mktemp("phantom")
    make_phantom_dataset(root / "raw", cases=5, test_cases=1)
    samunet(root, ROOT, "plan_and_preprocess", "-d", "900", "--encoder", "pixels", "--no_embeddings", "-np", "1")
    path = root / "preprocessed" / NAME / "samunetPlans.json"
    plans = read_json(path)
    plans["encoders"]["pixels"]["embeddings"]["view_pictures"] = 0
    write_json(path, plans)
    return root


@pytest.fixture(scope="module")
def samunet(warm_server: WarmServer) -> Callable[..., str]:
    """Run a command with packages from `source` before all others; its output."""

    def run(root: Path, source: Path, command: str, *arguments: str) -> str:
        folders = {f"samunet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
        done = warm_server.start(command, arguments, root, {**folders, "PYTHONPATH": str(source)})
        done.ends_within(None)
        out, err = done.output
        assert done.code == 0, err
        return out

    return run


@pytest.fixture
def trained_and_predicted(phantom: Path, samunet: Callable[..., str]) -> Callable[..., dict]:
    """Train fold 0 for some iterations, predict the test image; the content of run.json."""

    def run(source: Path, variant: str, *settings: str) -> dict:
        samunet(phantom, source, "train", "900", variant, "0", "--encoder", "pixels", "--iterations", "4", *settings)
        output = phantom / f"predicted_{variant}"
        images = str(phantom / "raw" / NAME / "imagesTs")
        samunet(phantom, source, "predict", "-d", "900", "-v", variant, "-i", images, "-o", str(output))
        assert (output / "phantom_005.nii.gz").is_file()
        return read_json(phantom / "results" / NAME / f"{variant}__samunetPlans__pixels" / "fold_0" / "run.json")

    return run


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    """samunet's source with a new file and a line in the registry."""

    def changed(file: str, line: str) -> Path:
        shutil.copytree(ROOT / "samunet", tmp_path / "samunet", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / file).write_text(SNIPPETS[file])
        registry = tmp_path / "samunet" / "variants" / "registry.py"
        registry.write_text(registry.read_text().replace("VARIANTS = {\n", "VARIANTS = {\n" + line, 1))
        return tmp_path

    return changed


def test_a_head_is_one_file_and_one_line(
    checkout: Callable[..., Path], trained_and_predicted: Callable[..., dict]
) -> None:
    file = "samunet/variants/one_hidden.py"
    assert len(SNIPPETS[file].splitlines()) < LONGEST_HEAD
    source = checkout(file, SNIPPETS["samunet/variants/registry.py"])
    run = trained_and_predicted(source, "one_hidden")
    # 256 channels x 9 x 64 + 64, and 64 x 4 + 4: the phantom has 3 labels and background.
    assert run["trainable_parameters"] == 147_520 + 260


def test_a_3d_network_on_volumes_is_one_file_and_one_line(
    checkout: Callable[..., Path], trained_and_predicted: Callable[..., dict]
) -> None:
    file = "samunet/variants/small_3d.py"
    assert len(SNIPPETS[file].splitlines()) < LONGEST
    source = checkout(file, SNIPPETS["samunet/variants/registry.py, volumes"])
    run = trained_and_predicted(source, "small_3d", "--set", "width=4")
    # Convolutions of 27 places: 1 to 4 channels, 4 to 8, with a bias and two figures of a norm; the head from 12 to 4.
    assert run["trainable_parameters"] == 27 * 4 + 3 * 4 + 27 * 4 * 8 + 3 * 8 + 12 * 4 + 4
    assert run["encoder"]["digest"] is None


def test_a_package_of_its_own_is_what_the_page_shows() -> None:
    for name in ("pyproject.toml", "samunet_two_convolutions.py"):
        assert (EXAMPLE / name).read_text() == SNIPPETS[name]
        assert len(SNIPPETS[name].splitlines()) < LONGEST


def installed(example: Path, folder: Path) -> Path:
    """Install a package into a folder of its own, which is returned."""
    source, target = folder / "source", folder / "target"
    shutil.copytree(example, source)  # a build leaves files beside the source
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return target


def test_an_installed_package_adds_its_variant(
    phantom: Path, samunet: Callable[..., str], trained_and_predicted: Callable[..., dict], tmp_path: Path
) -> None:
    target = installed(EXAMPLE, tmp_path)
    assert re.search(
        r"^two_convolutions +from samunet-two-convolutions 0\.1\.0$",
        samunet(phantom, target, "train", "--list"),
        re.MULTILINE,
    )
    assert "--set width: int at least 8 at most 1024, default 64" in samunet(
        phantom, target, "train", "--list", "two_convolutions"
    )
    run = trained_and_predicted(target, "two_convolutions", "--set", "width=16")
    assert run["settings"]["changed_settings"] == {"width": 16}
    assert run["trainable_parameters"] == 256 * 9 * 16 + 16 + 16 * 4 + 4


def test_a_package_with_a_reader_and_a_logger_is_what_the_page_shows() -> None:
    assert (NPZ_AND_CSV / "samunet_csv_logger.py").read_text() == SNIPPETS["samunet_csv_logger.py"]
    assert SNIPPETS["readers and loggers in pyproject.toml"] in (NPZ_AND_CSV / "pyproject.toml").read_text()
    assert all(len(path.read_text().splitlines()) < LONGEST for path in NPZ_AND_CSV.iterdir() if path.is_file())


def test_an_installed_package_adds_its_reader_and_its_logger(samunet: Callable[..., str], tmp_path: Path) -> None:
    target, raw = installed(NPZ_AND_CSV, tmp_path), tmp_path / "raw"
    make_phantom_dataset(raw, cases=5, test_cases=1)
    spacings = {to_npz(path) for path in raw.rglob("*.nii.gz")}
    content = read_json(raw / NAME / "dataset.json")
    changed = {"file_ending": ".npz", "overwrite_image_reader_writer": "NpzIO"}
    write_json(raw / NAME / "dataset.json", content | changed)
    samunet(tmp_path, target, "plan_and_preprocess", "-d", "900", "--encoder", "pixels", "--no_embeddings", "-np", "1")
    samunet(tmp_path, target, "train", "900", "label_prior", "0", "--encoder", "pixels", "--logger", "csv")
    samunet(tmp_path, target, "predict", "-i", str(raw / NAME / "imagesTs"), "-o", str(tmp_path / "out"))
    with np.load(tmp_path / "out" / "phantom_005.npz") as predicted, np.load(
            raw / NAME / "imagesTs" / "phantom_005_0000.npz") as image:
        assert predicted["voxels"].shape == image["voxels"].shape and predicted["voxels"].any()
        assert tuple(predicted["spacing_mm"]) in spacings
    fold = next((tmp_path / "results" / NAME).glob("label_prior*")) / "fold_0"
    rows = [line.split(",", 2) for line in (fold / "log.csv").read_text().splitlines()]
    dice = read_json(fold / "validation" / "summary.json")["foreground_mean"]["Dice"]
    assert ["", '"variant"', '"label_prior"'] in rows and ["end", '"Dice"', f'"{dice}"'] in rows


def to_npz(path: Path) -> tuple[float, float, float]:
    """Replace a NIfTI file by what the package's reader reads; returns its spacing (z, y, x)."""
    image = sitk.ReadImage(str(path))
    spacing_mm = tuple(image.GetSpacing()[::-1])
    np.savez(path.with_name(path.name.replace(".nii.gz", ".npz")), voxels=sitk.GetArrayFromImage(image),
             spacing_mm=spacing_mm)
    path.unlink()
    return spacing_mm
