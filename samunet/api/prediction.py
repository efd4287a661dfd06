"""A trained model, loaded once, that segments arrays, files and folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from samunet.api.defaults import Folder
from samunet.dataset.grids import turn_between
from samunet.dataset.image_folder import require_folder
from samunet.dataset.io.readers import ORIENTED_READERS
from samunet.dataset.memory import limit_memory
from samunet.dataset.paths import resolve_paths
from samunet.errors import UserError
from samunet.inference.export import Exported, export_case
from samunet.inference.model_folder import FoundModel, TrainedModel, chosen_device, find_model, load_model
from samunet.inference.predict_folder import PredictionSettings
from samunet.inference.predictor import predict_case
from samunet.networks.checkpoints.encoders import announce
from samunet.quality.prediction import predict_with_quality
from samunet.variants.registry import check_prompts, entry

if TYPE_CHECKING:
    from samunet.interaction.image import SessionImage

__all__ = ["Predictor", "limit_ram", "require_folder"]

Image = str | Path | Sequence[str | Path] | np.ndarray


class Predictor:
    """A trained model, loaded once, with all of the folds it averages. As `samunet_predict`, with the same bytes.

    Arguments:
        model: the model's folder or bundle; None finds it in `results`: the one that samunet_find_best_configuration
            chose, else the one that was trained last, among those that match the arguments below.
        dataset, variant, plans_name, shots, draw, shot_slices: what it was trained with; None matches all.
        folds: to average; None: all finished ones.
        encoder: the encoder of its training: id, name, or present path of its file; None: as recorded.
        tta: average over mirrored images. step: between neighbouring windows, as a fraction of a window along each
            axis, above 0 and at most 1; None: the plans'.
        device: cpu, cuda or mps; None: cuda if available.
        results: folder of the models; None: the environment variable samunet_results.

    Raises:
        UserError: no model or several datasets' match, files that are damaged, an unknown device.

    Example:
        >>> import samunet
        >>> predictor = samunet.Predictor(dataset=900, variant="label_prior", device="cpu")
        >>> labels = predictor.predict("raw/Dataset900_Phantom/imagesTs/phantom_008_0000.nii.gz")
        >>> labels.dtype, labels.ndim, sorted(predictor.labels)
        (dtype('uint8'), 3, ['background', 'core', 'shell', 'tube'])
    """

    def __init__(
        self, model: Folder = None, *, dataset: int | str | None = None, variant: str | None = None,
        plans_name: str | None = None, shots: int | None = None, draw: int | None = None,
        shot_slices: int | None = None, folds: Sequence[int | str] | None = None, encoder: str | None = None,
        tta: bool = False, step: float | None = None, device: str | None = None, results: Folder = None,
    ) -> None:
        if variant is not None:
            entry(variant)  # reports a wrong name with the known ones
        self._tta, self._step = tta, PredictionSettings(step=step).step
        found = FoundModel(Path(model), None, "named with -m") if model is not None else find_model(
            resolve_paths(results=results).results, dataset=None if dataset is None else str(dataset), variant=variant,
            plans_name=plans_name, encoder=encoder, shots=shots, draw=draw, shot_slices=shot_slices)
        named = tuple(map(str, folds)) if folds else found.folds
        self.model: TrainedModel = load_model(found.folder, named, chosen_device(device), encoder)
        self._why = found.why

    @property
    def labels(self) -> dict[str, int | tuple[int, ...]]:
        """Label names of dataset.json with their values; a region has several."""
        return dict(self.model.labels.names)

    def description(self) -> Iterator[str]:
        """Lines that say which model was found and why, and whose weights its encoder has."""
        folds = self.model.folds
        yield f"model: {self.model.folder}, fold{'s' if len(folds) > 1 else ''} {', '.join(folds)}; {self._why}"
        if self.model.encoder is not None and (line := announce(self.model.encoder.spec)):
            yield line

    @overload
    def predict(
        self, image: Image, spacing_mm: Sequence[float] | None = None, *, probabilities: Literal[False] = False
    ) -> np.ndarray: ...

    @overload
    def predict(
        self, image: Image, spacing_mm: Sequence[float] | None = None, *, probabilities: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(
        self, image: Image, spacing_mm: Sequence[float] | None = None, *, probabilities: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Segment one image. Nothing is written.

        Arguments:
            image: an array (Z, Y, X), (C, Z, Y, X) or (Y, X) of real numbers; or a file, or one file for each channel.
            spacing_mm: of an array, (z, y, x) in mm, (y, x) for a 2D image; of files, None.
            probabilities: also return them.

        Returns:
            Label values (Z, Y, X), uint8 or uint16, on the image's own grid, a 2D image as one slice; with
            `probabilities` a tuple of these and float32 (K, Z, Y, X), one channel a class (or region), 0 to 1.

        Raises:
            UserError: files or an array that cannot be read, another number of channels than the model's, a variant
                that needs prompts (use `samunet.Session`), an array for a model whose reader reorients files.

        Example:
            >>> import numpy as np, samunet
            >>> predictor = samunet.Predictor(dataset=900, variant="label_prior", device="cpu")
            >>> array = np.random.default_rng(0).normal(200, 50, (8, 48, 44))
            >>> labels, chances = predictor.predict(array, (1.3, 1, 1), probabilities=True)
            >>> labels.shape, chances.shape, round(float(chances[:, 4, 20, 20].sum()), 4)
            ((8, 48, 44), (4, 8, 48, 44), 1.0)
        """
        from samunet.interaction.model import prepared  # with what a folder's prediction starts faster without

        check_prompts(self.model.variant, False)
        read = self._read(image, spacing_mm)
        case = prepared(read, self.model)
        slabs = predict_case(self.model.variants, case, self.model.plans, self.model.encoder, tta=self._tta,
                             step=self._step)
        exported = export_case(slabs, case.properties, self.model.plans.dataset, self.model.labels,
                               with_probabilities=probabilities)
        return _as_in_file(exported, read)

    def predict_folder(
        self, images: str | Path, output: str | Path, *, probabilities: bool = False, continue_prediction: bool = False,
        prompts: str | Path | None = None, parts: int = 1, part: int = 0, preparing_workers: int = 1,
        remove_small_blobs: float | None = None, calibrated_probabilities: bool = False,
    ) -> int:
        """Segment every case of a folder into files on the images' own grids; returns how many.

        Arguments:
            images: folder of <case>_0000.nii.gz, ... output: folder that receives <case>.nii.gz.
            probabilities: also write <case>.npz, float32 (K, Z, Y, X), and the files that nnU-Net's ensembling needs.
            continue_prediction: skip cases that are predicted.
            prompts: JSON file with points and boxes, for variants that answer prompts.
            parts, part: predict only the cases number part, part + parts, ... of the sorted list.
            preparing_workers: processes that read and preprocess the coming cases meanwhile; 1: a thread does,
                one case ahead.
            remove_small_blobs: ml; remove connected components of a class below this volume.
            calibrated_probabilities: save probabilities at the temperature of samunet_calibrate.

        Raises:
            UserError: no images, prompts that are missing or not used, a folder that cannot be written or that another
                process writes. Nothing is predicted then.
            BadCases: some cases cannot be predicted; all others are.

        Example:
            >>> import samunet
            >>> predictor = samunet.Predictor(dataset=900, variant="label_prior", device="cpu")
            >>> predictor.predict_folder("raw/Dataset900_Phantom/imagesTs", "predictions")
            2
        """
        settings = PredictionSettings(
            probabilities, continue_prediction, self._tta, self._step, parts, part,
            None if prompts is None else Path(prompts), remove_small_blobs, preparing_workers=preparing_workers)
        return predict_with_quality(self.model, Path(images), Path(output), settings,
                                    calibrated_probabilities=calibrated_probabilities)

    def _read(self, image: Image, spacing_mm: Sequence[float] | None) -> SessionImage:
        """The image with its grid."""
        from samunet.interaction.image import image_of_array, read_image

        reader = self.model.plans.dataset.reader
        if isinstance(image, np.ndarray):
            if reader in ORIENTED_READERS:
                raise UserError("An array can be predicted where arrays have the axes of their files.",
                                where=self.model.folder, found=f"{reader}, which reorients every file",
                                mend="Give the file instead.")
            return image_of_array(image, spacing_mm)
        if spacing_mm is not None:
            raise UserError("Files state their own spacing.", where="spacing_mm", found=repr(spacing_mm)[:100],
                            mend="Leave it out.")
        paths = [image] if isinstance(image, str | Path) else image
        return read_image([Path(path) for path in paths], reader)


def _as_in_file(exported: Exported, image: SessionImage) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Labels and, if there are, probabilities with the axes of the image's file, where its reader turned them."""
    labels, chances, geometry = exported.segmentation, exported.probabilities, image.geometry
    if geometry.file is not None and (turn := turn_between(geometry, geometry.file)) is not None:
        labels = np.ascontiguousarray(turn.apply(labels))
        chances = None if chances is None else np.ascontiguousarray(turn.apply(chances))
    return labels if chances is None else (labels, chances)


def limit_ram(gb: float, preparing_workers: int = 1) -> None:
    """Have the system refuse this process more than `gb` of memory from now on. As `samunet_predict --max_ram`.

    Raises:
        UserError: several processes would share it, the process already holds as much, or the system is not Linux.
    """
    if preparing_workers > 1:
        raise UserError("--max_ram is kept by one process.", where="-npp", found=str(preparing_workers),
                        mend="Leave out -npp, or --max_ram.")
    limit_memory(gb)
