"""The machine under a measurement: its name, its versions and its two ceilings."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from g2vlm_fast.ops.specs import Cost

_MATRIX = {"cuda": 8192, "cpu": 1024}
_COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}
_REPEATS = 7


@dataclass(frozen=True)
class Ceilings:
    """What the machine reaches on a large copy and on a large matrix product.

    ``bandwidth`` in bytes/s counts bytes read and bytes written; ``flops`` in operations/s.
    """

    bandwidth: float
    flops: float

    def floor_ms(self, cost: Cost) -> float:
        """Return the time below which no implementation of ``cost`` runs much."""
        return 1e3 * max(cost.bytes / self.bandwidth, cost.flops / self.flops)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def device_name(device: str) -> str:
    """Return the name that records carry: the GPU's, or the processor's with its cores."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores"


def host_load() -> str:
    """Say how busy the processor is, this process included; empty where that is unknown."""
    if not hasattr(os, "getloadavg"):
        return ""
    return f"load average of the machine during the run: {os.getloadavg()[0]:.1f}"


def synchronize(device: str) -> None:
    """Wait for all work on ``device``."""
    if device == "cuda":
        torch.cuda.synchronize()


def _median_seconds(run: Callable[[], object], device: str) -> float:
    samples = []
    for repeat in range(_REPEATS + 2):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        if repeat >= 2:
            samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


@cache
def ceilings(device: str, dtype: torch.dtype) -> Ceilings:
    """Measure the ceilings of ``device`` (the second for ``dtype``), once in a process.

    Ops on integers are held against the operations of float32.
    """
    dtype = dtype if dtype.is_floating_point else torch.float32
    return Ceilings(_copy_bandwidth(device), _matrix_flops(device, dtype))


@cache
def _copy_bandwidth(device: str) -> float:
    source = torch.randn(_COPY_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES[device] / _median_seconds(lambda: target.copy_(source), device)


@cache
def _matrix_flops(device: str, dtype: torch.dtype) -> float:
    size = _MATRIX[device]
    matrix = torch.randn(size, size, device=device).to(dtype)
    product = torch.empty_like(matrix)
    seconds = _median_seconds(lambda: torch.mm(matrix, matrix, out=product), device)
    return 2 * size**3 / seconds
