"""Commands in processes forked from this one, which has imported what they need, so that they take no start-up time."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
         "samunet.benchmark.benchmark", "samunet.benchmark.choice", "samunet.training.added_support")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
           "BLOSC_NTHREADS")
SLOW_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or the negative number of the signal that ended it."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def last(self) -> str:
        return next(iter(self.err.strip().splitlines()[-1:]), "")


def warm_up() -> None:
    """Import all that commands need, on one thread each: threads do not survive a fork."""
    for name in THREADS:
        os.environ[name] = "1"
    for name in (*HEAVY, *(f"samunet.cli.{command}" for command in COMMANDS)):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


class Running:
    """A command in a process group of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str],
                 prepare: Callable[[], None] | None = None) -> None:
        self._began = time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="told-")
        self._told = [Path(self._folder.name, name) for name in ("out", "err")]
        for path in self._told:
            path.touch()  # a command that is killed at once has said nothing
        self._code: int | None = None
        sys.stdout.flush(), sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_command(command, environment, self._told, prepare)

    def poll(self) -> int | None:
        """The exit code, or None while the command runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the process, or to its group; nothing where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def children(self) -> list[int]:
        """Process ids of the command's workers."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def end(self, limit_s: float = SLOW_S) -> Ended:
        """Wait for the end; a command that takes longer than `limit_s` is killed, and says so."""
        while self.poll() is None and time.monotonic() - self._began < limit_s:
            time.sleep(0.002)
        late = self.poll() is None
        self.send(signal.SIGKILL, group=True)
        while self.poll() is None:
            time.sleep(0.002)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._told)
        self._folder.cleanup()
        code = self.poll()
        assert code is not None
        return Ended(code, out, err + (f"\nTIMEOUT after {limit_s:g} s" if late else ""),
                     time.monotonic() - self._began)


def run(command: Sequence[str], environment: Mapping[str, str], prepare: Callable[[], None] | None = None,
        limit_s: float = SLOW_S) -> Ended:
    """Run a command to its end: its name without `samunet_`, then its arguments."""
    return Running(command, environment, prepare).end(limit_s)


def _be_command(command: Sequence[str], environment: Mapping[str, str], told: Sequence[Path],
                prepare: Callable[[], None] | None) -> None:
    """What the forked process does; it never returns."""
    code = 1
    try:
        os.setsid()
        for number, path in enumerate(told, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"))
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), errors="backslashreplace", line_buffering=True)
        os.environ.update(environment)
        forked = multiprocessing.get_context("fork")
        # Workers cost milliseconds then, not seconds.
        multiprocessing.get_context = lambda method=None: forked  # type: ignore[assignment]
        if prepare:
            prepare()
        sys.argv = [f"samunet_{command[0]}", *map(str, command[1:])]
        code = importlib.import_module("samunet.cli.entry").run(command[0])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - what escapes a command is what the harness looks for
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder, in memory where there is room for it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)
