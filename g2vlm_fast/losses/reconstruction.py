"""The loss of the reconstruction head: completion points, their colours, signed distances."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import project
from g2vlm_fast.losses.terms import masked_mean
from g2vlm_fast.ops import chamfer_distance
from g2vlm_fast.records import Prediction, SceneBatch, Targets

_SEEN_WITHIN = 0.1  # metres between a point and the surface that a view shows


def reconstruction_loss(
    prediction: Prediction, batch: SceneBatch, targets: Targets
) -> dict[str, Tensor]:
    r"""Completion points against the complete surface, and signed distances at queries.

    ``chamfer`` is the sum of the mean distances (m) from points to surface and back; ``color``
    the L1 difference to the image where a true view shows the surface at a point; ``distance``

    .. math:: \frac{1}{|Q| \tau} \sum_q |\hat s_q - \operatorname{clamp}(s_q, -\tau, \tau)|

    with the truncation :math:`\tau` of the prediction.

    Source: Fan, Su, Guibas, "A point set generation network for 3D object reconstruction from a
    single image", CVPR 2017; Dai et al., "SG-NN", CVPR 2020.
    """
    terms = {}
    if prediction.points is not None and targets.surface_points is not None:
        terms["chamfer"] = chamfer_distance(
            prediction.points,
            targets.surface_points,
            x_offsets=prediction.point_offsets,
            y_offsets=targets.surface_offsets,
            squared=False,
        ).loss
    if prediction.point_colors is not None and targets.depth is not None:
        terms["color"] = _color_loss(prediction, batch, targets.depth)
    if prediction.query_distance is not None and targets.query_distance is not None:
        assert prediction.query_truncation is not None
        limit = prediction.query_truncation
        truth = torch.minimum(torch.maximum(targets.query_distance, -limit), limit)
        error = (prediction.query_distance - truth).abs() / limit
        terms["distance"] = masked_mean(error, truth.isfinite())
    return terms


def _color_loss(prediction: Prediction, batch: SceneBatch, depth: Tensor) -> Tensor:
    """Compare the colours of points with the images of the views that truly see them."""
    assert prediction.points is not None
    assert prediction.point_colors is not None
    assert prediction.point_offsets is not None
    height, width = depth.shape[-2:]
    starts, bounds = batch.view_offsets.tolist(), prediction.point_offsets.tolist()
    error, seen = [], []
    for scene, (first, last) in enumerate(pairwise(bounds)):
        views = slice(starts[scene], starts[scene + 1])
        points = prediction.points[first:last].detach()
        pixel, along = project(points[None], batch.intrinsics[views], batch.poses[views])
        column, row = pixel.nan_to_num(-1).round().long().unbind(-1)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        view = torch.arange(views.start, views.stop, device=row.device)[:, None]
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
        surface = depth[view, row, column]
        seen.append((inside & (surface > 0) & ((along - surface).abs() < _SEEN_WITHIN)).flatten())
        image = batch.images[view, :, row, column]
        error.append((prediction.point_colors[first:last] - image).abs().mean(-1).flatten())
    return masked_mean(torch.cat(error), torch.cat(seen))
