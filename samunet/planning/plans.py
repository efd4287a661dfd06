"""Plans: what was decided for a dataset, as typed data. Written once, validated when read, never mutated."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from samunet.errors import UserError, joined
from samunet.files import digest_of_json, read_json, write_json
from samunet.planning.first_version import FirstEncoderPlan
from samunet.planning.patch3d_rules import plan_patches_3d
from samunet.planning.plan_checks import dataset_problems, encoder_problems, name_problems, unet_problems
from samunet.planning.plans_file import PLANS_VERSION, content_of, read_content
from samunet.planning.sections import (
    AdapterPlan,
    DatasetPlan,
    EncoderPlan,
    HybridPlan,
    Patch3dPlan,
    UnetPlan,
    VoxelsPlan,
)
from samunet.planning.unet_rules import plan_unet
from samunet.planning.volume_rules import FIRST_STAGES, plan_hybrid

__all__ = [
    "PLANS_VERSION",
    "AdapterPlan",
    "DatasetPlan",
    "EncoderPlan",
    "HybridPlan",
    "Patch3dPlan",
    "Plans",
    "UnetPlan",
    "digest_of_plan",
    "digest_of_section",
    "require_plans_name",
]

DEFAULT_MEMORY_TARGET_GB = 8.0
# What is beside the plans in a dataset's preprocessed folder.
LONGEST_NAME = 100  # bytes: a model folder's name holds the variant's and the encoder's, too
TAKEN_NAMES = ("dataset", "dataset_fingerprint", "groups", "gt_segmentations", "splits_final")


@dataclass(frozen=True)
class Plans:
    """One plans file: the dataset's section, the plain U-Net's, and those of each encoder that was planned for.

    `unet` is None in plans of version 1; `unet` then applies the rule when it is built.
    """

    plans_name: str
    dataset_name: str
    dataset: DatasetPlan
    encoders: dict[str, EncoderPlan]
    unet: UnetPlan | None = None

    def for_encoder(self, encoder: str) -> EncoderPlan:
        """The sections of encoder id `encoder`.

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

    def of_adapters(self, encoder: str) -> Plans:
        """These plans, in which encoder id `encoder` has the input size of 3D adapters; of such plans, themselves.

        Raises:
            UserError: it was never planned for.
        """
        section = self.for_encoder(encoder)
        return replace(
            self, encoders={**self.encoders, encoder: replace(section, input_size=section.adapters.input_size)}
        )

    def of_patches_3d(self, encoder: str, size: str, classes: int) -> Plans:
        """These plans with a section of 3D patches for encoder id `encoder`, by the rule where there is none.

        Arguments:
            size: of the encoder, as an `EncoderSpec` has it. classes: output channels of the dataset's labels.

        Raises:
            UserError: it was never planned for.
        """
        section = self.for_encoder(encoder)
        if section.patches_3d is not None:
            return self
        patches = plan_patches_3d(self.dataset, size, classes, DEFAULT_MEMORY_TARGET_GB)
        return replace(self, encoders={**self.encoders, encoder: replace(section, patches_3d=patches)})

    def save(self, path: Path) -> None:
        """Write the plans file of the newest version."""
        write_json(path, content_of(self.plans_name, self.dataset_name, self.dataset, self.unet, self.encoders))

    @classmethod
    def load(cls, path: Path) -> Plans:
        """Read and validate a plans file of any version.

        Raises:
            UserError: missing file, unknown version, unknown or missing keys, wrong types, values out of range or that
                contradict each other; all faults of a kind at once.
        """
        content = read_content(read_json(path), path)
        plans = cls(content.plans_name, content.dataset_name, content.dataset, content.sections(), content.unet)
        problems = name_problems(plans, path) + dataset_problems(plans.dataset, f"{path}, dataset")
        if plans.unet is not None:
            problems += unet_problems(plans.unet, f"{path}, unet")
        for name, plan in plans.encoders.items():
            problems += encoder_problems(plan, name, plans.dataset, f"{path}, encoders.{name}")
        if problems:
            raise joined(problems)
        return plans


def digest_of_section(section: DatasetPlan | EncoderPlan) -> str:
    """SHA-256 of a section's decisions, their reasons left out; an encoder's sections in the form of version 1."""
    content = asdict(section if isinstance(section, DatasetPlan) else FirstEncoderPlan.of(section))
    content.pop("reasons")
    return digest_of_json(content)


def digest_of_plan(plans: Plans, section: EncoderPlan, needs: str = "embeddings") -> str:
    """SHA-256 of the decisions that a run depends on; the run's settings hold it.

    The section of 3D patches counts only for runs that need `patches_3d`, and the volumes for voxels alone only for
    those that need `volumes`, as a `VariantEntry` has it: earlier plans had none.

    Version 1 had no sections for `hybrid` and `unet`: the rules were applied in each run. So a section counts only
    where it differs from the rule of that time: runs under version 1 stay valid when their dataset is planned again and
    the rule is the same.
    """
    parts: list[object] = [digest_of_section(plans.dataset), digest_of_section(section)]
    if section.hybrid is not None and _decided(section.hybrid) != _decided(
        plan_hybrid(plans.dataset, section, FIRST_STAGES)
    ):
        parts.append({"hybrid": _decided(section.hybrid)})
    if plans.unet is not None and _decided(plans.unet) != _decided(
        plan_unet(plans.dataset, plans.unet.classes, dimensions=2)
    ):
        parts.append({"unet": _decided(plans.unet)})
    if needs == "patches_3d" and section.patches_3d is not None:
        parts.append({"patches_3d": _decided(section.patches_3d)})
    if needs == "volumes" and section.hybrid is not None and section.hybrid.voxels is not None:
        parts.append({"voxels": _decided(section.hybrid.voxels)})
    return digest_of_json(parts)


def _decided(section: HybridPlan | VoxelsPlan | UnetPlan | Patch3dPlan) -> dict[str, object]:
    content = asdict(section)
    content.pop("reasons")
    content.pop("embeddings", None)  # a run's own settings say whether it reads them
    content.pop("voxels", None)  # count by themselves
    return content


def require_plans_name(name: str) -> None:
    """Refuse a name that would overwrite the dataset's own files, leave its folder, or be lost in a model folder's
    name.

    Raises:
        UserError: such a name.
    """
    if "\0" in name or len(name.encode()) > LONGEST_NAME:
        raise UserError(f"A plans name must be a file name of at most {LONGEST_NAME} bytes.", where="-plans_name",
                        found=repr(name), mend="Choose a shorter one.")
    if name.lower() in TAKEN_NAMES or not name or Path(name).name != name or name.startswith("."):
        raise UserError(
            "A plans name must be one file name that the dataset's folder does not use for other files.",
            where="-plans_name",
            found=repr(name),
            mend=f"Choose another, without slashes or a leading dot; these are taken: {', '.join(TAKEN_NAMES)}.",
        )
    if "__" in f"{name}_":
        raise UserError(
            "A plans name must hold no `__` and end with no `_`: a model's folder is <variant>__<plans>__<encoder>.",
            where="-plans_name",
            found=repr(name),
            mend="Name the plans otherwise.",
        )
