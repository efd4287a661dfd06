"""documentation/how-to/own-variant.md, followed literally: each variant trains and predicts by the real commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from warm_server import WarmServer

from samunet.dataset.phantom import NAME, make_phantom_dataset
from samunet.files import read_json, write_json

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "documentation" / "how-to" / "own-variant.md"
EXAMPLE = ROOT / "documentation" / "examples" / "two_convolutions"
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


def test_an_installed_package_adds_its_variant(
    phantom: Path, samunet: Callable[..., str], trained_and_predicted: Callable[..., dict], tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXAMPLE, source)  # a build leaves files beside the source
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(target),
            str(source),
        ],
        check=True,
    )
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


def test_the_logger_of_the_page_prints_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict = {}
    exec(SNIPPETS["my_logger.py"], scope)  # noqa: S102 - a snippet of our own page
    scope["printing"](tmp_path / "fold_0")({"iteration": 50, "loss": 0.25, "learning_rate": 1e-3, "seconds": 2.0})
    assert capsys.readouterr().out == "fold_0: iteration 50, loss 0.2500\n"
