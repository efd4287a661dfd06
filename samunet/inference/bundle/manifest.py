"""The manifest of a model bundle: which model it holds, and the size and SHA-256 of every member."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from samunet.errors import UserError
from samunet.inference.bundle.members import FOLD, PORTABLE
from samunet.schema import decode

FORMAT, VERSION = "samunet model bundle", 1
FAULTY = "Do not use this file. Get the bundle again from those who exported it, or export the model again."
_PART = rf"{PORTABLE}{{1,200}}"

Part = Annotated[str, Meta(pattern=rf"^{_PART}\Z")]
Text = Annotated[str, Meta(max_length=1000)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Dataset = Annotated[str, Meta(pattern=rf"^Dataset[0-9]{{3,}}_{_PART}\Z")]
Fold = Annotated[str, Meta(pattern=rf"^({FOLD})\Z")]
Draw = Annotated[str, Meta(pattern=r"^(shots([0-9]+|all)_draw[0-9]+(_slices[0-9]+)?)?\Z")]


@dataclass(frozen=True)
class Member:
    """A file of the bundle; its digest is of the content."""

    bytes: Annotated[int, Meta(ge=0)]
    sha256: Sha256


@dataclass(frozen=True)
class BundledEncoder:
    """The encoder that the model was trained with; its weights are never in the bundle.

    Attributes:
        id, digest: as in run.json.
        name: the value of --encoder in training, without its folders.
        needed: whether prediction loads it.
        shipped: whether it is part of samunet; otherwise prediction needs its file.
    """

    id: Part
    name: Text
    digest: Sha256 | None
    needed: bool
    shipped: bool


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    Attributes:
        samunet: the version that wrote the bundle.
        draw: the folder of a few labelled cases in a model's folder, empty where all were used.
        training_images: how many training images the checkpoints hold, as the variant stores them.
        members: of every file of the zip but the manifest itself, by name.
    """

    format: str
    version: int
    samunet: Text
    dataset: Dataset
    variant: Part
    plans: Part
    encoder: BundledEncoder
    draw: Draw
    folds: Annotated[list[Fold], Meta(min_length=1)]
    training_images: Annotated[int, Meta(ge=0)]
    members: dict[str, Member]

    @property
    def place(self) -> Path:
        """Where the model belongs in a results folder."""
        return Path(self.dataset) / f"{self.variant}__{self.plans}__{self.encoder.id}" / self.draw


def decode_manifest(content: Any, where: str) -> Manifest:
    """The manifest in `content`, which `parse_json` returned.

    Raises:
        UserError: of another format or version, or a field is missing, unknown, of another type or out of range.
    """
    found = (content.get("format"), content.get("version")) if isinstance(content, dict) else (None, None)
    if found[0] != FORMAT:
        raise UserError(f"The manifest of a bundle must be of the format '{FORMAT}'.", where=where,
                        found=str(found[0])[:80], mend=FAULTY)
    if type(found[1]) is not int or found[1] != VERSION:
        raise UserError(f"The manifest of a bundle must be of version {VERSION}.", where=where,
                        found=str(found[1])[:80],
                        mend="Install the version of samunet that wrote it, or export the model again.")
    return decode(Manifest, content, rule="The manifest of a bundle must hold what samunet_export_model_to_zip writes.",
                  where=where, mend=FAULTY, exact=True)
