"""A bundle on a machine that has nothing but samunet: no raw or preprocessed data, no variables, another folder."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys

from whole_runs import REQUEST, model

from samunet.cli.predict import main as predict
from samunet.dataset.paths import Paths
from samunet.sharing.export import export_model
from samunet.training.run import train_model

COMMAND = "import sys; from samunet.cli.predict import main; sys.exit(main(sys.argv[1:]))"


def test_a_bundle_predicts_the_same_bytes_in_a_fresh_environment(prepared, tmp_path, monkeypatch):
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    train_model(dataclasses.replace(REQUEST, iterations=20), paths, must_continue=False, workers=1)
    for name in ("c1", "d1"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(prepared / "raw/Dataset005_Made/imagesTr" / f"{name}_0000.nii.gz", tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert predict(["-m", str(model(paths)), "-i", "in", "-o", "here", "--save_probabilities"]) == 0
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    manifest = export_model(model(paths), None, fresh / "model.zip")
    assert (manifest.encoder.needed, manifest.encoder.shipped, manifest.folds) == (True, True, ["0"])
    shutil.move(tmp_path / "in", fresh / "in")
    shutil.rmtree(tmp_path / "results")
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "-m", "model.zip", "-i", "in", "-o", "out", "--save_probabilities"], cwd=fresh,
        env={"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "temporary")}, capture_output=True, text=True,
        check=False)
    assert done.returncode == 0, done.stderr
    for name in ("c1.nii.gz", "d1.nii.gz", "c1.npz", "d1.npz"):
        assert (fresh / "out" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert sorted(path.name for path in fresh.iterdir()) == ["in", "model.zip", "out"]
    assert not [*(tmp_path / "temporary").iterdir()]
