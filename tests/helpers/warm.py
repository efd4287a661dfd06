"""samunet's commands, and Python scripts, in processes forked from one that has imported what they need.

They take no start-up time, which for a console script is 2 to 4 seconds of a processor.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import multiprocessing
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

COMMANDS = ("extract_fingerprint", "plan_experiment", "preprocess", "plan_and_preprocess", "train", "add_support",
            "find_best_configuration",
            "predict", "evaluate_folder", "plot_overlay_pngs", "cache", "pretrain_encoder", "benchmark", "info")
# Imported before the first fork; a module that is missing here only costs time.
HEAVY = ("torch", "SimpleITK", "nibabel", "blosc2", "safetensors.torch", "skimage.transform", "scipy.ndimage",
         "matplotlib.figure", "matplotlib.backends.backend_agg", "tifffile",
         "torch._dynamo",  # which torch's optimisers import, for two seconds
         "batchgenerators.augmentations.utils", "samunet.networks.sam", "samunet.variants.probe",
         "samunet.variants.label_prior", "samunet.variants.sam_zeroshot", "samunet.variants.linear_head",
         "samunet.training.run", "samunet.inference.predict_folder", "samunet.inference.overlay_files",
         "samunet.evaluation.evaluate",
         "samunet.planning.planner", "samunet.planning.splits", "samunet.planning.groups", "samunet.dataset.integrity",
         "samunet.preprocessing.preprocess", "samunet.inputs.embedding_cache", "samunet.inputs.cache_inventory",
         "samunet.benchmarking.benchmark", "samunet.benchmarking.choice", "samunet.training.added_support",
         "samunet.api.preparation", "samunet.api.training", "samunet.api.prediction", "samunet.api.evaluation",
         "samunet.api.benchmarking")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
           "BLOSC_NTHREADS")


def warm_up() -> None:
    """Import all that commands need, on one thread each: threads do not survive a fork."""
    for name in THREADS:
        os.environ[name] = "1"
    for name in (*HEAVY, *(f"samunet.cli.{command}" for command in COMMANDS)):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # what is there stays there: collections in forked processes must not go through it


def be_command(name: str, arguments: Sequence[str], environment: Mapping[str, str], streams: Mapping[int, int],
               prepare: Callable[[], None] | None = None) -> NoReturn:
    """Turn this process, just forked, into samunet's command `name`, or into Python if that is its name.

    `streams` says which open file descriptor becomes 0, 1 or 2; `environment` is added to the present one.
    """
    code = 1
    try:
        os.setsid()
        for number, descriptor in streams.items():
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"))
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), errors="backslashreplace", line_buffering=True)
        before = os.environ.get("PYTHONPATH")
        os.environ.update(environment)
        if os.environ.get("PYTHONPATH") != before:
            _prefer_packages_of(os.environ["PYTHONPATH"])
        forked = multiprocessing.get_context("fork")
        # Workers cost milliseconds then, not seconds.
        multiprocessing.get_context = lambda method=None: forked  # type: ignore[assignment]
        if prepare:
            prepare()
        code = _run(name, list(map(str, arguments)))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - what escapes a command is what the caller looks for
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _run(name: str, arguments: list[str]) -> int:
    """The exit code of a command, or of `python [-u] script ...` and `python [-u] -m module ...`."""
    if name != "python":
        sys.argv = [f"samunet_{name}", *arguments]
        return int(importlib.import_module("samunet.cli.entry").run(name))
    sys.argv = arguments[arguments[0] == "-u":]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
        runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


def _prefer_packages_of(path: str) -> None:
    """Look for modules in the folders of `path` first; there may be another samunet."""
    sys.path[:0] = path.split(os.pathsep)
    for name in [name for name in sys.modules if name.partition(".")[0] == "samunet"]:
        del sys.modules[name]
