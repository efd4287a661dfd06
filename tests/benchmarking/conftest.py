"""The dataset of `six_cases`, and jobs that run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from six_cases import six_cases

from samunet.benchmarking import choice, machines
from samunet.dataset.paths import Paths


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    six_cases(root)
    return root


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


@contextmanager
def _jobs_here() -> Iterator[None]:
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for module in (choice, machines):
            patch.setattr(module, "in_own_process", lambda work, *arguments: work(*arguments))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def jobs_here() -> Callable[[], AbstractContextManager[None]]:
    """A context in which jobs run in this process, which has torch loaded, instead of one of their own."""
    return _jobs_here


@pytest.fixture
def here() -> Iterator[None]:
    """The whole test is in that context."""
    with _jobs_here():
        yield
