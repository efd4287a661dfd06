"""What a call of the Python API uses where nothing is said."""

from __future__ import annotations

import pytest

from samunet.api.defaults import processes
from samunet.errors import UserError


@pytest.mark.parametrize("workers", [0, -2])
def test_fewer_than_one_process_is_refused(workers: int) -> None:
    assert processes(1) == 1 and 1 <= processes(None) <= 8
    with pytest.raises(UserError, match="must be 1 or more") as refused:
        processes(workers)
    assert refused.value.found == str(workers)
