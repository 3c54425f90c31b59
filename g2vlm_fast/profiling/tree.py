"""Large searches of the references through scipy's k-d tree, and which of them were close calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference import chamfer as reference_chamfer

_ABOVE_PAIRS = 1 << 26
# Two candidates this close (relative) are the same distance in float32.
_SAME_DISTANCE = 2e-6


@dataclass
class Undecided:
    """Rows of point sets whose answer hangs on a choice between equally near neighbours."""

    _searches: list[tuple[Tensor, Tensor, bool]] = field(default_factory=list)

    def mark(self, points: Tensor, rows: Tensor, *, as_query: bool) -> None:
        """Mark ``rows`` (bool) of ``points``, which may be a slice of a larger set."""
        self._searches.append((points.detach(), rows, as_query))

    def of(self, inputs: Mapping[str, Any], *, queries_only: bool) -> dict[str, Tensor]:
        """Return the marked rows of each input that was searched for or in, by its name."""
        masks: dict[str, Tensor] = {}
        for name, value in inputs.items():
            if not isinstance(value, Tensor) or value.dim() != 2:
                continue
            storage = value.untyped_storage().data_ptr()
            for points, rows, as_query in self._searches:
                if points.untyped_storage().data_ptr() != storage or queries_only > as_query:
                    continue
                mask = masks.setdefault(name, torch.zeros(len(value), dtype=torch.bool))
                begin = points.storage_offset() // points.shape[1]
                mask[begin : begin + len(rows)] |= rows
        return masks


@contextlib.contextmanager
def searching_by_tree(undecided: Undecided) -> Iterator[None]:
    """Let the references of nearest and chamfer search large sets by a tree in this block."""
    backends = _dispatch._TABLE["nearest"]
    held, closest = backends["reference"], reference_chamfer._closest

    def nearest(query: Tensor, target: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        if query.shape[0] * target.shape[0] < _ABOVE_PAIRS:
            result: tuple[Tensor, Tensor] = held.run(query, target, *arguments)
            return result
        return _segments(undecided, query, target, *arguments)

    def closest_by_tree(source: Tensor, target: Tensor) -> Tensor:
        if source.shape[0] * target.shape[0] < _ABOVE_PAIRS:
            return closest(source, target)
        return _search(undecided, source, target, 1, 2)[:, 0]

    backends["reference"] = replace(held, run=nearest)
    reference_chamfer._closest = closest_by_tree
    try:
        yield
    finally:
        backends["reference"] = held
        reference_chamfer._closest = closest


def _segments(
    undecided: Undecided,
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
    *_: Any,
) -> tuple[Tensor, Tensor]:
    """Return what the reference of nearest returns, segment by segment."""
    q_ends = [0, len(query)] if query_offsets is None else query_offsets.tolist()
    t_ends = [0, len(target)] if target_offsets is None else target_offsets.tolist()
    index = torch.full((len(query), k), -1, device=query.device)
    for b in range(len(q_ends) - 1):
        rows, cloud = slice(*q_ends[b : b + 2]), slice(*t_ends[b : b + 2])
        if rows.start < rows.stop and cloud.start < cloud.stop:
            found = _search(undecided, query[rows], target[cloud], k, norm)
            index[rows] = torch.where(found < 0, found, found + cloud.start)
    difference = query[:, None, :] - target[index.clamp_min(0)]
    distance = difference.square().sum(-1) if norm == 2 else difference.abs().sum(-1)
    missing = (index < 0) | ~(distance <= max_distance)
    return distance.masked_fill(missing, torch.inf), index.masked_fill(missing, -1).int()


def _search(undecided: Undecided, query: Tensor, target: Tensor, k: int, norm: int) -> Tensor:
    """Return the index ``[n, k]`` of the nearest targets, -1 where there are fewer."""
    from scipy.spatial import cKDTree

    tree = cKDTree(target.detach().cpu().numpy())
    ranks = range(1, k + 2)
    distance, index = tree.query(query.detach().cpu().numpy(), k=ranks, p=norm, workers=-1)
    value = distance**norm
    with np.errstate(invalid="ignore"):  # infinity less infinity, where neighbours are missing
        close = (np.diff(value, axis=1) <= _SAME_DISTANCE * value[:, :k]).any(axis=1)
    rivals = index[close].ravel()
    wanted = np.zeros(len(target), dtype=bool)
    wanted[rivals[rivals < len(target)]] = True
    undecided.mark(query, torch.from_numpy(close), as_query=True)
    undecided.mark(target, torch.from_numpy(wanted), as_query=False)
    found = np.where(np.isfinite(distance[:, :k]), index[:, :k], -1)
    return torch.from_numpy(found).to(query.device)
