"""The encoder that a trained model recorded: found again by name or file, and checked to be the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import torch

from samunet.errors import UserError
from samunet.networks.checkpoints.encoders import Encoder, encoder_file, load_encoder
from samunet.networks.checkpoints.released import checkpoints_folder
from samunet.planning.encoder_spec import NAMED_ENCODERS
from samunet.variants.registry import entry


def recorded_name(recorded: Mapping[str, Any]) -> str:
    """The name or path that loads the encoder of a run.json: a file that has moved may be in the checkpoints folder."""
    # `mini` may name a later version; its id stays that of the weights.
    if recorded["id"] in NAMED_ENCODERS:
        return str(recorded["id"])
    # The path may be from another machine; Windows paths accept both separators.
    moved = str(checkpoints_folder() / PureWindowsPath(recorded["name"]).name)
    return (moved if encoder_file(recorded["name"]) is None and encoder_file(moved) is not None
            else str(recorded["name"]))


def matching_encoder(
    folder: Path, runs: dict[str, dict[str, Any]], input_size: int, device: torch.device, given: str | None
) -> Encoder:
    """The encoder `given`, or else the recorded one, after a check that every fold was trained with its weights.

    Arguments:
        folder: the model's, for messages.
        runs: run.json of each fold.
        given: the value of --encoder, or None.

    Raises:
        UserError: the recorded file is missing and none was given; another encoder, or other weights under its name.
    """
    recorded = next(iter(runs.values()))["encoder"]
    known = {run["encoder"][key] for run in runs.values() for key in ("id", "name")}
    name = recorded_name(recorded) if given is None or given in known else given
    if given is None and name.partition("@")[0] not in NAMED_ENCODERS and encoder_file(name) is None:
        raise UserError("A model needs the encoder that it was trained with.", where=folder,
                        found=f"no file {PureWindowsPath(name).name} for '{recorded['id']}' "
                              f"(weights {_short(recorded['digest'])})",
                        mend=f"Name its file with --encoder, or put it into {checkpoints_folder()}.")
    encoder = load_encoder(name, input_size, device, fast=entry(next(iter(runs.values()))["variant"]).reads_embeddings)
    for fold, run in runs.items():
        trained_with = run["encoder"]
        # A given name may have another family: the same weights with another input normalisation, so another id.
        renamed = given is not None and trained_with["id"] != encoder.spec.id
        if renamed or trained_with["digest"] != encoder.digest:
            raise UserError(
                "A model must be used with the encoder that it was trained with.",
                where=folder / f"fold_{fold}",
                found=f"trained with '{trained_with['id']}' (weights {_short(trained_with['digest'])}), "
                f"but '{name}' is now '{encoder.spec.id}' (weights {_short(encoder.digest)})",
                mend="Restore that encoder's file, pass it with --encoder, or train the model again.",
            )
    return encoder


def _short(digest: str | None) -> str:
    return f"{digest[:12]}..." if digest else "unknown"
