"""Plain-torch truth of :func:`g2vlm_fast.ops.chamfer_distance`: loops over segments, all pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from g2vlm_fast.ops.chamfer import ChamferResult
from g2vlm_fast.ops.reference.nearest import segment_bounds

_ROWS = 1 << 10


def chamfer_distance(
    x: Tensor,
    y: Tensor,
    *,
    x_offsets: Tensor | None = None,
    y_offsets: Tensor | None = None,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
    x_normals: Tensor | None = None,
    y_normals: Tensor | None = None,
    squared: bool = True,
    robust: str | None = None,
    scale: float | None = None,
    one_sided: bool = False,
    reduction: str = "mean",
    fscore_at: Sequence[float] = (),
) -> ChamferResult:
    """Return the same as the op, for segments of finite points."""
    sides = [(x, y, x_weights, x_normals, y_normals)]
    bounds = [
        list(pair)
        for pair in zip(
            segment_bounds(x_offsets, x.shape[0]),
            segment_bounds(y_offsets, y.shape[0]),
            strict=True,
        )
    ]
    if not one_sided:
        sides.append((y, x, y_weights, y_normals, x_normals))
    has_normals = x_normals is not None
    indices, terms, tilts, means, tilt_means, peaks, near = [], [], [], [], [], [], []
    for side, (source, target, weights, normals, others) in enumerate(sides):
        weights = torch.ones_like(source[:, 0]) if weights is None else weights
        for pair in bounds:
            (begin, end), (first, last) = pair if side == 0 else reversed(pair)
            index = _closest(source[begin:end], target[first:last])
            indices.append(torch.where(index < 0, index, index + first).int())
            rows = slice(begin, end)
            if index.numel() == 0 or first == last:
                term = tilt = torch.zeros_like(weights[rows])
                distance = torch.full_like(term, torch.inf)
            else:
                difference = source[rows] - target[first:last][index]
                distance = _length(difference)
                term = weights[rows] * _penalty(difference, squared, robust, scale)
                tilt = torch.zeros_like(term)
                if normals is not None and others is not None:
                    a, b = normals[rows], others[first:last][index]
                    cosine = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))
                    tilt = weights[rows] * (1 - cosine.abs())
                total = weights[rows].sum()
                means.append(term.sum() / total if total != 0 else term.sum() * 0)
                tilt_means.append(tilt.sum() / total if total != 0 else tilt.sum() * 0)
                peaks.append(term.max())
            terms.append(term)
            tilts.append(tilt)
            near.append([(distance < radius).double().mean() for radius in fscore_at])
    compared = max(1, len(means) // len(sides))

    def reduce(values: list[Tensor], segment_means: list[Tensor]) -> Tensor:
        if reduction == "none":
            return torch.cat(values)
        if reduction == "sum":
            return torch.cat(values).sum()
        if not segment_means:
            return (x.sum() + y.sum()) * 0
        if reduction == "max":
            sides_of_a_segment = torch.stack(peaks).view(len(sides), -1)
            return sides_of_a_segment.amax(0).mean()
        return torch.stack(segment_means).sum() / compared

    index = torch.cat(indices)
    return ChamferResult(
        loss=reduce(terms, means),
        normal_loss=reduce(tilts, tilt_means) if has_normals else None,
        fscore=_fscore(near, x) if fscore_at else None,
        x_index=index[: x.shape[0]],
        y_index=None if one_sided else index[x.shape[0] :],
    )


def _closest(source: Tensor, target: Tensor) -> Tensor:
    """Return the index of the nearest target, the first among equals; -1 without targets."""
    if target.shape[0] == 0:
        return torch.full(source.shape[:1], -1, device=source.device)
    found = [
        (rows[:, None, :] - target[None, :, :]).square().sum(-1).sort(dim=1, stable=True)
        for rows in source.detach().split(_ROWS)
    ]
    return torch.cat([order.indices[:, 0] for order in found])


def _length(difference: Tensor) -> Tensor:
    """Return vector lengths with gradient 0 at 0."""
    square = difference.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def _penalty(difference: Tensor, squared: bool, robust: str | None, scale: float | None) -> Tensor:
    r = _length(difference)
    if robust is None:
        return difference.square().sum(-1) if squared else r
    assert scale is not None
    if robust == "truncated":
        return r.clamp_max(scale) ** (2 if squared else 1)
    if robust == "geman_mcclure":
        value = scale**2 * r**2 / (scale**2 + r**2)
        return value if squared else value / scale
    value = torch.where(r <= scale, r**2, 2 * scale * r - scale**2)
    return value if squared else value / (2 * scale)


def _fscore(near: list[list[Tensor]], x: Tensor) -> Tensor:
    fractions = torch.tensor(near, dtype=x.dtype).nan_to_num(0).view(2, -1, len(near[0]))
    precision, recall = fractions
    total = precision + recall
    return torch.where(total > 0, 2 * precision * recall / total, 0).to(x.device)
