"""Views of a training case with shapes between its own and another's: bent part of the way along a registration."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import map_coordinates

from samunet.files import digest_of_json
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.arrays import Arrays, LazyCases, WrappedArrays
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.view_names import View, case_and_view, view_name
from samunet.preprocessing.views import view_of
from samunet.variants.atlas import AtlasVariant
from samunet.variants.hybrid import SUPPORTS
from samunet.variants.run_data import RunData

VERSION = 1
PART = (0.3, 1.2)  # of the way


def with_transported_views(run: RunData) -> RunData:
    """The run with such views of its training cases, towards the first 8 of them; there are at least two."""
    cases = run.train_cases
    atlas = AtlasVariant(run.context)
    atlas.fit(LazyCases(run.arrays, cases), SUPPORTS)
    arrays = TransportedArrays(run.arrays, run.plans.dataset, atlas, cases[:SUPPORTS])
    return replace(run, arrays=arrays)


def cached_name(arrays: Arrays, case: str, view: View) -> str:
    """Name under which a view of a case of `arrays` is cached.

    That of a transported one depends on the supports by its image digest.
    """
    name = view_name(case, view)
    return view_name(case, view, arrays.properties(name).image_digest) if view.transported else name


@dataclass(frozen=True)
class TransportedArrays(WrappedArrays):
    """Another store with transported views: each is bent part of the way to another support's shape, then warped.

    Arguments:
        atlas: holds the supports. supports: their names, in its order; at least two.
    """

    dataset_plan: DatasetPlan
    atlas: AtlasVariant
    supports: tuple[str, ...]
    _displacements: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def properties(self, name: str) -> CaseProperties:
        """See `Arrays`."""
        properties = self.inner.properties(name)
        partner = self.partner(name)
        if partner is None:
            return properties
        other = self.inner.properties(partner[0])
        digests = [VERSION, partner[1], properties.image_digest, other.image_digest]
        return replace(properties, name=name, image_digest=digest_of_json(digests),
                       segmentation_digest=digest_of_json([*digests, properties.segmentation_digest]))

    def partner(self, name: str) -> tuple[str, float] | None:
        """The support towards which a view is transported, and how far, in parts of the way.

        None for what is no such view.
        """
        case, view = case_and_view(name)
        if view is None or not view.transported:
            return None
        random = np.random.default_rng([zlib.crc32(case.encode()), view.key])
        others = [support for support in self.supports if support != case]
        return others[int(random.integers(len(others)))], float(random.uniform(*PART))

    def segmentation(self, name: str) -> np.ndarray | None:
        """See `Arrays`."""
        return self.inner.segmentation(name) if self.partner(name) is None else self.load(name).segmentation

    def load(self, name: str) -> PreparedCase:
        """See `Arrays`."""
        partner = self.partner(name)
        if partner is None:
            return self.inner.load(name)
        case, view = case_and_view(name)
        assert view is not None
        transported = self._transported(self.inner.load(case), *partner)
        return replace(view_of(transported, view, self.dataset_plan), properties=self.properties(name))

    def _transported(self, case: PreparedCase, other: str, part: float) -> PreparedCase:
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
