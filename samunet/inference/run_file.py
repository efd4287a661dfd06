"""run.json, the record of a run: what the commands that read one rely on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samunet.files import read_json
from samunet.schema import decode


@dataclass(frozen=True)
class RecordedEncoder:
    """The encoder of a run; `name` is what was given to --encoder. nnU-Net's runs have neither a name nor a digest."""

    id: str
    digest: str | None
    name: str = ""


@dataclass(frozen=True)
class RunRecord:
    """What every reader relies on; `finished` is an ISO time, None while the run goes on."""

    variant: str
    encoder: RecordedEncoder
    finished: str | None
    trained_by: str


@dataclass(frozen=True)
class ModelRecord(RunRecord):
    """What prediction reads. nnU-Net's runs have no settings."""

    settings: dict[str, Any] = field(default_factory=dict)


def read_run(path: Path, kind: type[Any] = ModelRecord) -> dict[str, Any]:
    """The content of a run.json, which may hold more than the fields of `kind`.

    Raises:
        UserError: no JSON, or one in which a field of the dataclass `kind` is missing or has another form.
    """
    content = read_json(path)
    decode(kind, content, rule="A run.json must hold what the command of its run writes.", where=path,
           mend="Restore the file, or remove the folder that it is in and run that command again.")
    return content
