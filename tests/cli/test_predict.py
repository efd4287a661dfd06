"""samunet_predict's flags that nnU-Net has: checked, refused or answered by a message; none is accepted in silence."""

from __future__ import annotations

import pytest

from samunet.cli import predict

FOLDERS = ["-i", "images", "-o", "out"]


@pytest.mark.parametrize("name", ["checkpoint_final", "checkpoint_final.pth", "checkpoint_final.safetensors"])
def test_the_final_weights_are_the_only_ones(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.parser().parse_args([*FOLDERS, "-chk", name])
    for other in ("checkpoint_best.pth", "checkpoint_final.pt", "hk"):
        with pytest.raises(SystemExit) as end:
            predict.parser().parse_args([*FOLDERS, "-chk", other])
        assert end.value.code == 2
        assert "argument -chk: must be checkpoint_final: no other weights" in capsys.readouterr().err


def test_flags_without_effect_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    options = predict.parser().parse_args([*FOLDERS, "-nps", "3", "--not_on_device"])
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["-nps is not used", "--not_on_device is not used"]
    assert not {"nps", "not_on_device"} & set(vars(options))


def test_a_cascade_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        predict.parser().parse_args([*FOLDERS, "-prev_stage_predictions", "lowres"])
    assert end.value.code == 2 and "-prev_stage_predictions: samunet has no cascade" in capsys.readouterr().err


def test_a_variant_takes_the_place_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    given = predict.parser().parse_args([*FOLDERS, "-c", "hybrid", "-npp", "3", "--verbose", "--disable_progress_bar"])
    assert (given.variant, given.preparing_workers, given.verbose, given.no_progress) == ("hybrid", 3, True, True)
    assert predict.main([*FOLDERS, "-c", "3d_fullres"]) == 2
    assert "3d_fullres" in capsys.readouterr().err


def test_the_folder_of_images_is_checked_before_a_model_is_loaded(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for name, found in (("none", "no such folder"), ("file", "a file")):
        given = ["-i", str(tmp_path / name), "-o", str(tmp_path / "out"), "-m", str(tmp_path / "no_model")]
        assert predict.main(given) == 2
        said = capsys.readouterr().err
        assert "The folder of images must exist" in said and found in said and "no_model" not in said
    assert not (tmp_path / "out").exists()
