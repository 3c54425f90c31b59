"""Work beside the training loop changes nothing but when it is done."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest
import torch

from g2vlm_fast.train.beside import made_beside

CPU = torch.device("cpu")


def square(number: int) -> int:
    return number * number


def threads_beside() -> int:
    return sum(thread.name == "made_beside" for thread in threading.enumerate())


def wait_for(number: int, calls: list[int]) -> None:
    deadline = time.monotonic() + 20
    while len(calls) < number and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(calls) == number


def test_the_stream_is_what_the_function_gives_in_order() -> None:
    made = made_beside(square, 3, device=CPU)
    assert list(islice(made, 5)) == [9, 16, 25, 36, 49]


@pytest.mark.parametrize("ahead", [1, 3])
def test_so_many_are_made_ahead_and_no_more(ahead: int) -> None:
    calls: list[int] = []

    def watched(number: int) -> int:
        calls.append(number)
        return number

    made = made_beside(watched, 0, device=CPU, ahead=ahead)
    assert next(made) == 0
    wait_for(ahead + 2, calls)  # one was taken, so many lie ready, and one waits for its place
    time.sleep(0.25)
    assert calls == list(range(ahead + 2))


def test_the_next_is_made_while_this_one_is_used() -> None:
    started = threading.Event()

    def slow(number: int) -> int:
        if number == 1:
            started.set()
        return number

    made = made_beside(slow, 0, device=CPU)
    assert next(made) == 0
    assert started.wait(timeout=20)


def test_an_error_comes_where_it_belongs_and_ends_the_stream() -> None:
    def failing(number: int) -> int:
        if number == 2:
            raise ValueError("room 2 is broken")
        return number

    made = made_beside(failing, 0, device=CPU)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="room 2 is broken"):
        next(made)
    assert threads_beside() == 0


def test_no_thread_is_left_when_the_stream_is_closed() -> None:
    made = made_beside(square, 0, device=CPU, ahead=1)
    next(made)
    assert threads_beside() == 1
    made.close()  # type: ignore[attr-defined]
    assert threads_beside() == 0


def test_nothing_is_made_ahead_of_nobody() -> None:
    with pytest.raises(ValueError, match="ahead"):
        made_beside(square, 0, device=CPU, ahead=0)


@pytest.mark.gpu
def test_the_thread_has_a_stream_of_its_own_that_waits_for_no_other() -> None:
    """The step's stream is busy for a long while; a batch is made in the meantime."""
    device = torch.device("cuda", torch.cuda.current_device())
    stream_of_step = torch.cuda.current_stream()

    def on_gpu(number: int) -> tuple[int, torch.Tensor]:
        value = torch.full((4,), float(number), device=device).cpu()
        return torch.cuda.current_stream().cuda_stream, value

    made = made_beside(on_gpu, 0, device=device, ahead=1)
    next(made)  # CUDA is initialised, memory allocated
    torch.cuda._sleep(int(4e9))  # cycles, two seconds or so
    busy = torch.cuda.Event()
    busy.record()
    stream, value = next(made)
    stream, value = next(made)
    stream, value = next(made)
    assert stream != stream_of_step.cuda_stream
    assert value.tolist() == [3.0] * 4
    assert not busy.query()
