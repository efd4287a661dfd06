"""What the demo does before the first step; the steps themselves are run by tests/end_to_end/test_demo.py."""

from __future__ import annotations

import pytest

from samunet.cli.demo import main


@pytest.mark.parametrize("name", ["nothing", "MyData", "DatasetX_Name"])
def test_a_folder_that_is_no_dataset_is_refused(name, tmp_path, capsys):
    if name != "nothing":
        (tmp_path / name).mkdir()
    assert main(["--dataset", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "DatasetXXX_Name" in message and str(tmp_path / name) in message and "mend" in message
    assert not (tmp_path / "out").exists()
