"""What the drop-in for torch_scatter costs beside torch's own ways to reduce by index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.compat import torch_scatter
from g2vlm_fast.ops.specs import Cost, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.profiling.providers import Function, NotOffered, Provider


def _scatter(src: Tensor, index: Tensor, size: int, reduce: str) -> Tensor:
    return torch_scatter.scatter(src, index, 0, dim_size=size, reduce=reduce)


def _plain(src: Tensor, index: Tensor, size: int, reduce: str) -> Tensor:
    if reduce == "sum":
        return src.new_zeros(size, src.shape[1]).index_add_(0, index, src)
    ordered, order = index.sort(stable=True)
    lengths = ordered.bincount(minlength=size)
    found = torch.segment_reduce(src[order], reduce, lengths=lengths, axis=0)
    return torch.where(lengths[:, None] > 0, found, 0)


def _messages(rows: int, degree: int, channels: int, reduce: str) -> InputFactory:
    """``degree`` messages for each row on average, in random order."""

    def make(generator: torch.Generator) -> Inputs:
        index = torch.randint(0, rows, (rows * degree,), generator=generator)
        src = torch.randn(rows * degree, channels, generator=generator)
        return {"src": src, "index": index, "size": rows, "reduce": reduce}

    return make


def _cost(inputs: Inputs) -> Cost:
    src, size = inputs["src"], inputs["size"]
    moved = (src.shape[0] + size) * src.shape[1] * src.element_size()
    return Cost(moved + inputs["index"].nbytes, src.numel())


SCATTER = OpSpec(
    op="torch_scatter",
    kernels=("graph_reduce", "graph_reduce_backward"),
    function=_scatter,
    reference=_plain,
    small={"sum": _messages(20, 4, 5, "sum"), "max": _messages(20, 4, 8, "max")},
    timed={
        "scatter_sum_6M": _messages(1_000_000, 6, 128, "sum"),
        "scatter_max_6M": _messages(1_000_000, 6, 128, "max"),
        "cpu_scatter_sum_600k": _messages(100_000, 6, 32, "sum"),
        "cpu_scatter_max_600k": _messages(100_000, 6, 32, "max"),
    },
    grad_inputs=("src",),
    tolerance={torch.float32: Tolerance(2e-6, 2e-6), torch.float64: Tolerance(1e-13, 1e-13)},
    cost=_cost,
    suite="graph",
)


def _index_add(inputs: Inputs) -> Function:
    if inputs["reduce"] != "sum":
        raise NotOffered("it has sums only")

    def scatter(src: Tensor, index: Tensor, size: int, **_: Any) -> Tensor:
        return src.new_zeros(size, src.shape[1]).index_add(0, index, src)

    return scatter


def _scatter_reduce(inputs: Inputs) -> Function:
    reduce = {"sum": "sum", "max": "amax"}[inputs["reduce"]]

    def scatter(src: Tensor, index: Tensor, size: int, **_: Any) -> Tensor:
        into = src.new_zeros(size, src.shape[1])
        spread = index[:, None].expand_as(src)
        return into.scatter_reduce(0, spread, src, reduce, include_self=reduce == "sum")

    return scatter


def _original(inputs: Inputs) -> Function:
    from torch_scatter import scatter as original

    def scatter(src: Tensor, index: Tensor, size: int, reduce: str) -> Tensor:
        out: Tensor = original(src, index, 0, dim_size=size, reduce=reduce)
        return out

    return scatter


PEERS = (
    Provider("torch.index_add", {"torch_scatter": _index_add}),
    Provider("torch.scatter_reduce", {"torch_scatter": _scatter_reduce}),
    Provider("torch_scatter", {"torch_scatter": _original}, ("torch_scatter",)),
)
