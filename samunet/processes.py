"""Several processes that train one network together: sums over all of them, whole batches of all of them.

Every function does nothing special where there is one process alone, so losses and the loop have one form.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, distributed

from samunet.errors import UserError

T = TypeVar("T")

# How long processes wait for each other: one may register or encode all cases, for hours, while the others wait at a
# barrier. PyTorch's own 10 or 30 minutes would end the run there; torchrun ends them all where one has failed.
PATIENCE = timedelta(days=7)


class Sliceable(Protocol):
    """Rows of a batch."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice, /) -> Any: ...


Rows = TypeVar("Rows", bound=Sliceable)


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Within the block this process is one of those that torchrun started, if it was.

    Gives the device that is its own.
    """
    if "RANK" not in os.environ:
        yield device
        return
    card = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if device.startswith("cuda") else None
    if card is not None:
        # Barriers and broadcasts of objects go through the current card, which must be the process' own.
        torch.cuda.set_device(card)
    distributed.init_process_group("gloo" if card is None else "nccl", timeout=PATIENCE, device_id=card)
    try:
        yield device if card is None else str(card)
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process' number, from 0."""
    return distributed.get_rank() if is_distributed() else 0


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if is_distributed() else 1


def is_distributed() -> bool:
    """Whether this process is one of several."""
    return distributed.is_available() and distributed.is_initialized()


def total(value: Tensor) -> Tensor:
    """The sum of `value` over all processes, through which gradients flow to all of them.

    A loss made of such sums is the whole batch's loss in every process, and the mean over the processes of their
    gradients, which DDP takes, is the whole batch's gradient.
    """
    return _Total.apply(value) if is_distributed() else value


class _Total(torch.autograd.Function):
    """Sum over processes, forth and back; torch's own function for it is deprecated, and its successor private."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        """The sum."""
        summed = value.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """The gradients' sum."""
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        return summed


def gathered(rows: Tensor) -> Tensor:
    """The whole batch (N, ...) of rows that were dealt by `local_rows`, in the batch's order; gradients flow."""
    if not is_distributed():
        return rows
    batch = rows.new_zeros(len(rows) * count(), *rows.shape[1:])
    batch[rank() :: count()] = rows
    return total(batch)


def local_rows(rows: Rows) -> Rows:
    """This process' rows of a batch (N, ...): every count()-th, from rank() on.

    Raises:
        UserError: the batch cannot be dealt evenly.
    """
    require_even(len(rows))
    return rows[rank() :: count()]


def require_even(samples: int) -> None:
    """Refuse a batch of so many samples that `local_rows` could not deal.

    Raises:
        UserError: the number of processes does not divide it.
    """
    if samples % count():
        raise UserError("A batch must be dealt evenly to the processes.", where="-num_gpus",
                        found=f"{samples} samples, {count()} processes", mend="Choose a number that divides the batch.")


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, in all of them; the others do not call it."""
    if not is_distributed():
        return make()
    held = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(held)
    return cast(T, held[0])


def rank0_first(make: Callable[[], T]) -> T:
    """Call `make` in the first process, then in all others, which find the files that it wrote."""
    if rank() == 0:
        result = make()
        wait_for_all()
        return result
    wait_for_all()
    return make()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if is_distributed():
        distributed.barrier()
