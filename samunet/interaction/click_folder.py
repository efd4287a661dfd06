"""Evaluate a model that answers prompts on a folder of images and references, by simulated clicks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samunet.console import progress, say
from samunet.dataset.alignment import LABEL
from samunet.dataset.dataset import RawCase, scan_images
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.segmentations import read_on_grid
from samunet.errors import UserError, joined, some
from samunet.evaluation.clicks import ClickCurve
from samunet.files import require_writable, write_json
from samunet.inference.model_folder import TrainedModel
from samunet.interaction.click_evaluation import ClickSettings, click_curves, clicks_content
from samunet.interaction.session import Session
from samunet.locks import lock_beside, owned


def evaluate_clicks(
    model: TrainedModel, images: Path, references: Path, output: Path, settings: ClickSettings
) -> dict[str, Any]:
    """Click on every case that has a reference, in a session of its own, and write the scores to `output`.

    References without images are a problem: a score over fewer cases than there are is no score. Images without a
    reference are named in a warning.

    Arguments:
        images, references: folders of CASE_0000.ending, ... and CASE.ending, on the same grids.
        output: a file that ends with .json.

    Returns:
        The content of the file (documentation/reference/metrics.md).

    Raises:
        UserError: folders or files that are missing or cannot be read, references on other grids or with other values,
            a model that does not answer the prompts, an output that cannot be written; of all cases together. Nothing
            is written then.
    """
    if output.suffix != ".json":
        raise UserError("The output file must end with .json.", where=output, mend="Name it clicks.json, for example.")
    cases = _cases(model, images, references)
    require_writable(output.parent)
    with owned(lock_beside(output), output):
        session, problems, curves = Session(model), [], {}
        for case in progress(cases, "evaluating", len(cases)):
            try:
                curves[case.name] = _curves(session, case, model, settings)
            except UserError as fault:
                problems.append(fault)
        if problems:
            raise joined(problems)
        content = {"model": str(model.folder), "variant": model.variant, "folds": list(model.folds),
                   **clicks_content(curves, settings)}
        write_json(output, content)
    return content


def _curves(session: Session, case: RawCase, model: TrainedModel, settings: ClickSettings) -> dict[str, ClickCurve]:
    assert case.label is not None
    session.set_image(case.images)
    geometry = session.image.geometry
    truth, problems = read_on_grid(model.plans.dataset.reader, case.label, geometry, case.images[0], model.labels,
                                   LABEL)
    if problems:
        raise joined(problems)
    try:
        return click_curves(session, truth[0], model.labels, geometry.spacing_mm, case.name, settings)
    except UserError as fault:
        raise UserError("Every simulated prompt must be one that the model answers.", where=f"case {case.name}",
                        found=str(fault)) from fault


def _cases(model: TrainedModel, images: Path, references: Path) -> Sequence[RawCase]:
    """The cases with their references, sorted by name."""
    cases, problems = scan_images(images, model.file_ending, len(model.plans.dataset.channel_names))
    listing = list_folder(references, model.label_ending)
    listing.say_passed_over()
    problems += listing.link_problems()
    labels = {path.name.removesuffix(model.label_ending): path for path in listing.paths}
    if not labels:
        raise UserError("The reference folder must hold segmentations.", where=references,
                        found=f"no file that ends with {model.label_ending}",
                        mend="Name the folder with the labels, such as labelsTr.")
    if missing := sorted(labels.keys() - {case.name for case in cases}):
        problems.append(UserError("Every reference needs its image.", where=images, found=f"none of {some(missing)}",
                                  mend="Put the missing files there, or remove the references."))
    if problems:
        raise joined(problems)
    if extra := [case.name for case in cases if case.name not in labels]:
        say(f"Warning: ignored, since they have no reference: {some(extra)}")
    return [RawCase(case.name, case.images, labels[case.name]) for case in cases if case.name in labels]
