"""A function bound to one input set, as it is checked and as it is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from g2vlm_fast.ops.specs import Inputs


class BoundCall:
    """``function`` on ``inputs``: forward, or forward and backward to ``grad_inputs``.

    The leaves are made once, and so are the gradients that the backward pass starts from: fixed
    random numbers, the same for every provider, unless given.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        grad_inputs: Sequence[str],
        upstream: list[Tensor] | None = None,
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.leaves = {
            name: inputs[name].detach().clone().requires_grad_()
            for name in grad_inputs
            if isinstance(inputs.get(name), Tensor)
        }
        self._with_leaves = {**inputs, **self.leaves}
        self._given = upstream
        self._upstream: list[Tensor] | None = None

    def forward(self) -> list[Tensor]:
        """Return the outputs, without a graph of autograd behind them."""
        with torch.no_grad():
            return tensors(self.function(**self.inputs))

    def bare(self, *, with_grad: bool) -> Callable[[], Any]:
        """Return the call and nothing around it; with the graph of autograd, or without."""
        return partial(self.function, **(self._with_leaves if with_grad else self.inputs))

    def forward_backward(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the outputs, and the gradient of each leaf that the outputs depend on."""
        outputs = tensors(self.function(**self._with_leaves))
        ends = [each for each in outputs if each.requires_grad]
        if not ends:
            raise ValueError("no output carries a gradient")
        if self._upstream is None:
            numbers = self._given or upstream_of([end.shape for end in ends])
            self._upstream = [each.to(end) for each, end in zip(numbers, ends, strict=True)]
        gradients = torch.autograd.grad(
            ends, list(self.leaves.values()), self._upstream, allow_unused=True
        )
        found = zip(self.leaves, gradients, strict=True)
        return outputs, {name: grad for name, grad in found if grad is not None}


def tensors(result: Any) -> list[Tensor]:
    """Return the tensors in what an op returned, in order."""
    return [each for each in pytree.tree_leaves(result) if isinstance(each, Tensor)]


def upstream_of(shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the gradients that a backward pass from outputs of these shapes starts with.

    Drawn on the CPU and rounded to bfloat16, so that they are the very same numbers in every
    precision and on every device.
    """
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(tuple(shape), generator=generator).to(torch.bfloat16) for shape in shapes]


def bytes_of(value: Any) -> int:
    """Return the bytes of the tensors in a container, a record or a graph."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(bytes_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(bytes_of, value))
    return bytes_of(vars(value)) if hasattr(value, "__dict__") else 0
