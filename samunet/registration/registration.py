"""Registration of one image to another with SimpleITK: an affine transform, then symmetric-forces demons.

ITK runs on one thread and no voxel is sampled at random, so the same pair gives the same transform, bit by bit.
Steps and tolerances of the optimizer are lengths, so registration uses the shortest voxel side of the fixed image as
unit: a pair in micrometres and the same pair in metres give the same displacements in voxels. Transforms map mm to mm.
    Images are SimpleITK float32 images of 2 or 3 dimensions, not rotated, intensities about 0 to 1.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from samunet.registration.itk_threads import one_itk_thread

# Tuned on the hippocampus data, folds 1 and 2 (see AtlasVariant for the figures).
AFFINE_VOXELS = 20_000
AFFINE_ITERATIONS = 60
DEMONS_LEVELS = ((2, 30), (1, 30))
DEMONS_SMOOTHING_VOXELS = 1.0
SMALLEST_COARSENED_SIDE = 16
RECURSIVE_GAUSSIAN_SIDE = 4


def register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """The transform from points of `fixed` to points of `moving`; their histograms should match.

    Raises:
        RuntimeError: ITK could not register them (a constant image, no overlap).
    """
    return register_demons(fixed, moving, register_affine(fixed, moving))


def centred(fixed: sitk.Image, moving: sitk.Image) -> sitk.AffineTransform:
    """The affine transform that maps the box of `fixed` to the box of `moving`, without rotation."""
    transform = sitk.AffineTransform(fixed.GetDimension())
    fixed_mm, moving_mm = _extent_mm(fixed), _extent_mm(moving)
    transform.SetMatrix(np.diag(moving_mm / fixed_mm).ravel().tolist())
    centre, target = _centre(fixed), _centre(moving)
    transform.SetCenter(centre.tolist())
    transform.SetTranslation((target - centre).tolist())
    return transform


@one_itk_thread()
def register_affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.AffineTransform:
    """Mattes mutual information over every voxel of a grid of about 20,000 voxels, by gradient descent."""
    unit_mm = _shortest_side_mm(fixed)
    fixed, moving = _measured_in(fixed, unit_mm), _measured_in(moving, unit_mm)
    factor = max((fixed.GetNumberOfPixels() / AFFINE_VOXELS) ** (1 / fixed.GetDimension()), 1.0)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    if min(*fixed.GetSize(), *moving.GetSize()) < RECURSIVE_GAUSSIAN_SIDE:
        # ITK's default gradient is a recursive Gaussian's, which fails for such images; plain differences are used.
        method.MetricUseFixedImageGradientFilterOff()
        method.MetricUseMovingImageGradientFilterOff()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.01, AFFINE_ITERATIONS, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    transform = centred(fixed, moving)
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(coarser(fixed, factor), coarser(moving, factor))
    transform.SetCenter((np.array(transform.GetCenter()) * unit_mm).tolist())
    transform.SetTranslation((np.array(transform.GetTranslation()) * unit_mm).tolist())
    return transform


@one_itk_thread()
def register_demons(fixed: sitk.Image, moving: sitk.Image, affine: sitk.Transform) -> sitk.Transform:
    """Fast symmetric-forces demons after `affine`, coarse to fine; the two composed."""
    unit_mm = _shortest_side_mm(fixed)
    grid, moved = _measured_in(fixed, unit_mm), _measured_in(resampled(moving, fixed, affine), unit_mm)
    field = None
    for factor, iterations in DEMONS_LEVELS:
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(DEMONS_SMOOTHING_VOXELS)
        fixed_level, moved_level = coarser(grid, factor), coarser(moved, factor)
        start = None if field is None else resampled(field, fixed_level)
        field = demons.Execute(fixed_level, moved_level, *([] if start is None else [start]))
    if field is None:
        return affine
    field_mm = sitk.GetImageFromArray(sitk.GetArrayFromImage(resampled(field, grid)) * unit_mm, isVector=True)
    field_mm.CopyInformation(fixed)
    # The transform added last is applied first: a point of `fixed` is displaced, then mapped by the affine part.
    return sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(field_mm)])


def displacements(transform: sitk.Transform, grid: sitk.Image) -> np.ndarray:
    """Displacement of each voxel of `grid` by `transform`: float64 (d, ...), in voxels, axes as in the array, so x
    last.
    """
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, grid.GetSize(), grid.GetOrigin(),
                                              grid.GetSpacing())
    in_voxels: np.ndarray = sitk.GetArrayFromImage(field) / np.array(grid.GetSpacing())
    return np.moveaxis(in_voxels, -1, 0)[::-1].copy()


@one_itk_thread()
def histogram_matched(image: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """`image` with the histogram of `reference`."""
    matcher = sitk.HistogramMatchingImageFilter()
    matcher.SetNumberOfHistogramLevels(256)
    matcher.SetNumberOfMatchPoints(15)
    matcher.ThresholdAtMeanIntensityOff()
    matched: sitk.Image = matcher.Execute(image, reference)
    return matched


@one_itk_thread()
def resampled(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform | None = None) -> sitk.Image:
    """`image` on the grid of `grid`, linear; beyond the border the nearest voxel is used."""
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(grid)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetUseNearestNeighborExtrapolator(True)
    if transform is not None:
        resample.SetTransform(transform)
    placed: sitk.Image = resample.Execute(image)
    return placed


@one_itk_thread()
def coarser(image: sitk.Image, factor: float) -> sitk.Image:
    """`image` smoothed and resampled to voxels `factor` times as long, over the same box; short axes are unchanged."""
    old = np.array(image.GetSize())
    new = np.where(old >= SMALLEST_COARSENED_SIDE, np.maximum(np.round(old / factor), RECURSIVE_GAUSSIAN_SIDE),
                   old).astype(int)
    if (new == old).all():
        return image
    spacing = np.array(image.GetSpacing()) * old / new
    smooth = sitk.DiscreteGaussianImageFilter()
    # Half a new voxel, in old voxels, for axes that are coarsened.
    smooth.SetVariance(np.where(new < old, (0.5 * old / new) ** 2, 1e-6).tolist())
    smooth.SetUseImageSpacing(False)
    grid = sitk.Image(new.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetOrigin((np.array(image.GetOrigin()) + (spacing - np.array(image.GetSpacing())) / 2).tolist())
    return resampled(smooth.Execute(image), grid)


def _extent_mm(image: sitk.Image) -> np.ndarray:
    extent: np.ndarray = np.array(image.GetSize()) * np.array(image.GetSpacing())
    return extent


def _centre(image: sitk.Image) -> np.ndarray:
    middle: np.ndarray = (np.array(image.GetOrigin())
                          + (np.array(image.GetSize()) - 1) / 2 * np.array(image.GetSpacing()))
    return middle


def _shortest_side_mm(image: sitk.Image) -> float:
    return float(min(image.GetSpacing()))


def _measured_in(image: sitk.Image, unit_mm: float) -> sitk.Image:
    """The same voxels with spacing and origin in units of `unit_mm`."""
    measured = sitk.Image(image)
    measured.SetSpacing([length / unit_mm for length in image.GetSpacing()])
    measured.SetOrigin([length / unit_mm for length in image.GetOrigin()])
    return measured
