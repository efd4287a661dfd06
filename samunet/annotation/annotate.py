"""`samunet_annotate` from its options to the running server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samunet.annotation.assistant import Assistant
from samunet.annotation.cases import Cases
from samunet.annotation.confined import require_inside
from samunet.annotation.project import Project, channel_names, project_of
from samunet.annotation.serve import serve
from samunet.annotation.source import find_source
from samunet.console import say
from samunet.errors import UserError
from samunet.locks import owned
from samunet.variants.registry import entry

if TYPE_CHECKING:
    from samunet.inference.model_folder import TrainedModel

UNCERTAIN = "uncertain"
_DATASET = re.compile(r"Dataset[0-9]{3,}_.+")


@dataclass(frozen=True)
class AnnotationSettings:
    """Options of samunet_annotate.

    Arguments:
        labels: name -> value; None: the model's, or those of the output folder.
        order: of the cases, `name`, or `uncertain`, which puts cases that are not finished first, by uncertainty.
    """

    images: Path
    output: Path
    model: Path | None = None
    labels: Mapping[str, int] | None = None
    order: str = "name"
    device: str | None = None


def annotate(settings: AnnotationSettings, port: int, *, browser: bool) -> None:
    """Serve the page until the process is interrupted; see `serve.serve`.

    Raises:
        UserError: folders, labels or a model that cannot be used, or do not belong together; an output folder that
            another server uses; a port that is taken.
    """
    model = _loaded(settings)
    project = new_project(settings, model)
    if not _DATASET.fullmatch(settings.output.name):
        say(f"{settings.output} must be renamed to DatasetXXX_Name before samunet_train can use it.")
    with owned(settings.output / ".annotate.lock", settings.output):
        serve(open_cases(settings, project, model), port, browser=browser)


def new_project(settings: AnnotationSettings, model: TrainedModel | None) -> Project:
    """The project of the two folders; nothing is written.

    Raises:
        UserError: see `annotate`.
    """
    if settings.order == UNCERTAIN and model is None:
        raise UserError("--order uncertain needs a model.", where="command line", found="no -m",
                        mend="Name a trained model with -m.")
    if model is not None and settings.labels is not None:
        raise UserError("The labels must be given once.", where="command line", found="--labels and -m",
                        mend="Leave --labels out; a model has its own.")
    if model is not None and model.labels.has_regions and not entry(model.variant).prompts:
        raise UserError("Regions can be annotated with a model that answers prompts alone.", where=model.folder,
                        found=model.variant, mend="Choose a promptable model, or annotate the labels without a model.")
    reader = model.dataset.get("overwrite_image_reader_writer") if model else None
    source = find_source(settings.images, model.file_ending if model else None, reader)
    content = _content_of(model) if model else None
    if settings.labels is not None:
        content = {"channel_names": channel_names(source), "labels": {"background": 0, **settings.labels}}
    return project_of(source, settings.output, content)


def open_cases(settings: AnnotationSettings, project: Project, model: TrainedModel | None) -> Cases:
    """Everything that the server serves; creates the output folder.

    Raises:
        UserError: the folder cannot be written, or a case cannot be read for its uncertainty.
    """
    project.prepare()
    return Cases(project, _ordered(project, settings.order, model), Assistant(model, settings.device))


def _loaded(settings: AnnotationSettings) -> TrainedModel | None:
    """The model; without one nothing of PyTorch is imported, which takes seconds."""
    if settings.model is None:
        return None
    from samunet.inference.model_folder import chosen_device, load_model

    return load_model(settings.model, None, chosen_device(settings.device))


def _content_of(model: TrainedModel) -> dict[str, Any]:
    """What a dataset of the model's results says in its dataset.json."""
    keys = ("channel_names", "modality", "labels", "regions_class_order", "overwrite_image_reader_writer")
    return {key: model.dataset[key] for key in keys if key in model.dataset}


def _ordered(project: Project, order: str, model: TrainedModel | None) -> list[str]:
    cases = list(project.source.images)
    if order != UNCERTAIN:
        return cases
    assert model is not None
    from samunet.annotation.uncertainty import most_uncertain_first, uncertainties

    finished = [case for case in cases if project.is_finished(case)]
    cache = require_inside(project.folder / "uncertainty.json", project.folder)
    values = uncertainties(model, project.source, [case for case in cases if case not in finished], cache)
    ranked = most_uncertain_first(values)
    for case in ranked:
        say(f"{values[case]:.4f}  {case}")
    return [*ranked, *finished]
