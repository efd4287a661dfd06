"""LabelSpace: targets, activation and decoding for plain labels, regions and the ignore label, in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from samunet.errors import UserError, joined

Label = int | tuple[int, ...]

OUTSIDE = -1
"""Label value of background outside the image's non-zero part, and of padding."""
UNANNOTATED = -2
"""Label value, only in memory, of voxels whose label is not used: no class, not background, and never counted.

Slices that a run must not learn from have it; in evaluation the voxels that the reference ignores."""


@dataclass(frozen=True)
class LabelSpace:
    """The `labels` of a dataset.json.

    Plain labels: one network channel per label, background first, softmax, decoded by argmax.
    Regions (nnU-Net: any label that is a list of more than one value): one channel per foreground region, sigmoid,
    decoded by painting `regions_class_order[i]` where channel i has a probability above 0.5, in order.
    The ignore label is no channel; its voxels, and UNANNOTATED ones, never count in loss, sampling or evaluation.

    Arguments:
        names: name -> value as in dataset.json, `ignore` included; tuples for regions.
        regions_class_order: the value painted for each foreground region, or None without regions.
    """

    names: Mapping[str, Label]
    regions_class_order: tuple[int, ...] | None = None

    @classmethod
    def from_dataset_json(cls, content: Mapping[str, Any], where: str = "dataset.json") -> LabelSpace:
        """Build from dataset.json's content.

        Raises:
            UserError: every broken rule at once (background 0, consecutive integers, ignore = highest + 1,
                regions_class_order present and of the right length where there are regions).
        """
        labels = content.get("labels")
        if not isinstance(labels, Mapping) or not labels:
            raise UserError("dataset.json must have `labels`, a mapping of name to value.", where=where,
                            found=repr(labels), mend='Write for example {"background": 0, "liver": 1}.')
        if all(str(name).isdecimal() and isinstance(value, str) for name, value in labels.items()):
            swapped = json.dumps({value: int(name) for name, value in labels.items()})
            raise UserError("`labels` in dataset.json must map name to value.", where=where, found=json.dumps(labels),
                            mend=f"nnU-Net v1 maps value to name. Write {swapped}.")
        names = {str(name): tuple(value) if isinstance(value, list) else value for name, value in labels.items()}
        order = content.get("regions_class_order")
        space = cls(names, tuple(order) if isinstance(order, list) else None)
        problems = _problems(space, where, order)
        if problems:
            raise joined(problems)
        return space

    @property
    def ignore(self) -> int | None:
        """The ignore label's value, or None."""
        value = self.names.get("ignore")
        return value if isinstance(value, int) else None

    @property
    def has_regions(self) -> bool:
        """Whether any label is a region, so that channels are sigmoids."""
        return any(isinstance(value, tuple) and len(value) > 1 for value in self.names.values())

    @property
    def values(self) -> tuple[int, ...]:
        """All label values that a segmentation may hold, ignore left out, sorted."""
        flat: set[int] = set()
        for name, value in self.names.items():
            if name != "ignore":
                flat.update(value if isinstance(value, tuple) else (value,))
        return tuple(sorted(flat))

    @property
    def known(self) -> frozenset[int]:
        """All label values that a label file may hold: `values`, and the ignore label."""
        return frozenset(self.values if self.ignore is None else (*self.values, self.ignore))

    @property
    def foreground(self) -> tuple[Label, ...]:
        """The labels above 0, or regions (tuples) without background, in dataset.json's order: what is evaluated."""
        if self.has_regions:
            return tuple(value for name, value in self.names.items() if name != "ignore" and not _is_background(value))
        return tuple(value for value in self.values if value != 0)

    @property
    def channels(self) -> int:
        """Number of network output channels."""
        return len(self.foreground) if self.has_regions else len(self.values)

    @property
    def dtype(self) -> np.dtype:
        """Integer type of written segmentations (nnU-Net's rule): uint8 below 255 labels, else uint16."""
        return np.dtype(np.uint8 if max(self.values) < 255 else np.uint16)

    def name_of(self, label: Label) -> str:
        """The name of `label` in dataset.json."""
        return next(name for name, value in self.names.items() if value == label or value == (label,))

    def mask(self, segmentation: Any, label: Label) -> Any:
        """Boolean array or tensor, same shape as `segmentation`: where it belongs to `label` (int or region).

        OUTSIDE counts as background.
        """
        first, *others = (
            (segmentation <= 0) & (segmentation != UNANNOTATED) if value == 0 else segmentation == value
            for value in (label if isinstance(label, tuple) else (label,))
        )
        return reduce(or_, others, first)

    def channel_masks(self, segmentation: Any) -> list[Any]:
        """One boolean mask per network channel (background first for plain labels).

        OUTSIDE counts as background; ignored and unannotated voxels are in no mask.
        """
        return [self.mask(segmentation, label) for label in (self.foreground if self.has_regions else self.values)]

    def valid(self, segmentation: Any) -> Any:
        """Boolean mask of the voxels that count (everything but the ignore label and UNANNOTATED)."""
        annotated = segmentation != UNANNOTATED
        return annotated if self.ignore is None else annotated & (segmentation != self.ignore)

    def activate(self, logits: Any, axis: int = 0) -> Any:
        """Tensor logits -> probabilities over channel axis `axis`: softmax, or sigmoid for regions."""
        return logits.sigmoid() if self.has_regions else logits.softmax(axis)

    def decode(self, scores: np.ndarray, *, threshold: float) -> np.ndarray:
        """Scores (K, ...) -> segmentation (...) of `self.dtype`.

        Arguments:
            scores: probabilities or logits, one per channel.
            threshold: 0.5 for probabilities, 0.0 for logits; only regions need it.
        """
        if not self.has_regions:
            # Channel i is value i: labels are consecutive from 0 (checked when the dataset is read).
            if len(scores) == 2:  # the same for finite scores, and much faster
                return np.asarray(scores[1] > scores[0]).astype(self.dtype)
            highest: np.ndarray = np.argmax(scores, axis=0)
            return highest.astype(self.dtype)
        segmentation = np.zeros(scores.shape[1:], self.dtype)
        assert self.regions_class_order is not None
        for channel, value in enumerate(self.regions_class_order):
            segmentation[scores[channel] > threshold] = value
        return segmentation


def in_slices_alone(segmentation: np.ndarray, slices: Sequence[int]) -> np.ndarray:
    """A copy of `segmentation` int16 (..., Z, Y, X) that is UNANNOTATED in all slices but `slices`.

    OUTSIDE stays everywhere: the image itself shows that nothing is there.
    """
    others = np.ones(segmentation.shape[-3], bool)
    others[list(slices)] = False
    return np.where(others[:, None, None] & (segmentation >= 0), np.int16(UNANNOTATED), segmentation)


def _is_background(label: Label) -> bool:
    return set(label) == {0} if isinstance(label, tuple) else label == 0


def _problems(space: LabelSpace, where: str, given_order: Any) -> list[UserError]:
    """Every broken rule; values that are no whole numbers alone, since the other rules compare values."""
    bad = {name: value for name, value in space.names.items()
           if not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in _values_of(value))
           or value == ()}
    if bad:
        return [UserError("Label values must be integers of 0 or more, or lists of them.", where=where,
                          found=repr(bad), mend="Write whole numbers.")]
    return _value_problems(space, where) + (_region_problems(space, where, given_order) if space.has_regions else [])


def _value_problems(space: LabelSpace, where: str) -> list[UserError]:
    problems = []

    def problem(rule: str, found: str, mend: str) -> None:
        problems.append(UserError(rule, where=where, found=found, mend=mend))

    if space.names.get("background") != 0:
        problem("Label `background` must be 0.", repr(space.names.get("background")), 'Add "background": 0.')
    values = space.values
    if list(values) != list(range(len(values))):
        problem(
            "Label values must be consecutive integers from 0.",
            ", ".join(map(str, values)),
            f"Renumber the labels to 0..{len(values) - 1}, in dataset.json and in every label file.",
        )
    ignore = space.names.get("ignore")
    if ignore is not None and values and ignore != max(values) + 1:
        problem("Label `ignore` must be one integer, the highest label + 1.", repr(ignore),
                f"Set it to {max(values) + 1}.")
    if twice := _names_of_one_value(space):
        problem("Every label must have a value of its own.", "; ".join(twice),
                "Remove all names but one, or correct the values.")
    if not space.foreground:
        problem("`labels` must name a label besides the background.", repr(dict(space.names)),
                'Write for example {"background": 0, "liver": 1}.')
    return problems


def _region_problems(space: LabelSpace, where: str, given_order: Any) -> list[UserError]:
    order, values = space.regions_class_order, space.values
    if (order is None or len(order) != len(space.foreground)
            or any(type(value) is not int or value not in values for value in order)):
        return [UserError(
            "A dataset with regions needs `regions_class_order`, one value for each foreground region.", where=where,
            found=repr(given_order),
            mend=f"List {len(space.foreground)} label values, in the order in which they are painted.",
        )]
    others = [f"{space.name_of(region)} {list(_values_of(region))} is painted as {value}"
              for region, value in zip(space.foreground, order, strict=True) if value not in _values_of(region)]
    if not others:
        return []
    return [UserError("`regions_class_order` must give each region one of its own values, in the order of the regions.",
                      where=where, found="; ".join(others),
                      mend="Reorder it; later regions are painted over earlier ones.")]


def _values_of(label: Label) -> tuple[int, ...]:
    return label if isinstance(label, tuple) else (label,)


def _names_of_one_value(space: LabelSpace) -> list[str]:
    """The names of one value or region, a text for each; regions of background alone are no channels."""
    names: dict[frozenset[int], list[str]] = {}
    for name, label in space.names.items():
        values = _values_of(label)
        if len(values) == 1 or not _is_background(label):
            names.setdefault(frozenset(values), []).append(name)
    return [f"{' and '.join(each)} are {sorted(values)}" for values, each in names.items() if len(each) > 1]
