"""samunet_annotate's command line: what it refuses before anything is loaded or written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from annotation_server import write_image

from samunet.cli.annotate import main


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_image(tmp_path / "images" / "x.nii.gz", np.zeros((2, 3, 4)), np.eye(4))
    return tmp_path / "images"


@pytest.mark.parametrize(
    "options, message",
    [
        (["--labels", "tumour"], "must be NAME=VALUE, such as tumour=1"),
        (["--labels", "background=1"], "must be NAME=VALUE"),
        (["--labels", "a=1", "--port", "70000"], "must be a whole number from 0 to 65535"),
        (["--labels", "a=1", "a=2"], "Every class must be named once."),
        (["--labels", "a=1", "b=1"], "Every label must have a value of its own."),
        (["--labels", "a=1", "--order", "uncertain"], "--order uncertain needs a model."),
        (["-m", "nowhere"], "nowhere"),
        ([], "The classes to annotate must be given."),
    ],
)
def test_bad_options_are_one_message(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    try:
        code = main(["-i", str(images), "-o", str(tmp_path / "out"), *options])
    except SystemExit as end:
        code = end.code
    text = capsys.readouterr().err
    assert code == 2 and message in text and "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_a_missing_package_names_its_extra(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["-i", str(images), "-o", str(tmp_path / "out"), "--labels", "a=1"]) == 2
    assert "pip install 'samunet[annotate]'" in capsys.readouterr().err


def test_a_port_that_is_taken(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["-i", str(images), "-o", str(tmp_path / "out"), "--labels", "a=1", "--port", str(port)]) == 2
    text = capsys.readouterr().err
    assert "The port must be free." in text
    assert "must be renamed to DatasetXXX_Name before samunet_train can use it" in text
