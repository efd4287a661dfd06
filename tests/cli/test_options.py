from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from samunet.cli import extract_fingerprint, options, plan_experiment
from samunet.workers import default_workers


def test_flags_are_nnunets():
    given = plan_experiment.parser().parse_args(
        shlex.split(
            "-d 4 Dataset027_ACDC -np 3 -plans_name mine -gpu_memory_target 4.5 -overwrite_target_spacing 3 1 1 "
            "--groups '(a)b' --encoder vit_b --raw r --preprocessed p --results q"
        )
    )
    assert given.datasets == ["4", "Dataset027_ACDC"]
    assert (options.workers_of(given), given.plans_name, given.gpu_memory_target) == (3, "mine", 4.5)
    assert given.overwrite_target_spacing == [3.0, 1.0, 1.0]
    assert (given.groups, given.encoder) == ("(a)b", "vit_b")
    paths = options.paths_of(given)
    assert [path.name for path in (paths.raw, paths.preprocessed, paths.results)] == ["r", "p", "q"]


def test_defaults():
    given = plan_experiment.parser().parse_args(["-d", "4"])
    assert options.workers_of(given) == default_workers()
    assert (given.encoder, given.plans_name, given.gpu_memory_target) == ("mini", "samunetPlans", 8.0)
    assert (given.groups, given.overwrite_target_spacing, given.raw) == (None, None, None)


def test_a_flag_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("samunet_raw", "from_environment")
    monkeypatch.setenv("samunet_preprocessed", "p")
    monkeypatch.setenv("samunet_results", "q")
    parser = extract_fingerprint.parser()
    assert options.paths_of(parser.parse_args(["-d", "4"])).raw.name == "from_environment"
    assert options.paths_of(parser.parse_args(["-d", "4", "--raw", "flag"])).raw.name == "flag"


def test_defaults_are_those_of_the_planner():
    from samunet.planning import planner

    assert options.DEFAULT_PLANS_NAME == planner.DEFAULT_PLANS_NAME
    assert options.DEFAULT_MEMORY_TARGET_GB == planner.DEFAULT_MEMORY_TARGET_GB


@pytest.mark.parametrize("wrong", [["-np", "0"], ["-np", "many"], ["-overwrite_target_spacing", "1", "1"], []])
def test_wrong_usage_ends_with_code_2(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        plan_experiment.main([*(["-d", "4"] if wrong else []), *wrong])
    assert ended.value.code == 2


@pytest.mark.parametrize("module", ["extract_fingerprint", "plan_experiment"])
def test_help_has_an_example_and_imports_nothing_heavy(module):
    program = (
        f"import sys; from samunet.cli.{module} import parser; text = parser().format_help();"
        f"assert 'example:\\n  samunet_{module} -d' in text, text;"
        "heavy = {'torch', 'numpy', 'SimpleITK', 'scipy', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
