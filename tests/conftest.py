"""What all rooms' tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from console_scripts import Scripts
from warm_server import WarmServer


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Give torch back the threads that it had: what one test sets would change the bytes of those after it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def warm_server() -> Iterator[WarmServer | Scripts]:
    """Starts commands as processes of their own: on Linux without start-up time, elsewhere by their scripts."""
    if sys.platform != "linux":
        yield Scripts()
        return
    with WarmServer() as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that processes end together; tests that need a GPU are skipped without one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and this machine has none"))
