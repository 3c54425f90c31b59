"""Clocks, rounds and medians.

A :class:`Round` is what is timed: a number of calls, one after the other, over several input
sets, so that no call finds its own inputs in the cache. On the GPU a round is replayed as a
CUDA graph where its work can be captured, which takes the launch gaps out.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from g2vlm_fast.profiling.hardware import synchronize

Call = Callable[[], Any]
_CAPTURE_BELOW = 5e-3  # seconds a call: longer ones hide their launches by themselves
_CALLS_A_GRAPH = 32
_MEBIBYTE = 2**20


class DeviceClock:
    """Seconds as the GPU counts them: reading waits for the work that was queued before.

    Each reading is measured from the one before, as the time between two events is a float32.
    """

    def __init__(self) -> None:
        self._last: torch.cuda.Event | None = None
        self._seconds = 0.0

    def __call__(self) -> float:
        now = torch.cuda.Event(enable_timing=True)
        now.record()
        now.synchronize()
        if self._last is not None:
            self._seconds += self._last.elapsed_time(now) / 1e3
        self._last = now
        return self._seconds


def clock_of(device: str) -> Callable[[], float]:
    """Return a clock for work on ``device``."""
    return DeviceClock() if device == "cuda" else time.perf_counter


@dataclass(frozen=True)
class Round:
    """Runs ``calls`` calls; ``method`` says how: "graph", "stream" or "host"."""

    run: Callable[[], None]
    calls: int
    method: str

    def __call__(self) -> None:
        self.run()


@dataclass(frozen=True)
class Plan:
    """How many rounds are timed, how long they may take in all, and how long one call may."""

    seconds: float = 1.0
    max_rounds: int = 100
    round_seconds: float = 2e-3
    limit: float = 30.0

    def rounds(self, seconds_a_round: float) -> int:
        """Return how many rounds are timed: the longer one is, the fewer, down to one."""
        wanted = int(self.seconds / max(seconds_a_round, 1e-9))
        fewest = 5 if seconds_a_round < self.seconds else 3 if seconds_a_round < 5 else 1
        return max(fewest, min(self.max_rounds, wanted))


def build_round(calls: Sequence[Call], device: str, plan: Plan) -> Round:
    """Return a round over ``calls``, one call an input set, long enough for its clock.

    The calls have run before, so compilation is over; here each runs once or twice more. Where
    one call is longer than ``plan.seconds``, a round is one call.
    """
    seconds = _warm(calls, device, plan)
    if seconds > plan.seconds:
        return Round(calls[0], 1, "stream" if device == "cuda" else "host")
    repeats = max(1, math.ceil(plan.round_seconds / (len(calls) * max(seconds, 1e-8))))
    order = [call for _ in range(repeats) for call in calls]
    if device != "cuda":
        return Round(lambda: _run_all(order), len(order), "host")
    if seconds < _CAPTURE_BELOW:
        batch = order[: max(len(calls), _CALLS_A_GRAPH // len(calls) * len(calls))]
        graph = _captured(batch)
        if graph is not None:
            replay = graph.replay
            begin = time.perf_counter()
            replay()
            synchronize(device)
            replays = math.ceil(plan.round_seconds / (time.perf_counter() - begin))
            return Round(lambda: _run_all([replay] * replays), replays * len(batch), "graph")
    return Round(lambda: _run_all(order), len(order), "stream")


def _run_all(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeoutError` in the block once ``seconds`` have passed.

    Native code is not interrupted but at its return. Off the main thread, and where there are no
    timer signals, there is no limit.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not math.isfinite(seconds) or not on_main_thread or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, stop)
    running = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *running)
        signal.signal(signal.SIGALRM, previous)


def _warm(calls: Sequence[Call], device: str, plan: Plan) -> float:
    """Run the calls until they are warm; return the seconds of the fastest run."""
    fastest = math.inf
    for call in [*calls, *calls]:
        synchronize(device)
        begin = time.perf_counter()
        call()
        synchronize(device)
        fastest = min(fastest, time.perf_counter() - begin)
        if fastest > plan.seconds:
            break
    return fastest


def _captured(calls: Sequence[Call]) -> torch.cuda.CUDAGraph | None:
    """Return the calls as one CUDA graph, or None where their work cannot be captured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        calls[0]()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    random = torch.cuda.default_generators[torch.cuda.current_device()]
    random_state = random.clone_state()
    try:
        with torch.cuda.graph(graph, stream=side):
            for call in calls:
                call()  # outputs are freed into the graph's own pool and used again
    except RuntimeError:
        torch.cuda.synchronize()
        random.graphsafe_set_state(random_state)  # a broken capture leaves its own behind
        return None
    graph.replay()
    torch.cuda.synchronize()
    return graph


def seconds_a_call(
    timed: Round, device: str, plan: Plan, statistic: Callable[[Sequence[float]], float]
) -> float:
    """Return the seconds of one call: ``statistic`` of the rounds of ``plan``."""
    clock = clock_of(device)
    enabled = gc.isenabled()
    gc.disable()
    try:
        first = _once(timed, clock)
        samples = [_once(timed, clock) for _ in range(plan.rounds(first))]
    finally:
        if enabled:
            gc.enable()
    return statistic(samples) / timed.calls


def _once(timed: Round, clock: Callable[[], float]) -> float:
    begin = clock()
    timed()
    return clock() - begin


def peak_mebibytes(call: Call, device: str) -> float | None:
    """Return the memory that ``call`` takes at its peak above what was taken before.

    On the GPU this is what torch allocates. On the CPU it is the growth of the resident set,
    which Linux alone reports; None elsewhere.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / _MEBIBYTE
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to the present
        before_kib = _status_kib("VmRSS")
        call()
        return max(0.0, (_status_kib("VmHWM") - before_kib) / 1024)
    except (OSError, AttributeError, KeyError):
        return None


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)


def kernel_launches(call: Call) -> int | None:
    """Return how many kernels (copies and fills included) ``call`` puts on the GPU.

    None where the profiler sees nothing of the GPU.
    """
    activities = [torch.profiler.ProfilerActivity.CUDA]
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        call()
        torch.cuda.synchronize()
    device = torch.autograd.DeviceType.CUDA
    return sum(1 for event in profiler.events() if event.device_type == device) or None
