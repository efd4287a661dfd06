"""`samunet.Session`: one image, prompts one after the other, and the mask that they give (reference/session.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from msgspec.structs import replace

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.interaction import session_file
from samunet.interaction.actions import MOST_PLACES, Action, Box, Mask, Point, Stroke
from samunet.interaction.checks import BACKGROUND, label_name, place_of, require_action
from samunet.interaction.history import History
from samunet.interaction.image import SessionImage, image_of_array, read_image
from samunet.interaction.masks import checked_mask, read_mask
from samunet.interaction.painting import Region
from samunet.interaction.replay import mask_after

if TYPE_CHECKING:
    from samunet.inference.model_folder import TrainedModel
    from samunet.interaction.model import ModelAnswers, SessionModel


class Session:
    """Segment one image at a time by points, boxes and strokes, with unlimited undo.

    Places and arrays are in array order (z, y, x), so that `session.mask[place]` is the voxel at `place`; whole numbers
    are the middles of voxels. A 2D image is an array of one slice. An action that is refused raises UserError and
    leaves the session as it was.

    Arguments:
        model: the folder of a trained model of a variant that answers prompts, or such a model; None: prompts are
            recorded, and masks come from `set_mask`, `start_from` and `paint`.
        labels: name -> value (consecutive from 1; `background` is 0), of a session without a model. A model has its
            own.
        device: PyTorch's name of the model's device; None takes CUDA where there is one.

    Raises:
        UserError: a model that cannot be loaded or answers no prompts; labels that dataset.json could not have.

    Example:
        >>> import samunet
        >>> session = samunet.Session(labels={"tumour": 1})
        >>> session.set_image("raw/Dataset900_Phantom/imagesTs/phantom_008_0000.nii.gz")
        >>> session.paint([(4, 20, 20)], "tumour", radius_mm=0)
        >>> session.mask[4, 20, 18:23].tolist()
        [0, 0, 1, 0, 0]
    """

    def __init__(
        self,
        model: str | Path | TrainedModel | None = None,
        *,
        labels: Mapping[str, int] | None = None,
        device: str | None = None,
    ) -> None:
        self._model: SessionModel | None = None
        if model is None:
            self.labels = _own_labels(labels)
        else:
            from samunet.interaction.model import session_model

            self._model = session_model(model, device)
            self.labels = self._model.labels
            if labels is not None:
                raise UserError("A session with a model has the model's labels.", where="labels",
                                found=repr(dict(labels)), mend="Leave the labels out.")
        self._device = device
        self._image: SessionImage | None = None
        self._answers: ModelAnswers | None = None
        self._history: History | None = None

    def set_image(
        self, image: str | Path | Sequence[str | Path] | np.ndarray, spacing_mm: Sequence[float] | None = None
    ) -> None:
        """Begin with another image: no actions, an empty mask.

        Its features are computed once, here or by the first prompts that need them.

        Arguments:
            image: a file, one file for each channel in order, or an array (Z, Y, X), (C, Z, Y, X), or (Y, X).
            spacing_mm: of an array, (z, y, x) in mm; (y, x) for a 2D image.

        Raises:
            UserError: files or an array that cannot be read, or not the model's channels; a spacing with files.
        """
        self._begin(_image_of(image, spacing_mm, self._model.reader if self._model else None))

    def _begin(self, image: SessionImage) -> None:
        answers = self._model.answers(image) if self._model else None

        def apply(done: Sequence[Action], mask: np.ndarray) -> np.ndarray:
            return mask_after(done, mask, image, self.labels, answers)

        self._image, self._answers = image, answers
        self._history = History(apply, np.zeros(image.shape, self.labels.dtype))

    def add_point(self, place: Sequence[float], label: str | int, positive: bool = True) -> None:
        """Click: `place` is in `label`, or must not be part of it. The mask is answered from all prompts so far.

        Arguments:
            place: (z, y, x) in voxels. label: name or value.

        Raises:
            UserError: a place outside the image (or in zeros around it, for a model); an unknown label; a negative
                point for a model that does not use them.
        """
        if not isinstance(positive, bool | np.bool_):
            raise UserError("`positive` must be true or false.", found=repr(positive)[:100])
        self._push(Point(place_of(place), label_name(label, self.labels), bool(positive)))

    def add_box(self, low: Sequence[float], high: Sequence[float], label: str | int) -> None:
        """A 3D box around an object of `label`, from its first voxel `low` to its last voxel `high`, both (z, y, x).

        Raises:
            UserError: a box that ends before it begins or does not meet the image; an unknown label; a model that does
                not use boxes.
        """
        self._push(Box(place_of(low), place_of(high), label_name(label, self.labels)))

    def set_mask(self, mask: str | Path | np.ndarray) -> None:
        """Replace the mask, and with it all prompts and strokes so far; later prompts correct it.

        Arguments:
            mask: a file on the image's grid, or label values (Z, Y, X), or (Y, X) of a 2D image.

        Raises:
            UserError: another grid, or values that are no labels.
        """
        if isinstance(mask, np.ndarray):
            self._push(Mask.of(checked_mask(mask, self.image, self.labels)))
        else:
            self._push(Mask.of(read_mask(Path(mask), self.image, self.labels), str(Path(mask).absolute())))

    def start_from(self, model: str | Path) -> None:
        """Replace the mask by what another model segments without prompts; see `set_mask`.

        Arguments:
            model: the folder of a model of any variant that needs no prompts, with the session's labels.

        Raises:
            UserError: a model that cannot be loaded, needs prompts, or has other labels or channels.
        """
        from samunet.interaction.model import automatic_mask

        values = automatic_mask(Path(model), self._device, self.image, self.labels)
        self._push(Mask.of(values.astype(self.labels.dtype), str(model)))

    def paint(
        self, places: Sequence[Sequence[float]], label: str | int, radius_mm: float, axis: int = 0
    ) -> None:
        """A stroke of a round brush in the plane across `axis`; see `painting.brushed`.

        Painted voxels stay as they are painted, whatever later prompts are answered, until the stroke is undone.

        Arguments:
            places: the path, (z, y, x) each. label: name or value; 0 or `background` erases.
            radius_mm: 0 paints the places' own voxels.
            axis: 0 paints in a slice.

        Raises:
            UserError: no place or more than 10,000, places outside the image or in several planes, a negative radius,
                another axis, an unknown label.
        """
        path = list(islice(places, MOST_PLACES + 1))  # longer ones are refused
        name = label_name(label, self.labels, background=True)
        stroke = Stroke(tuple(place_of(place) for place in path), name, radius_mm, axis)  # type: ignore[arg-type]
        self._require(stroke)
        self._state.push(replace(stroke, radius_mm=float(radius_mm), axis=int(axis)))  # NumPy's numbers are no JSON

    def undo(self) -> bool:
        """Take the last action back; whether there was one."""
        return self._state.undo()

    def redo(self) -> bool:
        """Repeat the action that was taken back last; whether there was one."""
        return self._state.redo()

    @property
    def mask(self) -> np.ndarray:
        """Label values (Z, Y, X), read-only; where labels are regions, the label map that nnU-Net exports of them."""
        view = self._state.mask.view()
        view.flags.writeable = False
        return view

    @property
    def changed(self) -> Region | None:
        """The smallest box that holds all voxels that the last action, undo or redo changed.

        As slices, so that `mask[changed]` is its content; None where nothing changed.
        """
        return self._state.last_region

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions that the mask comes from, in order; undone ones are not among them."""
        return tuple(self._state.done)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would do anything."""
        return self._state.cursor < len(self._state.actions)

    @property
    def image(self) -> SessionImage:
        """The image: `voxels` float32 (C, Z, Y, X), `geometry` with `spacing_mm`, `paths`."""
        if self._image is None:
            raise UserError("A session must have an image first.", mend="Call set_image.")
        return self._image

    def save(self, path: str | Path) -> Path:
        """Write the session as JSON to `path` (.json), and its mask beside it on the image's grid.

        Returns:
            The mask's path, `<name>_mask` with the image's ending.

        Raises:
            UserError: a place that cannot be written; a name without .json, or one whose mask would replace the image.
        """
        recorded = self._model.recorded if self._model else None
        return session_file.save(Path(path), self.image, self._state, self.labels, recorded)

    @classmethod
    def load(
        cls,
        path: str | Path,
        model: str | Path | TrainedModel | None = None,
        *,
        image: str | Path | Sequence[str | Path] | np.ndarray | None = None,
        spacing_mm: Sequence[float] | None = None,
        device: str | None = None,
    ) -> Self:
        """The session that `save` wrote; the mask beside it is taken if it is unchanged, else recomputed.

        Arguments:
            model: the model that answered the prompts; None takes the recorded one.
            image, spacing_mm: the image, where it is in other files now, or in an array.

        Raises:
            UserError: a file that is no session; another image, model or labels than recorded.
        """
        record = session_file.read(Path(path))
        session = cls(model or record.model_folder, labels=None if model or record.model else record.label_values,
                      device=device)
        record.require_model(session._model.recorded if session._model else None)
        record.require_labels(session.labels)
        paths = record.image_paths if image is None else image
        session.set_image(paths, spacing_mm)
        record.require_image(session.image)
        for action in record.actions:
            session._require(action)
        session._state.restore(record.actions, record.cursor, record.mask(session.image, session.labels),
                               recalls=session._answers is not None and session._answers.refines)
        return session

    @property
    def _state(self) -> History:
        if self._history is None:
            raise UserError("A session must have an image first.", mend="Call set_image.")
        return self._history

    def _push(self, action: Action) -> None:
        self._require(action)
        self._state.push(action)

    def _require(self, action: Action) -> None:
        require_action(action, self.image.shape, self.labels)
        if self._answers is not None and isinstance(action, Point | Box):
            self._answers.require(action)


def _own_labels(labels: Mapping[str, int] | None) -> LabelSpace:
    if not labels:
        raise UserError("A session without a model needs labels.", where="labels", found=repr(labels),
                        mend='Give for example labels={"tumour": 1}, or a model.')
    return LabelSpace.from_dataset_json({"labels": {BACKGROUND: 0, **labels}}, "labels")


def _image_of(image: Any, spacing_mm: Sequence[float] | None, reader: str | None) -> SessionImage:
    if isinstance(image, np.ndarray):
        return image_of_array(image, spacing_mm)
    if spacing_mm is not None:
        raise UserError("A spacing must be given with an array alone; files have their own.", where="spacing_mm",
                        found=repr(spacing_mm)[:100], mend="Leave it out.")
    paths = [image] if isinstance(image, str | Path) else image
    return read_image([Path(path) for path in paths], reader)
