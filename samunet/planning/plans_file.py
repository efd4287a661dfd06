"""Plans as JSON: files of every version are read into sections and checked; the newest version is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from samunet.errors import UserError, joined, some
from samunet.planning.first_version import FirstEncoderPlan
from samunet.planning.sections import (
    AdapterPlan,
    DatasetPlan,
    EmbeddingsPlan,
    EncoderPlan,
    HybridPlan,
    Patch3dPlan,
    UnetPlan,
)
from samunet.schema import decode

PLANS_VERSION = 2
MEND = "Correct what was changed by hand, or run samunet_plan_experiment again."


@dataclass(frozen=True)
class _EncoderSections:
    embeddings: EmbeddingsPlan
    adapters: AdapterPlan
    hybrid: HybridPlan | None = None
    patches_3d: Patch3dPlan | None = None


@dataclass(frozen=True)
class PlansContent:
    """What a plans file of this version holds; `unet`, and `hybrid` and `patches_3d` of an encoder, may be missing."""

    version: int
    plans_name: str
    dataset_name: str
    dataset: DatasetPlan
    encoders: dict[str, _EncoderSections]
    unet: UnetPlan | None = None

    def sections(self) -> dict[str, EncoderPlan]:
        """The sections of each encoder id."""
        return {name: EncoderPlan(**vars(part.embeddings), hybrid=part.hybrid, adapters=part.adapters,
                                  patches_3d=part.patches_3d)
                for name, part in self.encoders.items()}


@dataclass(frozen=True)
class FirstPlansContent:
    """What a plans file of version 1 holds."""

    version: int
    plans_name: str
    dataset_name: str
    dataset: DatasetPlan
    encoders: dict[str, FirstEncoderPlan]
    unet = None  # no section: the rule is applied when a U-Net is built

    def sections(self) -> dict[str, EncoderPlan]:
        """The sections of each encoder id."""
        return {name: part.sections() for name, part in self.encoders.items()}


_VERSIONS = {1: FirstPlansContent, PLANS_VERSION: PlansContent}


def read_content(content: Any, path: Path) -> PlansContent | FirstPlansContent:
    """The content of a plans file of any known version.

    Numbers are as the file has them, because digests distinguish 3 from 3.0.

    Raises:
        UserError: another version, unknown or missing keys, wrong types or values out of range; all faults of a kind at
            once.
    """
    version = content.get("version") if isinstance(content, dict) else None
    kind = _VERSIONS.get(version) if type(version) is int else None
    if kind is None:
        found = version if isinstance(content, dict) else type(content).__name__
        raise UserError(f"A plans file must be of version 1 or {PLANS_VERSION}.", where=path, found=str(found)[:80],
                        mend="Run samunet_plan_experiment again.")
    decode(kind, content, rule="A plans file must hold values of known types and ranges.", where=path, mend=MEND)
    if problems := _key_problems(kind, content, str(path)):
        raise joined(problems)
    built: PlansContent | FirstPlansContent = _built(kind, content)
    return built


def content_of(
    plans_name: str, dataset_name: str, dataset: DatasetPlan, unet: UnetPlan | None, encoders: Mapping[str, EncoderPlan]
) -> dict[str, Any]:
    """The JSON content of a plans file of this version."""
    parts = {"dataset": asdict(dataset), **({"unet": asdict(unet)} if unet else {})}
    return {"version": PLANS_VERSION, "plans_name": plans_name, "dataset_name": dataset_name, **parts,
            "encoders": {name: _parts(section) for name, section in sorted(encoders.items())}}


def _parts(section: EncoderPlan) -> dict[str, Any]:
    content = asdict(section)
    parts = {name: content.pop(name) for name in ("hybrid", "adapters", "patches_3d")}
    return {"embeddings": content, **{name: part for name, part in parts.items() if part is not None}}


def _inner(hint: Any) -> Any:
    """The dataclass in a field's type: itself, that of `X | None` or of `dict[str, X]`; None where there is none."""
    return next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)


def _built(kind: Any, content: Any) -> Any:
    """`content`, decoded without fault, as the dataclass `kind`, with lists as tuples and all numbers unchanged."""
    hints = get_type_hints(kind)

    def built(hint: Any, value: Any) -> Any:
        inner = _inner(hint)
        if inner is None or value is None:
            return _frozen(value)
        return _built(inner, value) if is_dataclass(hint) or type(None) in get_args(hint) else {
            name: _built(inner, each) for name, each in value.items()}

    return kind(**{key: built(hints[key], value) for key, value in content.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _key_problems(kind: Any, content: Mapping[str, Any], where: str) -> list[UserError]:
    """Unknown and missing keys of a dataclass and of those inside it.

    Sections that may be missing have None as default.
    """
    expected, optional = (
        {each.name for each in fields(kind)},
        {each.name for each in fields(kind) if each.default is None},
    )
    unknown, missing = sorted(set(content) - expected), sorted(expected - optional - set(content))
    problems = [UserError("A plans file must have exactly the known keys.", where=where,
                          found=f"unknown: {some(unknown) or 'none'}; missing: {some(missing) or 'none'}",
                          mend="Run samunet_plan_experiment again.")] if unknown or missing else []
    for name, hint in get_type_hints(kind).items():
        inner, value = _inner(hint), content.get(name)
        if inner is not None and value is not None:
            several = not is_dataclass(hint) and type(None) not in get_args(hint)
            parts = {f".{each}": part for each, part in value.items()} if several else {"": value}
            for place, part in parts.items():
                problems += _key_problems(inner, part, f"{where}, {name}{place}")
    return problems
