"""Views: seeded augmented copies of a training case, warped in 3D before slicing, whose embeddings are cached as well.

A frozen encoder cannot be augmented through: a flipped embedding is not the embedding of a flipped image. So the case
itself is copied, image and labels alike, a few times, and each copy is encoded once.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from samunet.files import digest_of_json
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.arrays import WrappedArrays
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.view_names import View, case_and_view, view_name

# Raised when views change.
VERSION = 1
SEED = 2024
MOST_VIEWS = 6
IN_PLANE_DEGREES, THROUGH_PLANE_DEGREES = 20.0, 8.0
SCALE, STRETCH = (0.85, 1.18), 0.05
SHIFT_FRACTION = 0.05
ELASTIC_SMOOTHNESS, ELASTIC_VOXELS = 6.0, 1.5
GAMMA = (0.7, 1.4)
CONTRAST = (0.8, 1.25)
BRIGHTNESS, NOISE = 0.25, 0.1


def views_for(clean_images: int, view_pictures: int) -> int:
    """How many views each training case gets: as many as fit the plan's budget of images, at most 6.

    Arguments:
        clean_images: images (slices x tiles x channels encoded alone) of all training cases.
        view_pictures: the plan's budget.
    """
    return min(MOST_VIEWS, view_pictures // max(clean_images, 1))


def clean_images(properties: CaseProperties, dataset_plan: DatasetPlan, plan: EncoderPlan) -> int:
    """Images (slices x tiles x channels encoded alone) of one case."""
    depth, rows, columns = properties.shape
    tiles = len(TileFrame((rows, columns), plan.tile_shape, plan.tile_step).starts)
    return depth * tiles * plan.channels_alone(dataset_plan)


@dataclass(frozen=True)
class ViewedArrays(WrappedArrays):
    """Another store in which `<case>__view<n>` is computed from the case whenever it is read.

    Arguments:
        dataset_plan: whose slices may be tilted against each other, or not.
    """

    dataset_plan: DatasetPlan

    def properties(self, name: str) -> CaseProperties:
        """See `Arrays`; those of a view follow from the case's, without computing it."""
        case, view = case_and_view(name)
        properties = self.inner.properties(case)
        return properties if view is None else _properties_of_view(properties, view, self.dataset_plan)

    def load(self, name: str) -> PreparedCase:
        """See `Arrays`."""
        case, view = case_and_view(name)
        return self.inner.load(name) if view is None else view_of(self.inner.load(case), view, self.dataset_plan)

    def segmentation(self, name: str) -> np.ndarray | None:
        """See `Arrays`."""
        return self.inner.segmentation(name) if case_and_view(name)[1] is None else self.load(name).segmentation


def _properties_of_view(properties: CaseProperties, view: View, dataset_plan: DatasetPlan) -> CaseProperties:
    """From the case's own, so that a cached view can be checked without computing it."""
    flat = ["flat"] if dataset_plan.anisotropic and properties.shape[0] > 1 else []  # one slice is never tilted
    return replace(
        properties,
        name=view_name(properties.name, view),
        image_digest=digest_of_json([VERSION, view.key, properties.name, properties.image_digest, *flat]),
        segmentation_digest=digest_of_json([VERSION, view.key, properties.name, properties.segmentation_digest, *flat]),
    )


def view_of(case: PreparedCase, view: View, dataset_plan: DatasetPlan) -> PreparedCase:
    """A view of a labelled case: the same for every run, keyed by (SEED, CRC-32 of the case's name, the view's key).

    One rotation, scaling, shift and smooth elastic displacement of the whole volume (linear for the image, nearest for
    the labels, edges repeated), then gamma, contrast, brightness and noise on each channel, in units of the channel's
    own standard deviation. Slices are not tilted against each other where they are thick (anisotropic plans) or there
    is one only.
    """
    from scipy.ndimage import map_coordinates  # prediction, which imports this module, warps nothing

    random = np.random.default_rng([SEED, zlib.crc32(case.properties.name.encode()), view.key])
    coordinates = _warped_grid(random, case.image.shape[1:], flat=dataset_plan.anisotropic or case.image.shape[1] == 1)
    image = np.stack([_recoloured(random, map_coordinates(channel, coordinates, order=1, mode="nearest"))
                      for channel in case.image]).astype(np.float32)
    segmentation = case.segmentation
    if segmentation is not None:
        segmentation = map_coordinates(segmentation[0], coordinates, order=0, mode="nearest")[None]
    return PreparedCase(image, segmentation, _properties_of_view(case.properties, view, dataset_plan))


def _warped_grid(random: np.random.Generator, shape: tuple[int, ...], *, flat: bool) -> np.ndarray:
    """Source coordinates float64 (3, Z, Y, X) of each voxel of the view."""
    from scipy.ndimage import gaussian_filter

    matrix = random_matrix(random, SCALE, STRETCH, flat=flat)
    shift = random.uniform(-1, 1, 3) * SHIFT_FRACTION * np.array(shape)
    if flat:
        shift[0] = 0.0
    centre = (np.array(shape) - 1) / 2
    grid = np.indices(shape, float) - centre[:, None, None, None]
    warped = np.tensordot(matrix, grid, 1) + (centre + shift)[:, None, None, None]
    for axis in range(1 if flat else 0, 3):
        smoothness = (0 if flat else ELASTIC_SMOOTHNESS, ELASTIC_SMOOTHNESS, ELASTIC_SMOOTHNESS)
        bend = gaussian_filter(random.standard_normal(shape), smoothness)
        warped[axis] += bend * (random.uniform(0, ELASTIC_VOXELS) / max(float(bend.std()), 1e-8))
    return warped


def random_matrix(
    random: np.random.Generator, scale: tuple[float, float], stretch: float, *, flat: bool,
    degrees: tuple[float, float] = (IN_PLANE_DEGREES, THROUGH_PLANE_DEGREES),
) -> np.ndarray:
    """A random rotation and scaling, float64 (3, 3), axes (z, y, x): from where in the source each place comes.

    Arguments:
        scale: limits of the scaling of all axes. stretch: logarithm of the most by which an axis' own may differ.
        flat: rotate and scale in the plane alone.
        degrees: the most by which slices are turned in their plane, and tilted.
    """
    in_plane, tilt = degrees[0], 0.0 if flat else degrees[1]
    angles = np.radians(random.uniform(-1, 1, 3) * (in_plane, tilt, tilt))
    factors = np.exp(random.uniform(*np.log(scale))) * np.exp(random.uniform(-stretch, stretch, 3))
    if flat:
        factors[0] = 1.0
    matrix = np.eye(3)
    for angle, (first, second) in zip(angles, ((1, 2), (0, 1), (0, 2)), strict=True):
        rotation = np.eye(3)
        rotation[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
        matrix = matrix @ rotation
    return matrix / factors


def _recoloured(random: np.random.Generator, channel: np.ndarray) -> np.ndarray:
    low, high = float(channel.min()), float(channel.max())
    std = max(float(channel.std()), 1e-8)
    middle = float(channel.mean())
    unit = np.clip((channel - low) / max(high - low, 1e-8), 0, 1)
    gamma = np.exp(random.uniform(*np.log(GAMMA)))
    bent = unit**gamma
    # Gamma alone would shift mean and standard deviation; they are restored, then moved at random.
    bent = (bent - bent.mean()) / max(float(bent.std()), 1e-8) * std + middle
    contrast = np.exp(random.uniform(*np.log(CONTRAST)))
    moved = (bent - middle) * contrast + middle + random.uniform(-BRIGHTNESS, BRIGHTNESS) * std
    return moved + random.standard_normal(channel.shape) * random.uniform(0, NOISE) * std
