"""Two rounds of annotation through the commands: annotate, train, go on from the model's own result."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from annotation_server import Server, write_image

from samunet.cli.plan_and_preprocess import main as plan_and_preprocess
from samunet.cli.predict import main as predict
from samunet.cli.train import main as train

COUNT = 10


@pytest.mark.slow
def test_five_cases_then_a_model_then_the_next_five(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(COUNT):
        voxels = random.normal(100, 5, (24, 24, 6))
        voxels[6:18, 6:18, 1:5] += 60
        write_image(tmp_path / "images" / f"case{number}.nii.gz", voxels, np.diag([-1, -1, 3, 1]))
    output = tmp_path / "raw" / "Dataset501_Blocks"
    with Server("-i", tmp_path / "images", "-o", output, "--labels", "block=1") as server:
        for number in range(5):
            for index in range(1, 5):
                lines = [[index, row, column] for row in range(6, 18, 2) for column in (6, 17)]
                server.act(f"case{number}", type="paint", places=lines, plane=0, radius_mm=1.0, label="block")
            server.act(f"case{number}", type="finish", finished=True)
    folders = [argument for name in ("raw", "preprocessed", "results")
               for argument in (f"--{name}", str(tmp_path / name))]
    assert plan_and_preprocess(["-d", "501", "--encoder", "pixels", "-np", "1", *folders]) == 0
    assert train(["501", "label_prior", "all", "--encoder", "pixels", *folders]) == 0
    model = next((tmp_path / "results" / "Dataset501_Blocks").glob("label_prior__*"))
    assert predict(["-i", str(output / "imagesTr"), "-o", str(tmp_path / "p"), "-m", str(model)]) == 0
    with Server("-i", tmp_path / "images", "-o", output, "-m", model, "--order", "uncertain",
                "-device", "cpu") as server:
        _, content = server.get("/cases")
        names = [case["name"] for case in content["cases"]]
        assert sorted(names[:5]) == [f"case{number}" for number in range(5, COUNT)]  # the rest, by uncertainty
        assert names[5:] == [f"case{number}" for number in range(5)]
        assert server.get(f"/case?case={names[0]}")[1]["state"]["undo"]  # it began with the model's result
        server.act(names[0], type="finish", finished=True)
    label = np.asarray(nibabel.load(output / "labelsTr" / f"{names[0]}.nii.gz").dataobj)
    assert label[9:15, 9:15, 2:4].all() and not label[:3].any()
