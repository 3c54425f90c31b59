"""What the points of a Chamfer distance pay, and how that is summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from g2vlm_fast.ops._segments import Segments

ROBUST = (None, "huber", "geman_mcclure", "truncated")


@dataclass(frozen=True)
class Direction:
    """One cloud on its way to the other."""

    segments: Segments
    weights: Tensor | None
    comparable: Tensor | None  # [B] bool, both clouds have points; None for the only segment

    def matched(self, values: Tensor) -> Tensor:
        """Return per-point ``values`` with 0 in segments that have nothing to compare."""
        if self.comparable is None:
            return values
        return torch.where(self.segments.rows(self.comparable), values, 0)

    def weighted(self, values: Tensor) -> Tensor:
        """Return per-point ``values`` times the weights."""
        return values if self.weights is None else values * self.weights

    def total_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the sum of the weights of each segment, ``[B]``."""
        if self.weights is None:
            return self.segments.count.to(dtype)
        return self.segments.sum(self.weights)

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean of per-point ``values`` over each segment, ``[B]``."""
        if self.weights is None and self.comparable is None:
            return values.mean(0, keepdim=True)
        total = self.total_weight(values.dtype)
        weightless = total == 0
        return torch.where(
            weightless,
            0,
            self.segments.sum(self.weighted(values)) / total.masked_fill(weightless, 1),
        )

    def max(self, values: Tensor) -> Tensor:
        """Return the largest weighted value of each segment, ``[B]``."""
        return self.segments.max(self.weighted(values))


def directions_of(
    points: list[Tensor],
    y_length: int,
    offsets: tuple[Tensor | None, Tensor | None],
    weights: tuple[Tensor | None, Tensor | None],
) -> list[Direction]:
    """Return a direction for each of ``points``, which hold a row for every point of x, then of y.

    ``y_length`` is the number of rows of y, which need not be among them.
    """
    lengths = (points[0].shape[0], y_length)
    rows = [
        Segments(each, length, points[0].device)
        for each, length in zip(offsets, lengths, strict=True)
    ]
    comparable = None
    if any(each is not None for each in offsets) or not all(lengths):
        comparable = (rows[0].count > 0) & (rows[1].count > 0)
    pairs = zip(rows, weights, strict=True)
    return [Direction(segments, weight, comparable) for segments, weight in pairs][: len(points)]


def reduce_terms(directions: list[Direction], values: list[Tensor], reduction: str) -> Tensor:
    """Reduce the per-point ``values`` of each direction as :func:`chamfer_distance` says."""
    pairs = list(zip(directions, values, strict=True))
    if reduction == "none":
        return torch.cat([direction.weighted(each) for direction, each in pairs])
    if reduction == "sum":
        return torch.stack([direction.weighted(each).sum() for direction, each in pairs]).sum()
    comparable = directions[0].comparable
    if reduction == "mean":
        losses = torch.stack([direction.mean(each) for direction, each in pairs]).sum(0)
    else:
        losses = torch.stack([direction.max(each) for direction, each in pairs]).amax(0)
    if comparable is None:
        return losses.squeeze(0)
    return torch.where(comparable, losses, 0).sum() / comparable.sum().clamp_min(1)


def penalty(square: Tensor, squared: bool, robust: str | None, scale: float | None) -> Tensor:
    """Return the penalty of squared distances, by the table of :func:`chamfer_distance`."""
    if robust is None:
        return square if squared else _safe_sqrt(square)
    assert scale is not None
    if robust == "truncated":
        bound = square.clamp_max(scale * scale)
        return bound if squared else _safe_sqrt(bound)
    if robust == "geman_mcclure":
        bounded = square / (1 + square / (scale * scale))
        return bounded if squared else bounded / scale
    distance = _safe_sqrt(square)
    huber = torch.where(distance <= scale, square, (2 * distance - scale) * scale)
    return huber if squared else huber / (2 * scale)


def penalty_slope(square: Tensor, squared: bool, robust: str | None, scale: float | None) -> Tensor:
    """Return the derivative of :func:`penalty` in the squared distance."""
    root = _safe_sqrt(square)
    root_slope = torch.where(root == 0, 0, 0.5 / root)
    if robust is None:
        return torch.ones_like(square) if squared else root_slope
    assert scale is not None
    if robust == "truncated":
        inside = torch.ones_like(square) if squared else root_slope
        return torch.where(square > scale * scale, 0, inside)
    if robust == "geman_mcclure":
        slope = (1 + square / (scale * scale)) ** -2
        return slope if squared else slope / scale
    slope = torch.where(root <= scale, 1, 2 * scale * root_slope)
    return slope if squared else slope / (2 * scale)


def _safe_sqrt(square: Tensor) -> Tensor:
    """Return the square root with gradient 0 at 0."""
    zero = square == 0
    return torch.where(zero, 0, square.masked_fill(zero, 1).sqrt())


def misalignment(normals: Tensor, others: Tensor, index: Tensor) -> Tensor:
    """Return ``1 - |cos|`` between each normal and that of its neighbour, 0 without one."""
    missing = index < 0
    if others.shape[0] == 0:
        return normals.new_zeros(index.shape)
    paired = others[index.clamp_min(0).long()]
    cosine = functional.cosine_similarity(normals, paired, dim=-1)
    return (1 - cosine.abs()).masked_fill(missing, 0)


def fscore(directions: list[Direction], distances: list[Tensor], radii: Sequence[float]) -> Tensor:
    """Return the F-scores ``[B, radii]`` from the squared distances of both directions."""
    fractions = []
    for direction, distance in zip(directions, distances, strict=True):
        near = torch.stack([distance.detach() < radius * radius for radius in radii], dim=-1)
        count = direction.segments.count.clamp_min(1).unsqueeze(-1)
        fractions.append(direction.segments.sum(near.to(distance.dtype)) / count)
    precision, recall = fractions
    total = precision + recall
    return 2 * precision * recall / total.masked_fill(total == 0, 1)
