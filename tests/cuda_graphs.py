"""Steps captured in CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

Result = TypeVar("Result")


def capture(
    step: Callable[[], Result],
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[Result, Result, torch.cuda.CUDAGraph]:
    """Run a step on a side stream, as a capture wants it, then capture it inside ``around``.

    Returns what the run gave, what every replay fills, and the graph.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        eager = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with around(), torch.cuda.graph(graph):
        captured = step()
    return eager, captured, graph
