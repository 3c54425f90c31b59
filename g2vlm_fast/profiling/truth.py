"""What a timed call is held against: the reference in float64, on the very same numbers.

Where the reference would take days, nearest neighbours come from scipy's k-d tree in float64,
an independent exact search; all that is built on them stays the reference's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.specs import Inputs, OpSpec, output_errors, relative_error, widen_inputs
from g2vlm_fast.profiling.calls import BoundCall

_TREE_ABOVE_PAIRS = 1 << 26
# Two candidates this close (relative, in squared distance) are the same distance in float32.
_SAME_DISTANCE = 2e-6


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

    ``undecided`` masks rows of gradients that hang on which of two equally near neighbours was
    taken; they are left out on both sides.
    """

    outputs: list[Tensor]
    gradients: dict[str, Tensor]
    undecided: Mapping[str, Tensor] = field(default_factory=dict)

    def errors(
        self,
        spec: OpSpec,
        inputs: Inputs,
        outputs: list[Tensor],
        gradients: dict[str, Tensor] | None,
    ) -> Errors:
        """Hold the result of a call on ``inputs`` against the truth."""
        forward = max(output_errors(spec, inputs, outputs, self.outputs), default=float("inf"))
        if gradients is None:
            return Errors(forward, None)
        if gradients.keys() != self.gradients.keys():
            return Errors(forward, float("inf"))
        return Errors(
            forward,
            max(
                relative_error(self._decided(name, grad), self._decided(name, truth))
                for (name, truth) in self.gradients.items()
                for grad in (gradients[name],)
            ),
        )

    def _decided(self, name: str, gradient: Tensor) -> Tensor:
        mask = self.undecided.get(name)
        if mask is None or mask.shape != gradient.shape[:1]:
            return gradient
        return gradient[~mask.to(gradient.device)]


def on_reference(spec: OpSpec) -> contextlib.ExitStack:
    """Return a context in which ``spec`` runs on the reference, backward included.

    Autograd's device threads do not see the caller's context, so the backward pass stays on the
    caller's thread.
    """
    ops = [op for op in spec.registered if "reference" in _dispatch.table()[op]]
    stack = contextlib.ExitStack()
    stack.enter_context(torch.autograd.set_multithreading_enabled(False))
    stack.enter_context(_dispatch.use_backend("reference", *ops))
    return stack


def find_truth(spec: OpSpec, inputs: Inputs, *, gradients: bool) -> Truth:
    """Return the truth of ``spec`` for the numbers in ``inputs``."""
    function: Callable[..., Any] = spec.reference or spec.function
    call = BoundCall(function, widen_inputs(inputs), spec.grad_inputs)
    searches: list[_Search] = []
    with on_reference(spec), _by_tree(searches):
        if not gradients:
            return Truth(call.forward(), {})
        outputs, found = call.forward_backward()
    outputs = [each.detach() for each in outputs]
    return Truth(outputs, found, _undecided_rows(searches, call.leaves))


@dataclass(frozen=True)
class _Search:
    """Which rows of a search's queries and targets depend on a choice between equals."""

    query: Tensor
    target: Tensor
    queries: Tensor  # [n] bool
    targets: Tensor  # [m] bool


def _undecided_rows(searches: list[_Search], leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    masks: dict[str, Tensor] = {}
    for name, leaf in leaves.items():
        for search in searches:
            for points, rows in ((search.query, search.queries), (search.target, search.targets)):
                if points.data_ptr() == leaf.data_ptr() and points.shape == leaf.shape:
                    masks[name] = rows | masks.get(name, torch.zeros_like(rows))
    return masks


@contextlib.contextmanager
def _by_tree(searches: list[_Search]) -> Iterator[None]:
    """Let large searches of the reference go through a k-d tree."""
    backends = _dispatch._TABLE["nearest"]
    held = backends["reference"]

    def run(query: Tensor, target: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        if query.shape[0] * target.shape[0] < _TREE_ABOVE_PAIRS:
            result: tuple[Tensor, Tensor] = held.run(query, target, *arguments)
            return result
        distance, index, search = _tree_search(query, target, *arguments)
        searches.append(search)
        return distance, index

    backends["reference"] = replace(held, run=run)
    try:
        yield
    finally:
        backends["reference"] = held


def _tree_search(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor, _Search]:
    from scipy.spatial import cKDTree

    points, cloud = query.detach().cpu().numpy(), target.detach().cpu().numpy()
    distance = np.full((len(points), k + 1), np.inf)
    index = np.full((len(points), k + 1), -1, dtype=np.int64)
    q_bounds = [0, len(points)] if query_offsets is None else query_offsets.tolist()
    t_bounds = [0, len(cloud)] if target_offsets is None else target_offsets.tolist()
    for b in range(len(q_bounds) - 1):
        rows = slice(*q_bounds[b : b + 2])
        first, last = t_bounds[b : b + 2]
        if rows.stop == rows.start or first == last:
            continue
        tree = cKDTree(cloud[first:last])
        near, slot = tree.query(points[rows], k=range(1, k + 2), p=norm, workers=-1)
        distance[rows] = near
        index[rows] = np.where(np.isfinite(near), slot + first, -1)
    value = distance**2 if norm == 2 else distance
    with np.errstate(invalid="ignore"):  # infinity less infinity, where neighbours are missing
        close = (np.diff(value, axis=1) <= _SAME_DISTANCE * value[:, :k]).any(axis=1)
    targets = np.zeros(len(cloud), dtype=bool)
    named = index[close].ravel()
    targets[named[named >= 0]] = True
    missing = ~(value[:, :k] <= max_distance)
    found = np.where(missing, -1, index[:, :k])
    search = _Search(query, target, torch.from_numpy(close), torch.from_numpy(targets))
    best = torch.from_numpy(found).to(query.device)
    return _exact_distance(query, target, best, norm), best.int(), search


def _exact_distance(query: Tensor, target: Tensor, index: Tensor, norm: int) -> Tensor:
    """Return the distances of the named pairs; infinite where none is named."""
    difference = query[:, None, :] - target[index.clamp_min(0)]
    value = difference.square().sum(-1) if norm == 2 else difference.abs().sum(-1)
    return value.masked_fill(index < 0, torch.inf)
