"""Plans: what was decided for a dataset, as typed data. Written once, validated when read, never mutated."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from samunet.errors import UserError, joined, some
from samunet.files import digest_of_json, read_json, write_json
from samunet.planning.encoder_spec import PATCH_SIZE, SMALLEST_STEP
from samunet.planning.plan_checks import dataset_problems, encoder_problems, name_problems
from samunet.schema import decode

PLANS_VERSION = 1
# What is beside the plans in a dataset's preprocessed folder.
TAKEN_NAMES = ("dataset", "dataset_fingerprint", "groups", "gt_segmentations", "splits_final")

LARGEST_INPUT = 4096  # pixels; SAM's own is 1024

Axis = Annotated[int, Meta(ge=0, le=2)]
Voxels = Annotated[int, Meta(ge=1, le=2**20)]
Pixels = Annotated[int, Meta(ge=PATCH_SIZE, le=LARGEST_INPUT, multiple_of=PATCH_SIZE)]
Step = Annotated[float, Meta(ge=SMALLEST_STEP, le=1)]
Batch = Annotated[int, Meta(ge=1, le=4096)]
Iterations = Annotated[int, Meta(ge=1, le=10**7)]
Slices = Annotated[int, Meta(ge=1, le=255)]
Count = Annotated[int, Meta(ge=0, le=2**62)]


@dataclass(frozen=True)
class DatasetPlan:
    """Decisions about the arrays. Axes are (z, y, x) after `transpose_forward`; spacings in mm."""

    reader: str
    transpose_forward: tuple[Axis, Axis, Axis]
    transpose_backward: tuple[Axis, Axis, Axis]
    spacing_mm: tuple[float, float, float]
    median_shape: tuple[Voxels, Voxels, Voxels]
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
    input_size: Pixels
    tile_shape: tuple[Voxels, Voxels]
    tile_step: Step
    composition: str
    stack_depth: Slices
    batch_size: Batch
    cache_dtype: str
    cache_bytes: Count
    head_iterations: Iterations
    view_pictures: Count = 0
    stack_input_size: Pixels = 256
    stacks: Batch = 2
    stacks_at_once: Batch = 2
    checkpointed: bool = False
    stack_bytes: Count = 0
    reasons: dict[str, str] = field(default_factory=dict)

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
            UserError: missing file, another version, unknown or missing keys, wrong types, values out of range or that contradict each
                other; all faults of a kind together.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.get("version") != PLANS_VERSION:
            found = content.get("version") if isinstance(content, dict) else type(content).__name__
            raise UserError(f"A plans file must be of version {PLANS_VERSION}.", where=path, found=str(found)[:80],
                            mend="Run samunet_plan_experiment again.")
        decode(cls, content, rule="A plans file must hold values of known types and ranges.", where=path,
               mend="Correct what was changed by hand, or run samunet_plan_experiment again.")
        sections = {f"encoders.{name}": section for name, section in content["encoders"].items()}
        problems = _key_problems(cls, content, path) + _key_problems(DatasetPlan, content["dataset"], f"{path}, dataset")
        for place, section in sections.items():
            problems += _key_problems(EncoderPlan, section, f"{path}, {place}")
        if problems:
            raise joined(problems)
        plans = cls(content["plans_name"], content["dataset_name"], _built(DatasetPlan, content["dataset"]),
                    {name: _built(EncoderPlan, section) for name, section in content["encoders"].items()})
        problems = name_problems(plans, path) + dataset_problems(plans.dataset, f"{path}, dataset")
        for name, plan in plans.encoders.items():
            problems += encoder_problems(plan, name, plans.dataset, f"{path}, encoders.{name}")
        if problems:
            raise joined(problems)
        return plans


def digest_of_section(section: DatasetPlan | EncoderPlan) -> str:
    """SHA-256 of a section's decisions, their reasons left out: what preprocessed data are signed with."""
    content = asdict(section)
    content.pop("reasons")
    return digest_of_json(content)


def digest_of_plan(plans: Plans, section: EncoderPlan) -> str:
    """SHA-256 of the decisions that a run depends on; the run's settings hold it."""
    return digest_of_json([digest_of_section(plans.dataset), digest_of_section(section)])


def _built(kind: type[Any], content: dict[str, Any]) -> Any:
    """A section that was decoded without fault, with its numbers as the file has them: digests tell 3 from 3.0."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})


def _key_problems(kind: type[Any], content: dict[str, Any], where: str | Path) -> list[UserError]:
    expected = {each.name for each in fields(kind)}
    unknown, missing = sorted(set(content) - expected), sorted(expected - set(content))
    if not unknown and not missing:
        return []
    return [UserError("A plans file must have exactly the known keys.", where=where,
                      found=f"unknown: {some(unknown) or 'none'}; missing: {some(missing) or 'none'}",
                      mend="Run samunet_plan_experiment again.")]


def require_plans_name(name: str) -> None:
    """Refuse what would overwrite the dataset's own files, leave its folder, or not be found again in a model folder's name.

    Raises:
        UserError: such a name.
    """
    if name.lower() in TAKEN_NAMES or not name or Path(name).name != name or name.startswith("."):
        raise UserError("A plans name must be one file name that the dataset's folder does not use for other files.",
                        where="-plans_name", found=repr(name),
                        mend=f"Choose another, without slashes or a leading dot; these are taken: {', '.join(TAKEN_NAMES)}.")
    if "__" in f"{name}_":
        raise UserError("A plans name must hold no `__` and end with no `_`: a model's folder is named <variant>__<plans>__<encoder>.",
                        where="-plans_name", found=repr(name), mend="Name the plans otherwise.")
