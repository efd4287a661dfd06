"""What studies of clicks share: runs, their answers to simulated clicks, and rows of figures. All of it is oracle's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from commands import call
from grown_region import GrownRegion, LabelledCase, chosen

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.files import make_folder, read_json, write_json
from samunet.interaction.click_evaluation import ClickSettings, click_curves, clicks_content
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.shots import draw_folder
from samunet.training.run import ensure_trained
from samunet.training.settings import Request
from samunet.variants.registry import entry

UNTRAINED = ("sam_zeroshot",)
GROWN = "grown region"
MOST_TUNING_CASES = 5  # on which a grown region's parameters are chosen


def trained(dataset: str, variant: str, fold: str, minutes: float, seed: int, shots: int | None = None) -> Path:
    """The folder of a run's fold; a finished run of the same settings is taken as it is.

    Validation is left out: simulated clicks, not the oracle prompts of `samunet_train`, are what is measured. Such
    runs are recorded with a kind of oracle prompts only because promptable variants need one.
    """
    paths = resolve_paths()
    folder = paths.results / find_dataset(paths.raw, dataset).name
    folder = folder / f"{variant}__{DEFAULT_PLANS_NAME}__{encoder_spec(DEFAULT_ENCODER).id}"
    ensure_trained(
        Request(dataset, variant, fold, DEFAULT_ENCODER, DEFAULT_PLANS_NAME, shots=shots, seed=seed, validate=False,
                minutes=None if variant in UNTRAINED else minutes,
                oracle_prompts="point" if entry(variant).prompts else None),
        paths, trained_by="studies/click_rows.py", workers=1)
    return folder / draw_folder(shots, 0, None) / f"fold_{fold}"


def once(path: Path, computed: Callable[[Path], Any]) -> Any:
    """The JSON file `path`, which `computed(path)` writes if it is not there."""
    if not path.is_file():
        make_folder(path.parent)
        computed(path)
    return read_json(path)


def clicked(run: Path, images: Path, references: Path, name: str, settings: ClickSettings) -> dict[str, Any]:
    """What samunet_evaluate_clicks writes of a run; stored in its folder under `name`, so that another run has its own.
    """
    def evaluate(path: Path) -> None:
        call("evaluate_clicks", "-m", run.parent, "-f", run.name.removeprefix("fold_"), "-i", images, "-gt", references,
             "-o", path, "--clicks", str(settings.clicks), "--seed", str(settings.seed),
             *(["--box"] if settings.box else []))

    content: dict[str, Any] = once(run / "clicks" / f"{name}.json", evaluate)
    return content


def grown(
    path: Path, training: Sequence[LabelledCase], test: Sequence[LabelledCase], labels: LabelSpace,
    settings: ClickSettings,
) -> dict[str, Any]:
    """The same of regions grown from the clicks; stored at `path`, with the parameters, chosen on `training`."""
    def evaluate(path: Path) -> None:
        parameters = chosen(training[:MOST_TUNING_CASES], labels, settings)
        curves = {case.name: click_curves(GrownRegion(case.image, case.spacing_mm, labels, parameters), case.truth,
                                          labels, case.spacing_mm, case.name, settings) for case in test}
        write_json(path, {"parameters": vars(parameters), **clicks_content(curves, settings)})

    content: dict[str, Any] = once(path, evaluate)
    return content


def labelled(images: Path, references: Path, names: Sequence[str]) -> list[LabelledCase]:
    """Cases of .nii.gz files, the first channel of each."""
    reader, found = reader_named("SimpleITKIO"), []
    for name in names:
        voxels, geometry = reader.read_images([images / f"{name}_0000.nii.gz"])
        truth, _ = reader.read_segmentation(references / f"{name}.nii.gz")
        found.append(LabelledCase(name, voxels[0], truth[0], geometry.spacing_mm))
    return found


def dice_by_case(content: Mapping[str, Any]) -> dict[str, list[float]]:
    """Case -> mean Dice over the labels that it has, by the number of clicks; cases without labels are left out."""
    found = {}
    for case, labels in content["cases"].items():
        if curves := [row["Dice"] for row in labels.values() if row["present"]]:
            found[case] = [mean(step) for step in zip(*curves, strict=True)]
    return found


def row(content: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of one method: mean Dice by the number of clicks, mean areas, and the Dice of each case.

    `rises`: whether the mean Dice is higher after each click than before it.
    """
    cases = dice_by_case(content)
    dice = [mean(step) for step in zip(*cases.values(), strict=True)]
    areas = {key: mean(row[key] for labels in content["cases"].values() for row in labels.values() if row["present"])
             for key in ("Dice_area", "NSD_area")} if content["clicks"] >= 5 else {}
    return {"oracle": True, "simulator": content["simulator"], "click_seed": content["seed"], "dice": dice,
            "rises": all(after > before for before, after in pairwise(dice)), **areas,
            "cases": cases}


def effort(run: Path) -> dict[str, Any]:
    """What a run took."""
    record = read_json(run / "run.json")
    return {"iterations": record["settings"]["iterations"], "training_seconds": record["seconds"].get("training"),
            "threads": record["threads"], "train_cases": len(record["train_cases"])}
