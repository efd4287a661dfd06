"""run.json, the record of a run: the fields that other commands read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samunet.files import read_json
from samunet.schema import decode


@dataclass(frozen=True)
class RecordedEncoder:
    """The encoder of a run; `name` is the value of --encoder. nnU-Net's runs have neither a name nor a digest."""

    id: str
    digest: str | None
    name: str = ""


@dataclass(frozen=True)
class RunRecord:
    """The fields that every command reads; `finished` is an ISO time, None during the run."""

    variant: str
    encoder: RecordedEncoder
    finished: str | None
    trained_by: str


@dataclass(frozen=True)
class ModelRecord(RunRecord):
    """The fields that prediction reads. nnU-Net's runs have no settings."""

    settings: dict[str, Any] = field(default_factory=dict)


def read_run(path: Path, kind: type[Any] = ModelRecord) -> dict[str, Any]:
    """The content of a run.json, which may have more fields than `kind`.

    Raises:
        UserError: no JSON, or a field of the dataclass `kind` is missing or has another type.
    """
    content: dict[str, Any] = read_json(path)
    decode(kind, content, rule="A run.json must be as the command of its run wrote it.", where=path,
           mend="Restore the file, or remove its folder and run that command again.")
    return content
