"""Views of a training case in the shape of another: its own image and labels, bent on the way to where registration carries them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import map_coordinates

from samunet.files import digest_of_json
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.views import FIRST_CARRIED, case_and_view, view_name, view_of
from samunet.training.experiment import Experiment, LazyCases
from samunet.variants.atlas import AtlasVariant
from samunet.variants.transport import SUPPORTS

VERSION = 1
PART = (0.3, 1.2)  # of the way


def with_transported_views(experiment: Experiment) -> Experiment:
    """The experiment with such views of its training cases, towards the first 8 of them; there are at least two."""
    cases = experiment.train_cases
    atlas = AtlasVariant(experiment.context)
    atlas.fit(LazyCases(experiment.arrays, cases), SUPPORTS)
    arrays = TransportedArrays(experiment.arrays.folder, experiment.arrays, experiment.plans.dataset, atlas, cases[:SUPPORTS])
    return replace(experiment, arrays=arrays)


def cached_name(arrays: ArrayStore, case: str, number: int) -> str:
    """Name under which view `number` of a case of `arrays` is cached; of one that is carried it says what it holds, which hangs on the supports."""
    name = view_name(case, number)
    return view_name(case, number, arrays.properties(name).image_digest) if number > FIRST_CARRIED else name


@dataclass(frozen=True)
class TransportedArrays(ArrayStore):
    """Another store with views of numbers from 101 on: each is carried part of the way to another support, then warped like any view.

    Arguments:
        atlas: holds the supports. supports: their names, in its order; at least two.
    """

    inner: ArrayStore
    dataset_plan: DatasetPlan
    atlas: AtlasVariant
    supports: tuple[str, ...]
    _displacements: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def properties(self, name: str) -> CaseProperties:
        properties = self.inner.properties(name)
        partner = self.partner(name)
        if partner is None:
            return properties
        other = self.inner.properties(partner[0])
        digests = [VERSION, partner[1], properties.image_digest, other.image_digest]
        return replace(properties, name=name, image_digest=digest_of_json(digests),
                       segmentation_digest=digest_of_json([*digests, properties.segmentation_digest]))

    def partner(self, name: str) -> tuple[str, float] | None:
        """The support towards which a view is carried, and how far; None for what is no such view."""
        case, view = case_and_view(name)
        if view is None or view <= FIRST_CARRIED:
            return None
        random = np.random.default_rng([zlib.crc32(case.encode()), view])
        others = [support for support in self.supports if support != case]
        return others[int(random.integers(len(others)))], float(random.uniform(*PART))

    def segmentation(self, name: str) -> np.ndarray | None:
        return self.inner.segmentation(name) if self.partner(name) is None else self.load(name).segmentation

    def load(self, name: str) -> PreparedCase:
        partner = self.partner(name)
        if partner is None:
            return self.inner.load(name)
        case, view = case_and_view(name)
        assert view is not None
        carried = self._carried(self.inner.load(case), *partner)
        return replace(view_of(carried, view, self.dataset_plan), properties=self.properties(name))

    def _carried(self, case: PreparedCase, other: str, part: float) -> PreparedCase:
        """Image (linear) and labels (nearest) where `part` of the displacement has taken them; edges are repeated."""
        pair = case.properties.name, other
        if pair not in self._displacements:
            self._displacements[pair] = self.atlas.displacement(case, self.supports.index(other))
        sources = np.indices(case.image.shape[1:]) + part * self._displacements[pair]
        image = np.stack([map_coordinates(channel, sources, order=1, mode="nearest") for channel in case.image])
        segmentation = case.segmentation
        if segmentation is not None:
            segmentation = map_coordinates(segmentation[0], sources, order=0, mode="nearest")[None]
        return replace(case, image=image.astype(np.float32), segmentation=segmentation)
