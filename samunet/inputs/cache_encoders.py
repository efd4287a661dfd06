"""The encoders that caches were encoded with: which id is meant, and their weights' digest where they are available."""

from __future__ import annotations

from collections.abc import Iterator

from samunet.errors import UserError
from samunet.networks.checkpoints.encoders import FAMILIES, encoder_spec, load_encoder
from samunet.networks.checkpoints.released import checkpoint_files, checkpoints_folder
from samunet.planning.encoder_spec import NAMED_ENCODERS


def encoder_id(name: str) -> str:
    """The id that caches carry for an encoder given by id, by name or by file; what is not known is taken as an id."""
    try:
        return encoder_spec(name).id
    except UserError:
        return name


def weights_of(identity: str, given: str | None) -> tuple[str, str] | None:
    """(SHA-256 of the weights, family of the input) of the encoder with id `identity`, None where it is not available.

    Looked for under the name `given` on the command line, among the named encoders, and among the files of the
    checkpoints folder.
    """
    for name in [*([given] if given else []), *_names(identity)]:
        try:
            spec = encoder_spec(name)
            if spec.id == identity:
                return load_encoder(name, spec.native_input_size).digest, spec.family
        except UserError:
            continue
    return None


def _names(identity: str) -> Iterator[str]:
    """Names under which `encoder_spec` may find an id; an overridden family is at the id's end."""
    family = next((family for family in FAMILIES if identity.endswith(f"-{family}")), None)
    for base, ending in ((identity, ""), *([(identity.removesuffix(f"-{family}"), f"@{family}")] if family else [])):
        if base in NAMED_ENCODERS:
            yield base + ending
        for path in checkpoint_files(checkpoints_folder()):
            if base.startswith(f"{path.stem}-"):
                yield f"{path}{ending}"
