"""Chamfer distance and F-score of packed point sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._chamfer_loss import chamfer_loss
from g2vlm_fast.ops._chamfer_terms import (
    ROBUST,
    directions_of,
    fscore,
    misalignment,
    penalty,
    reduce_terms,
)
from g2vlm_fast.ops._checks import (
    check_choice,
    check_flag,
    check_number,
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._nearest_backends import METHODS
from g2vlm_fast.ops.nearest import nearest
from g2vlm_fast.ops.nearest_pair import nearest_pair

REDUCTIONS = ("mean", "sum", "max", "none")


@dataclass(frozen=True)
class ChamferResult:
    """What :func:`chamfer_distance` returns."""

    loss: Tensor  # scalar, or [n + m] for reduction "none" ([n] where one-sided)
    normal_loss: Tensor | None  # same shape; None without normals
    fscore: Tensor | None  # [B, radii] in [0, 1]; None without radii
    x_index: Tensor  # [n] int32, nearest y of each x, -1 = none
    y_index: Tensor | None  # [m] int32, nearest x of each y; None where one-sided


pytree.register_dataclass(ChamferResult)


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
    method: str = "auto",
) -> ChamferResult:
    r"""Measure how far two packed point sets lie from each other, segment by segment.

    With ``r_i = min_j |x_i - y_j|`` over the points of the same segment, weights ``w`` and a
    penalty ``p``, the loss of a segment is

    .. math:: \frac{\sum_i w_i p(r_i)}{\sum_i w_i} + \frac{\sum_j w_j p(r_j)}{\sum_j w_j}

    (Fan, Su and Guibas, "A Point Set Generation Network", CVPR 2017, with means for sums), or
    its first term where ``one_sided``. The penalty with scale ``s`` (Huber, 1964; Geman and
    McClure, 1987) is

    =================  ==========================================  ==============================
    ``robust``         ``squared`` (square metres)                 otherwise (metres)
    =================  ==========================================  ==============================
    None               ``r^2``                                     ``r``
    ``huber``          ``r^2`` where ``r <= s``, else ``2sr-s^2``  the square's over ``2s``
    ``geman_mcclure``  ``s^2 r^2 / (s^2 + r^2)``                   the square's over ``s``
    ``truncated``      ``min(r^2, s^2)``                           ``min(r, s)``
    =================  ==========================================  ==============================

    Args:
        x: ``[n, D]`` float16, bfloat16, float32 or float64, metres.
        y: ``[m, D]``, same dtype and device.
        x_offsets: ``[B + 1]`` int32 segments of x; None for one segment.
        y_offsets: ``[B + 1]`` int32 segments of y.
        x_weights: ``[n]``, at least 0; None for ones.
        y_weights: ``[m]``.
        x_normals: ``[n, D]``; with ``y_normals`` asks for the normal loss, the same mean (sum)
            of ``1 - |cos|`` between the normals of each point and of its nearest neighbour.
        y_normals: ``[m, D]``.
        squared: penalise squared distances; otherwise distances, with gradient 0 at 0.
        robust: None, ``"huber"``, ``"geman_mcclure"`` or ``"truncated"``.
        scale: the scale of ``robust``, metres; required with it.
        one_sided: from x to y only.
        reduction: ``"mean"``: per segment as above, then the mean over the segments.
            ``"sum"``: the sum of ``w p`` over all points. ``"max"``: the largest ``w p`` of a
            segment in either direction (the Hausdorff distance), then the mean over segments.
            ``"none"``: ``w p`` of every point, x first.
        fscore_at: radii in metres. The F-score at a radius is the harmonic mean of the
            unweighted fractions of x closer than it to y (precision) and of y closer than it to
            x (recall) (Knapitsch et al., "Tanks and Temples", 2017); it carries no gradient.
        method: how neighbours are searched for, as in :func:`nearest`; the result is the same.

    Returns:
        A :class:`ChamferResult`; losses are float32 for half-precision points.

    A segment where x or y is empty has no distance: it adds nothing to the loss, is left out of
    the mean over segments, and has F-score 0; without any other segment the loss is 0. A
    direction whose weights sum to 0 adds 0. A NaN coordinate makes the loss NaN. Differentiable
    in x, y, weights and normals.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    _check_points(x, y, x_offsets, y_offsets, x_weights, y_weights, x_normals, y_normals)
    _check_options(robust, squared, one_sided, reduction, x_normals is not None, method)
    scale, fscore_at = _checked_lengths(x.dtype, robust, scale, one_sided, fscore_at)
    if x.dtype in (torch.float16, torch.bfloat16):  # once, so that gradients add up in float32
        x, y = x.float(), y.float()
        x_weights, y_weights, x_normals, y_normals = (
            None if each is None else each.float()
            for each in (x_weights, y_weights, x_normals, y_normals)
        )
    if one_sided:
        distance, index = nearest(
            x, y, query_offsets=x_offsets, target_offsets=y_offsets, method=method
        )
        distances, indices = [distance[:, 0]], [index[:, 0]]
    else:
        x_distance, x_index, y_distance, y_index = nearest_pair(
            x, y, x_offsets=x_offsets, y_offsets=y_offsets, method=method
        )
        distances, indices = [x_distance, y_distance], [x_index, y_index]

    fused = x.is_cuda and x.dtype is torch.float32 and reduction in ("mean", "sum")
    has_normals = x_normals is not None and y_normals is not None
    directions = []
    if not fused or has_normals or fscore_at:
        directions = directions_of(
            distances, y.shape[0], (x_offsets, y_offsets), (x_weights, y_weights)
        )
    if fused:
        loss = chamfer_loss(
            distances,
            (x_weights, y_weights),
            (x_offsets, y_offsets),
            y.shape[0],
            squared=squared,
            robust=robust,
            scale=scale,
            mean=reduction == "mean",
        )
    else:
        penalties = [
            penalty(direction.matched(distance), squared, robust, scale)
            for direction, distance in zip(directions, distances, strict=True)
        ]
        loss = reduce_terms(directions, penalties, reduction)
    normal_loss = None
    if x_normals is not None and y_normals is not None:
        pairs = [(x_normals, y_normals), (y_normals, x_normals)]
        misalignments = [
            misalignment(normals, others, index)
            for (normals, others), index in zip(pairs, indices, strict=False)
        ]
        normal_loss = reduce_terms(directions, misalignments, reduction)
    return ChamferResult(
        loss=loss,
        normal_loss=normal_loss,
        fscore=fscore(directions, distances, fscore_at) if fscore_at else None,
        x_index=indices[0],
        y_index=None if one_sided else indices[1],
    )


def _check_points(
    x: Tensor,
    y: Tensor,
    x_offsets: Tensor | None,
    y_offsets: Tensor | None,
    x_weights: Tensor | None,
    y_weights: Tensor | None,
    x_normals: Tensor | None,
    y_normals: Tensor | None,
) -> None:
    op = "chamfer_distance"
    sizes: dict[str, int] = {}
    check_tensor(op, "x", x, ("n", "D"), _dispatch.FLOATS, sizes)
    dtypes, device = (x.dtype,), x.device
    check_tensor(op, "y", y, ("m", "D"), dtypes, sizes, device)
    if sizes["D"] == 0:
        raise ValueError(f"{op}: x must have at least one coordinate, got shape [n, 0]")
    check_rows(op, "x", x)
    check_rows(op, "y", y)
    check_offsets(op, "x_offsets", x_offsets, sizes, device)
    check_offsets(op, "y_offsets", y_offsets, sizes, device)
    if not torch.compiler.is_compiling():  # else inside `nearest`, under its own names
        check_offset_values(op, "x_offsets", x_offsets, x.shape[0])
        check_offset_values(op, "y_offsets", y_offsets, y.shape[0])
    for name, weights, size in (("x_weights", x_weights, "n"), ("y_weights", y_weights, "m")):
        if weights is not None:
            check_tensor(op, name, weights, (size,), dtypes, sizes, device)
    for name, normals, size in (("x_normals", x_normals, "n"), ("y_normals", y_normals, "m")):
        if normals is not None:
            check_tensor(op, name, normals, (size, "D"), dtypes, sizes, device)
    if (x_normals is None) != (y_normals is None):
        missing = "x_normals" if x_normals is None else "y_normals"
        raise ValueError(f"{op}: {missing} must be given with the other cloud's normals, got None")


def _check_options(
    robust: str | None,
    squared: bool,
    one_sided: bool,
    reduction: str,
    has_normals: bool,
    method: str,
) -> None:
    op = "chamfer_distance"
    check_flag(op, "squared", squared)
    check_flag(op, "one_sided", one_sided)
    check_choice(op, "robust", robust, ROBUST)
    check_choice(op, "reduction", reduction, REDUCTIONS)
    check_choice(op, "method", method, METHODS)
    if reduction == "max" and has_normals:
        raise ValueError(
            f"{op}: reduction must not be 'max' with x_normals: a largest misalignment is "
            "decided by single points; use 'mean' or 'none'"
        )


def _checked_lengths(
    dtype: torch.dtype,
    robust: str | None,
    scale: float | None,
    one_sided: bool,
    fscore_at: Sequence[float],
) -> tuple[float | None, tuple[float, ...]]:
    """Check the lengths whose squares meet squared distances, and return them as floats."""
    op = "chamfer_distance"
    least = torch.finfo(torch.promote_types(dtype, torch.float32)).tiny ** 0.5
    if (scale is None) != (robust is None):
        raise ValueError(f"{op}: scale must be given with robust and only then, got {scale}")
    if scale is not None:
        scale = check_number(op, "scale", scale)
        if not least <= scale < torch.inf:
            raise ValueError(
                f"{op}: scale must be positive and finite, at least {least:.1e}, got {scale}"
            )
    if not isinstance(fscore_at, (list, tuple)):
        raise TypeError(f"{op}: fscore_at must be a list or tuple of radii, got {fscore_at!r}")
    radii = tuple(check_number(op, "fscore_at", radius) for radius in fscore_at)
    if not all(radius >= least for radius in radii):
        raise ValueError(
            f"{op}: fscore_at must hold positive radii, at least {least:.1e}, got {fscore_at}"
        )
    if one_sided and radii:
        raise ValueError(f"{op}: fscore_at needs both directions; leave out one_sided")
    return scale, radii
