"""What a timed call is held against: the reference in float64, on the very same numbers.

Where the reference would take hours, its nearest neighbours come from scipy's k-d tree in
float64, an independent exact search; all that is built on them stays the reference's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import use_backend
from g2vlm_fast.ops.specs import (
    Inputs,
    OpSpec,
    ops_on,
    output_errors,
    relative_error,
    widen_inputs,
)
from g2vlm_fast.profiling.blocks import channel_blocks, joined_gradients, narrowed
from g2vlm_fast.profiling.calls import BoundCall, upstream_of
from g2vlm_fast.profiling.mesh_tree import searching_meshes_by_tree
from g2vlm_fast.profiling.ties import tied_winners
from g2vlm_fast.profiling.tree import Undecided, searching_by_tree

# Integer outputs of ops that say which neighbour was taken: the input that each belongs to.
_INDEX_OF = {"chamfer": ("x", "y")}


@dataclass(frozen=True)
class Errors:
    """Largest relative L2 errors against float64; ``gradient`` is None for a forward pass."""

    forward: float
    gradient: float | None

    @property
    def largest(self) -> float:
        return max(self.forward, self.gradient or 0.0)


@dataclass(frozen=True)
class Truth:
    """Outputs and gradients in float64.

    Where two neighbours are equally near in float32, either may have been taken: the rows of
    ``indices`` (outputs) and of ``rows`` (gradients, by input) that hang on such a choice are
    marked, and left out on both sides.
    """

    outputs: list[Tensor]
    gradients: dict[str, Tensor]
    upstream: list[Tensor] | None = None
    """What backward passes that are held against ``gradients`` start from, if not the usual."""
    indices: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Mapping[str, Tensor] = field(default_factory=dict)

    def errors(
        self,
        spec: OpSpec,
        inputs: Inputs,
        outputs: list[Tensor],
        gradients: dict[str, Tensor] | None,
        *,
        partial: bool = False,
    ) -> Errors:
        """Hold the result of a call on ``inputs`` against the truth.

        Args:
            spec: the op.
            inputs: of the call.
            outputs: of the call.
            gradients: of the call, by input; None for a forward pass.
            partial: accept a call that gives the first outputs only, as some peers do.
        """
        expected = self.outputs[: len(outputs)] if partial and outputs else self.outputs
        forward = output_errors(
            spec,
            inputs,
            self._decided_outputs(spec, outputs),
            self._decided_outputs(spec, expected),
        )
        worst = max(forward, default=float("inf"))
        if gradients is None:
            return Errors(worst, None)
        if gradients.keys() != self.gradients.keys():
            return Errors(worst, float("inf"))
        backward = [
            relative_error(_without(mask, gradients[name]), _without(mask, truth))
            for name, truth in self.gradients.items()
            for mask in (self.rows.get(name),)
        ]
        return Errors(worst, max(backward, default=float("inf")))

    def _decided_outputs(self, spec: OpSpec, outputs: list[Tensor]) -> list[Tensor]:
        names = iter(_INDEX_OF.get(spec.op, ()))
        return [
            each if each.is_floating_point() else _without(self.indices.get(next(names, "")), each)
            for each in outputs
        ]


def _without(mask: Tensor | None, rows: Tensor) -> Tensor:
    if mask is None or mask.shape != rows.shape[:1]:
        return rows
    return rows[~mask.to(rows.device)]


@contextlib.contextmanager
def on_reference(spec: OpSpec) -> Iterator[None]:
    """Run ``spec`` on the reference inside the block, backward included.

    Autograd's device threads do not see the caller's choice, so the backward pass stays on the
    caller's thread.
    """
    ops = ops_on(spec, "reference")
    with (
        torch.autograd.set_multithreading_enabled(False),
        use_backend("reference", *ops) if ops else contextlib.nullcontext(),
    ):
        yield


def find_truth(spec: OpSpec, inputs: Inputs, *, gradients: bool) -> Truth:
    """Return the truth of ``spec`` for the numbers in ``inputs``."""
    function: Callable[..., Any] = spec.reference or spec.function
    wide = widen_inputs(inputs)
    undecided = Undecided()
    blocks = channel_blocks(spec.op, wide)
    upstream = _untied_upstream(spec.op, wide) if gradients else None
    with on_reference(spec), searching_by_tree(undecided), searching_meshes_by_tree(undecided):
        if len(blocks) > 1:
            return _truth_by_blocks(spec, function, wide, blocks, gradients, upstream)
        call = BoundCall(function, wide, spec.grad_inputs, upstream)
        outputs, found = call.forward_backward() if gradients else (call.forward(), {})
    points = call.leaves if gradients else call.inputs
    return Truth(
        [each.detach() for each in outputs],
        found,
        upstream,
        undecided.of(points, queries_only=True),
        undecided.of(points, queries_only=False),
    )


def _untied_upstream(op: str, inputs: Inputs) -> list[Tensor] | None:
    ties = tied_winners(op, inputs)
    if ties is None:
        return None
    (numbers,) = upstream_of([ties.shape])
    return [numbers.to(ties.device).masked_fill_(ties, 0)]


def _truth_by_blocks(
    spec: OpSpec,
    function: Callable[..., Any],
    inputs: Inputs,
    blocks: list[slice],
    gradients: bool,
    upstream: list[Tensor] | None,
) -> Truth:
    parts: list[Tensor] = []
    for block in blocks:
        call = BoundCall(function, narrowed(spec.op, inputs, block), ())
        (part,) = call.forward()
        parts.append(part)
    out = torch.cat(parts, 1)
    if not gradients:
        return Truth([out], {})
    (numbers,) = upstream or upstream_of([out.shape])
    found = []
    for block in blocks:
        start = [numbers[:, block].to(out)]
        call = BoundCall(function, narrowed(spec.op, inputs, block), spec.grad_inputs, start)
        found.append(call.forward_backward()[1])
    return Truth([out], joined_gradients(spec.op, found), upstream)
