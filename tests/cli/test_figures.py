"""Numbers and lists on the command line: their bounds, and every flag of every command that takes one."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from samunet.cli.figures import Distinct, fold, real, shots, whole

NEEDED = {
    "accumulate_crossval_results": ["4", "-v", "cnn_head"],
    "apply_postprocessing": ["-i", "i", "-o", "o", "-pp_file", "f"],
    "determine_postprocessing": ["-i", "i", "-ref", "r"],
    "ensemble": ["-i", "i", "-o", "o"],
    "evaluate_simple": ["a", "b", "-l", "1"],
    "add_support": ["-m", "m", "--support", "s", "-o", "o"],
    "benchmark": ["-d", "4"],
    "cache": ["list"],
    "demo": [],
    "download_checkpoint": [],
    "evaluate_folder": ["a", "b", "-djfile", "d"],
    "evaluate_clicks": ["-m", "m", "-i", "i", "-gt", "g", "-o", "o"],
    "extract_fingerprint": ["-d", "4"],
    "find_best_configuration": ["-d", "4"],
    "info": [],
    "plan_and_preprocess": ["-d", "4"],
    "plan_experiment": ["-d", "4"],
    "plot_overlay_pngs": ["-o", "o"],
    "predict": ["-i", "i", "-o", "o"],
    "preprocess": ["-d", "4"],
    "pretrain_encoder": ["-o", "o"],
    "statistics": ["-i", "i", "-o", "o"],
    "train": ["4", "cnn_head", "0"],
}
# Flags that take no number: names, files, folders, patterns, choices.
WORDS = {
    "-d", "-i", "-o", "-m", "-v", "-p", "-s", "-r", "-device", "-djfile", "-pfile", "-gt", "-plans_name", "-images",
    "-ref", "-pp_file", "-pp_pkl_file", "-plans_json", "-dataset_json",
    "-pretrained_weights", "--encoder", "--support",
    "--raw", "--preprocessed", "--results", "--variants", "--nnunet", "--nnunet_results", "--oracle_prompts",
    "--reference", "--scheduler",
    "--dataset", "--output", "--checkpoints", "--url", "--groups", "--cache_dtype", "--prompts", "--transport",
    "--without", "--set", "--list", "--logger", "-chk", "-prev_stage_predictions",
    "--phases",  # has a parser of its own, see tests/pretraining/test_recipe.py
}
ABSURD = ["nan", "inf", "-1", "1" + "0" * 400, "1" + "0" * 5000, "1e400", "", "four", "0x10", "4 4"]


def number_flags() -> list[tuple[str, str]]:
    """Each command with each of its flags that take a number."""
    found = []
    for command in NEEDED:
        for action in import_module(f"samunet.cli.{command}").parser()._actions:
            if action.nargs != 0 and action.option_strings and action.option_strings[0] not in WORDS:
                found.append((command, action.option_strings[0]))
    return found


def test_the_flags_that_take_a_number_are_these() -> None:
    assert {flag for _, flag in number_flags()} == {
        "-f", "-np", "-npp", "-nps", "-step_size", "-num_parts", "-part_id", "-num_gpus", "-gpu_memory_target",
        "-overwrite_target_spacing", "-channel_idx", "-l", "-il",
        "--folds", "--shots", "--shot_slices", "--draws", "--draw", "--seed", "--minutes", "--minutes_head",
        "--minutes_network",
        "--iterations", "--epochs", "--workers", "--box_relax", "--clicks", "--remove_small_blobs",
        "--max_ram"}


@pytest.mark.parametrize(("command", "flag"), number_flags())
def test_no_flag_takes_an_absurd_number(command: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = import_module(f"samunet.cli.{command}").parser()
    for text in ABSURD:
        values = [f"{flag}", text] + (["1", "1"] if flag == "-overwrite_target_spacing" else [])
        with pytest.raises(SystemExit) as ended:
            parser.parse_args([*NEEDED[command], *values])
        told = capsys.readouterr().err
        assert ended.value.code == 2 and f"argument {flag}: must be" in told and len(told.splitlines()[-1]) < 200


@pytest.mark.parametrize("text", ["1", "512", "1024"])
def test_whole_numbers_within_their_bounds_are_taken(text: str) -> None:
    assert whole(1, 1024)(text) == int(text)


@pytest.mark.parametrize("text", ["0", "1025", "1.0", "1_0", " 1"])
def test_whole_numbers_out_of_their_bounds_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number from 1 to 1024, not"):
        whole(1, 1024)(text)


def test_bounds_of_numbers_belong_to_them_unless_they_lie_above() -> None:
    assert [real(0.01, 1)(text) for text in ("0.01", "5e-1", "1")] == [0.01, 0.5, 1.0]
    assert real(0, 1, above=True)("1e-300") == 1e-300
    with pytest.raises(argparse.ArgumentTypeError, match="above 0 and at most 1, not 0"):
        real(0, 1, above=True)("0")
    with pytest.raises(argparse.ArgumentTypeError, match="from 0.01 to 1, not 1.001"):
        real(0.01, 1)("1.001")


def test_folds_and_shots_are_numbers_or_all() -> None:
    assert [fold(text) for text in ("0", "12", "all")] == ["0", "12", "all"]
    assert [shots(text) for text in ("5", "all")] == [5, None]
    for text in ("00", "ALL", "-1", "1.0", "../0"):
        with pytest.raises(argparse.ArgumentTypeError, match="number of a fold, or all"):
            fold(text)


@pytest.mark.parametrize(("command", "flags", "told"), [
    ("benchmark", ["--folds", "0", "1", "0"], "--folds: must not contain duplicates: 0"),
    ("benchmark", ["--variants", "atlas", "unet", "atlas", "unet"],
     "--variants: must not contain duplicates: atlas, unet"),
    ("benchmark", ["--shots", "5", "05"], "--shots: must not contain duplicates: 5"),
    ("find_best_configuration", ["--variants", "atlas", "atlas"], "--variants: must not contain duplicates: atlas"),
    ("predict", ["-f", "1", "1"], "-f: must not contain duplicates: 1"),
    ("plan_experiment", ["-d", "4", "4"], "-d: must not contain duplicates: 4"),
    ("pretrain_encoder", ["--without", "probe", "probe"], "--without: must not contain duplicates: probe"),
])
def test_what_is_named_twice_is_reported(command: str, flags: list[str], told: str,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        import_module(f"samunet.cli.{command}").parser().parse_args([*NEEDED[command], *flags])
    assert told in capsys.readouterr().err


def test_a_list_without_repetition_is_stored_as_it_is() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folds", nargs="+", type=fold, action=Distinct)
    assert parser.parse_args(["--folds", "2", "0"]).folds == ["2", "0"]
