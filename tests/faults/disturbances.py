"""Faults that meet a running command: killed, interrupted, out of room, two at once, a worker killed.

Then the same command again.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.job import STAGES, Job, Step, command_of
from tests.faults.place import Place
from tests.faults.strike import strike
from tests.faults.verdict import Outcome, Verdict, broke, differing, half_written, said
from tests.faults.warm import Ended, Running, run

Prepare = Callable[[], None]
# train takes seconds, the others a fraction
WEIGHTS = {"plan": 4, "fit": 2, "train": 2, "zeroshot": 1, "predict": 3, "ask": 1, "evaluate": 1}
# Where each stage's largest files go, for a disk of its own there.
WRITES_TO = {"plan": "preprocessed", "fit": "results", "train": "results", "zeroshot": "results", "predict": "out",
             "ask": "out_asked", "evaluate": "out"}


def kill_at_any_moment(job: Job, root: Path, random: Random) -> Outcome:
    """SIGKILL after a random share of the command's usual time, once to three times; its workers must end with it."""
    stage, step, place = _begun(job, root, random)
    more = ("-np", "2") if stage == "plan" and random.random() < 0.3 else ()
    for _ in range(random.randint(1, 3)):
        running = Running(command_of(stage, place, *more), place.environment)
        _wait(running, random.uniform(0, 1.1) * step.seconds)
        running.send(signal.SIGKILL)
        if fault := _judged_end(running.end(), place, step, signal.SIGKILL):
            return fault
    return _again(stage, place, step)


def kill_before_a_change(job: Job, root: Path, random: Random) -> Outcome:
    """SIGKILL just before the n-th rename, removal, new file, new folder or flush."""
    return _struck(job, root, random, signal.SIGKILL)


def interrupt_before_a_change(job: Job, root: Path, random: Random) -> Outcome:
    """SIGINT just before the n-th rename, removal, new file, new folder or flush."""
    return _struck(job, root, random, signal.SIGINT)


def interrupt_at_any_moment(job: Job, root: Path, random: Random) -> Outcome:
    """Ctrl-C: SIGINT to the command and its workers after a random share of its usual time."""
    stage, step, place = _begun(job, root, random)
    more = ("-np", "2") if stage == "plan" else ()
    running = Running(command_of(stage, place, *more), place.environment)
    _wait(running, random.uniform(0.02, 1) * step.seconds)
    running.send(signal.SIGINT, group=True)
    ended = running.end()
    if fault := _judged_end(ended, place, step, signal.SIGINT):
        return fault
    if _lives(running.pid):
        os.killpg(running.pid, signal.SIGKILL)
        return Outcome(Verdict.STRAY, "a worker lives on")
    return _again(stage, place, step)


def full_disk(job: Job, root: Path, random: Random) -> Outcome:
    """The disk that a command writes to is full after a random share of what it writes; later there is room again.

    Needs root.
    """
    stage, step, place = _begun(job, root, random)
    disk = place.path(WRITES_TO[stage])
    there = job_size(disk)
    kept = Place(root, place.encoder).path("kept")
    disk.mkdir(exist_ok=True)
    disk.rename(kept)
    disk.mkdir()
    room = there + int(random.uniform(0, 1) * step.written_bytes) + 4096 * 8
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(room, 4096)}", "tmpfs", disk], check=True)
    try:
        if subprocess.run(["cp", "-a", f"{kept}/.", disk], capture_output=True, check=False).returncode:
            subprocess.run(["mount", "-o", f"remount,size={room + 2**20}", disk], check=True)
            subprocess.run(["cp", "-a", f"{kept}/.", disk], check=True)
        ended = run(command_of(stage, place), place.environment)
        fault = _judged_room(stage, ended, place, step)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        return fault or _again(stage, place, step)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def file_size_limit(job: Job, root: Path, random: Random) -> Outcome:
    """No file may grow beyond a random size (`ulimit -f`, a quota); later the limit is gone."""
    stage, step, place = _begun(job, root, random)
    limit = int(max(_size(path) for path in _files(step.after.path(WRITES_TO[stage]))) * random.uniform(0, 1))

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = run(command_of(stage, place), place.environment, prepare)
    return _judged_room(stage, ended, place, step) or _again(stage, place, step)


def two_at_once(job: Job, root: Path, random: Random) -> Outcome:
    """The same command twice, the second a random share of the usual time later."""
    stage, step, place = _begun(job, root, random)
    first = Running(command_of(stage, place), place.environment)
    _wait(first, random.uniform(0, 0.9) * step.seconds)
    second = Running(command_of(stage, place), place.environment)
    ends = [first.end(), second.end()]
    for ended in ends:
        if reason := broke(ended):
            return Outcome(Verdict.TRACEBACK, f"{stage}: {reason}")
        if ended.code == 2 and "error: " not in ended.err:
            return Outcome(Verdict.TRACEBACK, f"{stage}: exit 2 without a message")
    if all(ended.code == 2 for ended in ends):
        return Outcome(Verdict.LOST, f"{stage}: both refuse: {said(ends[0])}; {said(ends[1])}")
    if reason := differing(place, step.promised):
        return Outcome(Verdict.WRONG, f"{stage}: {reason}")
    return _again(stage, place, step)


def worker_killed(job: Job, root: Path, random: Random) -> Outcome:
    """SIGKILL to one of two workers, as the kernel does where memory runs out."""
    stage, step, place = _begun(job, root, random, "plan")
    running = Running(command_of(stage, place, "-np", "2", "--verify_dataset_integrity"), place.environment)
    until = time.monotonic() + step.seconds * random.uniform(0.1, 1)
    while running.poll() is None and (time.monotonic() < until or not running.children()):
        time.sleep(0.001)
    for worker in running.children()[:1]:
        os.kill(worker, signal.SIGKILL)
    ended = running.end()
    if reason := broke(ended):
        return Outcome(Verdict.TRACEBACK, f"{stage}: {reason}")
    return _again(stage, place, step)


DISTURBANCES: dict[str, Callable[[Job, Path, Random], Outcome]] = {
    "kill at any moment": kill_at_any_moment,
    "kill before a change": kill_before_a_change,
    "interrupt at any moment": interrupt_at_any_moment,
    "interrupt before a change": interrupt_before_a_change,
    "full disk": full_disk,
    "file size limit": file_size_limit,
    "two at once": two_at_once,
    "worker killed": worker_killed,
}


def job_size(folder: Path) -> int:
    """Bytes of a folder's files in whole pages, as a disk counts them."""
    of_files = sum(-(-_size(path) // 4096) * 4096 for path in _files(folder))
    return of_files + 4096 * sum(path.is_dir() for path in folder.rglob("*"))


def _begun(job: Job, root: Path, random: Random, stage: str | None = None) -> tuple[str, Step, Place]:
    stage = stage or random.choices(STAGES, [WEIGHTS[name] for name in STAGES])[0]
    return stage, job.steps[stage], job.steps[stage].before.copied(root)


def _struck(job: Job, root: Path, random: Random, kind: signal.Signals) -> Outcome:
    stage, step, place = _begun(job, root, random)
    for _ in range(random.randint(1, 2)):
        number = random.randrange(len(step.changes))
        ended = run(command_of(stage, place), place.environment, strike(place.root, number, kind))
        if fault := _judged_end(ended, place, step, kind):
            fault_at = step.changes[number].replace(str(step.after.root), "")
            return Outcome(fault.verdict, f"{fault.detail} (before change {number}: {fault_at})")
    return _again(stage, place, step)


def _judged_end(ended: Ended, place: Place, step: Step, kind: signal.Signals) -> Outcome | None:
    """What is wrong with a command that was sent a signal, and with what it leaves behind; None where nothing is."""
    if reason := broke(ended, [kind] if kind == signal.SIGKILL else []):
        return Outcome(Verdict.TRACEBACK, reason)
    if ended.code == 2:
        return Outcome(Verdict.LOST, said(ended))
    if name := half_written(place, step.before.promised(), step.promised):
        return Outcome(Verdict.WRONG, f"{name} is neither old nor new")
    return None


def _judged_room(stage: str, ended: Ended, place: Place, step: Step) -> Outcome | None:
    if reason := broke(ended):
        return Outcome(Verdict.TRACEBACK, f"{stage}: {reason}")
    if name := half_written(place, step.before.promised(), step.promised):
        return Outcome(Verdict.WRONG, f"{stage}: code {ended.code}, {name} is neither old nor new")
    # Planning and training go on without a cache of embeddings where the disk has no room for it.
    results = {name: digest for name, digest in step.promised.items() if "/embeddings/" not in name}
    if ended.code == 0 and (reason := differing(place, results)):
        return Outcome(Verdict.WRONG, f"{stage}: exit 0, {reason}")
    return None


def _again(stage: str, place: Place, step: Step) -> Outcome:
    """Give the command once more: it must end well, with the undisturbed bytes, and nothing may be left over."""
    more = ("--continue_prediction",) if stage in ("predict", "ask") else ()
    ended = run(command_of(stage, place, *more), place.environment)
    if reason := broke(ended):
        return Outcome(Verdict.TRACEBACK, f"{stage} again: {reason}")
    if ended.code:
        return Outcome(Verdict.LOST, f"{stage} again: {said(ended)}")
    if reason := differing(place, step.promised):
        return Outcome(Verdict.WRONG, f"{stage} again: {reason}")
    if stray := place.stray():
        return Outcome(Verdict.STRAY, f"{stage}: {', '.join(stray[:3])}")
    return Outcome(Verdict.HELD, stage)


def _wait(running: Running, seconds: float) -> None:
    until = time.monotonic() + seconds
    while running.poll() is None and time.monotonic() < until:
        time.sleep(0.001)


def _lives(group: int) -> bool:
    """Whether a process of the group lives after ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _size(path: Path) -> int:
    return path.stat().st_size
