"""Where the windows of a case lie that prompts are answered in: a grid of overlapping 3D patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from samunet.planning.tiles import window_starts

WINDOW_STEP = 2 / 3  # of a window between neighbours: a third overlaps, and no place is nearer than a sixth to a face

Axes = tuple[int, int, int]
Window = tuple[int, int, int]
"""Number of the window along each axis."""


@dataclass(frozen=True)
class Windows3d:
    """Windows of `patch` voxels (z, y, x) over a case of `shape` voxels; one around the middle of an axis that is
    shorter.
    """

    shape: Axes
    patch: Axes

    @cached_property
    def starts(self) -> list[list[int]]:
        """First voxel of each window, axis by axis; negative where the case is shorter."""
        return [[-((side - size) // 2)] if size <= side else window_starts(size, side, WINDOW_STEP)
                for size, side in zip(self.shape, self.patch, strict=True)]

    @property
    def all(self) -> list[Window]:
        """Every window, in the order of the axes."""
        return [(z, y, x) for z, y, x in product(*(range(len(each)) for each in self.starts))]

    def start(self, window: Window) -> Axes:
        """The window's first voxel."""
        z, y, x = (starts[number] for starts, number in zip(self.starts, window, strict=True))
        return z, y, x

    def nearest(self, place: Sequence[float]) -> Window:
        """The window whose middle is nearest to a place (z, y, x) in voxels, voxel i from i to i + 1; the first of
        equals.
        """
        z, y, x = (min(range(len(starts)), key=lambda number: abs(starts[number] + side / 2 - along))
                   for starts, side, along in zip(self.starts, self.patch, place, strict=True))
        return z, y, x

    def of_box(self, box: Sequence[Sequence[float]]) -> list[Window]:
        """The windows that are nearest to any place of a box, whose corners are (lowest, highest)."""
        low, high = self.nearest(box[0]), self.nearest(box[1])
        return [(z, y, x) for z, y, x in product(*(range(a, b + 1) for a, b in zip(low, high, strict=True)))]

    def beside(self, window: Window, axis: int, upper: bool) -> Window | None:
        """The next window along an axis; None at the case's border."""
        number = window[axis] + (1 if upper else -1)
        if not 0 <= number < len(self.starts[axis]):
            return None
        z, y, x = (number if each == axis else window[each] for each in range(3))
        return z, y, x

    def inside(self, window: Window) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part of the window that lies in the case: slices of the case, and of the window."""
        case, own = [], []
        for first, side, size in zip(self.start(window), self.patch, self.shape, strict=True):
            low, high = max(first, 0), min(first + side, size)
            case.append(slice(low, high))
            own.append(slice(low - first, high - first))
        return tuple(case), tuple(own)
