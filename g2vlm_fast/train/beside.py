"""Work beside the training loop: what the next steps need is made while this one computes."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

_LOOK_UP = 0.1  # seconds after which a thread that waits looks whether it is still needed


def made_beside(
    make: Callable[[int], T], index: int, *, device: torch.device, ahead: int = 4
) -> Iterator[T]:
    """Return the endless stream ``make(index)``, ``make(index + 1)``, ..., made by a thread.

    The stream is the same as without a thread. On a GPU, the thread launches its work on a stream
    of the device of its own, which does not wait for that of the training step, nor it for this.

    Args:
        make: is called by one thread alone, and must leave no work on the GPU unfinished.
        index: where the stream begins.
        device: that ``make`` computes on.
        ahead: how many are made before they are asked for.

    Raises:
        What ``make`` raises, when the stream comes to it.
    """
    if ahead < 1:
        raise ValueError(f"made_beside: ahead must be at least 1, got {ahead}")
    return _taken(make, index, device, ahead)


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _taken(make: Callable[[int], T], index: int, device: torch.device, ahead: int) -> Iterator[T]:
    made: queue.Queue[T | _Failure] = queue.Queue(ahead)
    ended = threading.Event()
    arguments = (make, index, device, made, ended)
    thread = threading.Thread(target=_work, args=arguments, name="made_beside", daemon=True)
    thread.start()
    try:
        while True:
            one = made.get()
            if isinstance(one, _Failure):
                raise one.error
            yield one
    finally:
        ended.set()
        thread.join()


def _work(
    make: Callable[[int], T],
    index: int,
    device: torch.device,
    made: queue.Queue[T | _Failure],
    ended: threading.Event,
) -> None:
    torch.set_num_threads(1)  # of this thread: others would wait for the cores of the step
    one: T | _Failure
    with _stream_of_its_own(device):
        for number in itertools.count(index):
            try:
                one = make(number)
            except BaseException as error:  # is raised again where the stream is read
                one = _Failure(error)
            if not _put(made, one, ended) or isinstance(one, _Failure):
                return


def _put(made: queue.Queue[T | _Failure], one: T | _Failure, ended: threading.Event) -> bool:
    while not ended.is_set():
        with contextlib.suppress(queue.Full):
            made.put(one, timeout=_LOOK_UP)
            return True
    return False


def _stream_of_its_own(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))
