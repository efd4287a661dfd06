"""The model of a session: prompts in the image's voxels become label maps on the image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from samunet.dataset.dataset import RawCase
from samunet.dataset.integrity import channel_problems
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined
from samunet.files import digest_of_file, digest_of_json
from samunet.inference.export import export_case
from samunet.inference.model_folder import TrainedModel, chosen_device, load_model
from samunet.inference.predictor import predict_case
from samunet.interaction.actions import Box, Point, Prompt
from samunet.interaction.image import SessionImage
from samunet.interaction.session_file import RecordedModel
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.preprocess import prepare_arrays
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.preprocessing.prompts.positions import boxes_meet, plan_masks, plan_positions, points_inside
from samunet.variants.answers import PromptAnswers, logits_of_masks
from samunet.variants.prediction import Reading
from samunet.variants.registry import check_kinds, entry


@dataclass(frozen=True)
class SessionModel:
    """A trained model of a variant that answers prompts."""

    model: TrainedModel

    @property
    def labels(self) -> LabelSpace:
        """Of dataset.json."""
        return self.model.labels

    @property
    def reader(self) -> str:
        """Name of the reader-writer that the model's images are read with."""
        return self.model.plans.dataset.reader

    @property
    def recorded(self) -> RecordedModel:
        """What a session's file says of it; the digest is of its folds' records."""
        folder = self.model.folder
        runs = {fold: digest_of_file(folder / f"fold_{fold}" / "run.json") for fold in self.model.folds}
        return RecordedModel(str(folder.absolute()), digest_of_json(runs))

    @torch.inference_mode()
    def answers(self, image: SessionImage) -> ModelAnswers:
        """The model with an image before it.

        Raises:
            UserError: another number of channels than planned; see `prepare_arrays`.
        """
        case = prepared(image, self.model)
        first, *_ = variants = self.model.variants
        answers = first.answers_of(variants, case, Reading(self.model.plans, self.model.encoder))
        return ModelAnswers(self.model, case.properties, answers)


@dataclass(frozen=True)
class ModelAnswers:
    """A model that has an image before it, preprocessed once; see `replay.Answerer`."""

    model: TrainedModel
    properties: CaseProperties
    answers: PromptAnswers

    @property
    def refines(self) -> bool:
        """Whether an answer goes on from the one before it; see `PromptAnswers`."""
        return self.answers.refines

    @property
    def _plan(self) -> DatasetPlan:
        return self.model.plans.dataset

    def require(self, prompt: Prompt) -> None:
        """Refuse a prompt that the model does not use, or one in zeros around the image.

        Raises:
            UserError: names it.
        """
        negative = isinstance(prompt, Point) and not prompt.positive
        kind = "boxes" if isinstance(prompt, Box) else "negative points" if negative else "points"
        check_kinds(self.model.variant, [kind], f"prompt of {prompt.label}")
        if isinstance(prompt, Box):
            met = boxes_meet(self._boxes([prompt]), self.properties).all()
        else:
            met = points_inside(self._positions([prompt.place]), self.properties).all()
        if not met:
            raise UserError("A point must be in its image and a box must meet it; zeros around the image do not count.",
                            found=f"{prompt}", mend="Click inside the image.")

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Prompt], mask: np.ndarray, start: np.ndarray | None) -> np.ndarray:
        """See `replay.Answerer`.

        Where the grids differ, voxels that the answer does not change from what it started from stay as they are:
        there and back again would move them.
        """
        given = (mask if mask.any() else None) if self.refines else start
        previous = None if given is None else plan_masks(given, self.properties, self._plan, self.model.labels)
        answer = self._exported(self.answers.answer(self._case_prompts(prompts), previous))
        own = self.properties
        if given is None or previous is None or own.shape == own.shape_after_cropping == own.shape_before_cropping:
            return answer
        return np.where(answer == self._exported(logits_of_masks(previous, self.model.labels)), given, answer)

    def _exported(self, logits: np.ndarray) -> np.ndarray:
        return export_case([(0, logits)], self.properties, self._plan, self.model.labels).segmentation

    def _case_prompts(self, prompts: Sequence[Prompt]) -> CasePrompts:
        """All prompts on the plan's grid, by label, each kind in its order."""
        labels, made = self.model.labels, {}
        for label in labels.foreground:
            own = [prompt for prompt in prompts if prompt.label == labels.name_of(label)]
            if own:
                made[label] = self._label_prompts(own)
        return made

    def _label_prompts(self, prompts: Sequence[Prompt]) -> LabelPrompts:
        points = [prompt for prompt in prompts if isinstance(prompt, Point)]
        boxes = self._boxes([prompt for prompt in prompts if isinstance(prompt, Box)])
        return LabelPrompts(self._positions([point.place for point in points]),
                            np.clip(boxes, 0, self.properties.shape),
                            np.array([point.positive for point in points], bool))

    def _positions(self, places: Sequence[Sequence[float]]) -> np.ndarray:
        """Places (z, y, x) in the image's voxels -> float64 (N, 3) on the plan's grid."""
        return plan_positions(np.reshape(places, (-1, 3))[:, ::-1].astype(float), self.properties, self._plan)

    def _boxes(self, boxes: Sequence[Box]) -> np.ndarray:
        """Float64 (M, 2, 3) on the plan's grid, from the outer edge of the first voxel to that of the last."""
        ends = [[np.subtract(box.low, 0.5), np.add(box.high, 0.5)] for box in boxes]
        return self._positions(np.reshape(ends, (-1, 3)).tolist()).reshape(-1, 2, 3)


def session_model(model: str | Path | TrainedModel, device: str | None) -> SessionModel:
    """A model for a session, loaded with all its finished folds where it is a folder.

    Raises:
        UserError: see `load_model`; a variant that answers no prompts.
    """
    loaded = model if isinstance(model, TrainedModel) else load_model(Path(model), None, chosen_device(device))
    if not entry(loaded.variant).prompts:
        raise UserError("A session's model must be of a variant that answers prompts.", where=loaded.folder,
                        found=loaded.variant,
                        mend="Choose another model; start_from takes the result of one that needs no prompts.")
    return SessionModel(loaded)


def automatic_mask(
    folder: Path, device: str | None, image: SessionImage, names: LabelSpace
) -> np.ndarray:
    """What a model that needs no prompts segments in an image, label values (Z, Y, X).

    Raises:
        UserError: a model that cannot be loaded, needs prompts, has other labels or channels, or reads images by a
            reader that turns them another way.
    """
    model = load_model(folder, None, chosen_device(device))
    if entry(model.variant).prompts:
        raise UserError("A session must start from a model that needs no prompts.", where=folder, found=model.variant,
                        mend="Choose another model, or prompt this one in a session of its own.")
    if dict(model.labels.names) != dict(names.names):
        raise UserError("A session must start from a model with its labels.", where=folder,
                        found=f"{dict(model.labels.names)}; the session has {dict(names.names)}")
    if image.paths and model.plans.dataset.reader != image.geometry.reader:
        raise UserError("A session must start from a model that reads its image with the same reader.", where=folder,
                        found=f"{model.plans.dataset.reader}; the session's is {image.geometry.reader}",
                        mend="Predict the image with samunet_predict, and give the result to set_mask.")
    case = prepared(image, model)
    slabs = predict_case(model.variants, case, model.plans, model.encoder)
    return export_case(slabs, case.properties, model.plans.dataset, model.labels).segmentation


def prepared(image: SessionImage, model: TrainedModel) -> PreparedCase:
    """An image as the model's plans preprocess it.

    Raises:
        UserError: another number of channels than planned; see `prepare_arrays`.
    """
    dataset_plan = model.plans.dataset
    if problems := channel_problems(image.voxels, image.place, dataset_plan.channel_names):
        raise joined(problems)
    case = RawCase(image.name, image.paths or (image.place,), None)
    return prepare_arrays(image.voxels, None, image.geometry, case, dataset_plan, {})
