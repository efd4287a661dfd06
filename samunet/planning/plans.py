"""Plans: what was decided for a dataset, as typed data. Written once, validated when read, never mutated."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from samunet.errors import UserError
from samunet.files import digest_of_json, read_json, write_json
from samunet.planning.cache_rules import CACHE_DTYPES

PLANS_VERSION = 1


@dataclass(frozen=True)
class DatasetPlan:
    """Decisions about the arrays. Axes are (z, y, x) after `transpose_forward`; spacings in mm."""

    reader: str
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    median_shape: tuple[int, int, int]
    anisotropic: bool
    channel_names: tuple[str, ...]
    normalization: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    foreground_intensity: tuple[dict[str, float], ...]
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderPlan:
    """Decisions about one encoder's inputs, cache and training. Sizes in voxels of the plan's grid unless said.

    `tile_shape` (rows, columns) is the in-plane window that is encoded at once; its longer side is scaled to
    `input_size` pixels and the shorter is zero-padded. `composition` is `neighbours` (slices z-1, z, z+1 as the three
    input channels), `repeat` (one slice three times) or `rgb` (the image's own three channels). `cache_dtype` is `float16`
    or `int8`. `view_pictures` is how many pictures of augmented views may be encoded for one run. Of 3D adapters: the side in
    pixels of their own input, how many stacks of `stack_depth` slices a batch has, how many of them go through the network at
    once, whether each block is computed twice, and the bytes that training is expected to take.
    """

    encoder: str
    input_size: int
    tile_shape: tuple[int, int]
    tile_step: float
    composition: str
    stack_depth: int
    batch_size: int
    cache_dtype: str
    cache_bytes: int
    head_iterations: int
    view_pictures: int = 0
    stack_input_size: int = 256
    stacks: int = 2
    stacks_at_once: int = 2
    checkpointed: bool = False
    stack_bytes: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cache_dtype not in CACHE_DTYPES:
            raise UserError(f"The plan's cache_dtype must be one of {', '.join(CACHE_DTYPES)}.", where=f"section {self.encoder}",
                            found=self.cache_dtype, mend="Plan again; it was changed by hand.")

    def channels_alone(self, dataset_plan: DatasetPlan) -> int:
        """How many pictures a tile becomes: one, or one for each channel, whose embeddings are then joined."""
        return 1 if self.composition == "rgb" else len(dataset_plan.channel_names)


@dataclass(frozen=True)
class Plans:
    """One plans file: the dataset part, and a section for each encoder that was planned for."""

    plans_name: str
    dataset_name: str
    dataset: DatasetPlan
    encoders: dict[str, EncoderPlan]
    version: int = PLANS_VERSION

    def for_encoder(self, encoder: str) -> EncoderPlan:
        """The section of encoder id `encoder`.

        Raises:
            UserError: it was never planned for.
        """
        if encoder not in self.encoders:
            raise UserError(
                f"The plans must have a section for encoder '{encoder}'.",
                where=f"{self.plans_name}.json",
                found=", ".join(self.encoders) or "no encoder",
                mend="Run samunet_plan_and_preprocess with the same --encoder.",
            )
        return self.encoders[encoder]

    def of_stacks(self, encoder: str) -> Plans:
        """These plans, in which the section of encoder id `encoder` has the input of 3D adapters; of such plans, themselves.

        Raises:
            UserError: it was never planned for.
        """
        section = self.for_encoder(encoder)
        return replace(self, encoders={**self.encoders, encoder: replace(section, input_size=section.stack_input_size)})

    def save(self, path: Path) -> None:
        write_json(path, {
            "version": self.version,
            "plans_name": self.plans_name,
            "dataset_name": self.dataset_name,
            "dataset": asdict(self.dataset),
            "encoders": {name: asdict(section) for name, section in sorted(self.encoders.items())},
        })

    @classmethod
    def load(cls, path: Path) -> Plans:
        """Read and validate a plans file.

        Raises:
            UserError: missing file, another version, unknown or missing keys.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.get("version") != PLANS_VERSION:
            found = content.get("version") if isinstance(content, dict) else type(content).__name__
            raise UserError(f"A plans file must be of version {PLANS_VERSION}.", where=path, found=str(found),
                            mend="Run samunet_plan_experiment again.")
        _check_keys(content, [f.name for f in fields(cls)], path)
        sections = {name: _typed(EncoderPlan, section, path) for name, section in content["encoders"].items()}
        return cls(content["plans_name"], content["dataset_name"], _typed(DatasetPlan, content["dataset"], path), sections)


def digest_of_section(section: DatasetPlan | EncoderPlan) -> str:
    """SHA-256 of a section's decisions, their reasons left out: what preprocessed data are signed with."""
    content = asdict(section)
    content.pop("reasons")
    return digest_of_json(content)


def _typed(kind: type[Any], content: dict[str, Any], path: Path) -> Any:
    _check_keys(content, [f.name for f in fields(kind)], path)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})


def _check_keys(content: dict[str, Any], expected: list[str], path: Path) -> None:
    unknown, missing = sorted(set(content) - set(expected)), sorted(set(expected) - set(content))
    if unknown or missing:
        raise UserError(
            "A plans file must have exactly the known keys.",
            where=path,
            found=f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}",
            mend="Run samunet_plan_experiment again.",
        )
