"""Poses for scans that come without: each view registered to the one before.

Source: Steinbruecker, Sturm and Cremers, *Real-Time Visual Odometry from Dense RGB-D Images*,
ICCV Workshops 2011, and Park, Zhou and Koltun, *Colored Point Cloud Registration Revisited*, ICCV
2017, as implemented in Open3D.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.geometry.readings import Fit, Reading, fit_reading, sample_pixels

_LEAST_OVERLAP = 0.3
"""Share of what one view measured that must land where the one before measured too."""

_LARGEST_ERROR = 0.03
"""Median relative difference of depth there, up to which the two are one surface."""

_FARTHEST = 6.0
"""Metres beyond which depth is not used: there, sensors are too noisy to register by."""

_ITERATIONS = (20, 15, 10)
"""From coarse to fine."""


def estimate_poses(
    folder: Path, images: Tensor, depth: Tensor | None, intrinsics: Tensor
) -> tuple[Tensor, str]:
    """Register consecutive RGB-D views; errors add up along the way.

    Args:
        folder: of the scan, for messages.
        images: ``[V, 3, H, W]`` uint8.
        depth: ``[V, H, W]`` metres, 0 = missing; None: there is none.
        intrinsics: ``[V, 3, 3]`` pixels.

    Returns:
        ``[V, 4, 4]`` float32 camera to world, the first one the identity, and a sentence for
        people.

    Raises:
        ScanError: no depth, or a view that does not overlap with the one before.
    """
    if depth is None:
        raise ScanError(
            folder,
            "has neither poses nor depth, so nothing says where its cameras were",
            "Run a structure-from-motion tool (COLMAP) on the images, and give its folder",
        )
    poses = [np.eye(4)]
    for view in range(1, len(images)):
        pair = slice(view - 1, view + 1)
        step = register(images[pair], depth[pair], intrinsics[pair])
        fit = _fit(step, depth[pair], intrinsics[pair])
        if fit.overlap < _LEAST_OVERLAP or fit.median_error > _LARGEST_ERROR:
            raise ScanError(
                folder,
                f"has no poses, and view {view} does not register to view {view - 1} (only "
                f"{fit.overlap:.0%} of it lands on what was measured there, "
                f"{fit.median_error:.0%} off)",
                "Read frames that follow each other more closely (a smaller --stride), or give "
                "the poses",
            )
        poses.append(poses[-1] @ step)
    sentence = (
        f"The scan has no poses; they were estimated by RGB-D odometry over {len(images)} views. "
        "Its errors add up, and the world is the frame of the first camera."
    )
    return torch.from_numpy(np.stack(poses)).float(), sentence


def register(images: Tensor, depth: Tensor, intrinsics: Tensor) -> NDArray[np.float64]:
    """Motion from the second of two RGB-D views to the first.

    Args:
        images: ``[2, 3, H, W]`` uint8.
        depth: ``[2, H, W]`` metres, 0 = missing.
        intrinsics: ``[2, 3, 3]`` pixels; the second's are taken for both.

    Returns:
        ``[4, 4]`` float64, second camera to first camera; the identity where nothing in the
        views fixes it.
    """
    import open3d as o3d
    from open3d.core import Tensor as ArrayTensor

    odometry = o3d.t.pipelines.odometry
    first, second = (
        o3d.t.geometry.RGBDImage(
            o3d.t.geometry.Image(ArrayTensor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))),
            o3d.t.geometry.Image(ArrayTensor(np.ascontiguousarray(measured.numpy()[..., None]))),
        )
        for image, measured in zip(images, depth, strict=True)
    )
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        try:
            found = odometry.rgbd_odometry_multi_scale(
                second,
                first,
                ArrayTensor(intrinsics[1].double().numpy()),
                ArrayTensor(np.eye(4)),
                depth_scale=1.0,
                depth_max=_FARTHEST,
                criteria_list=[odometry.OdometryConvergenceCriteria(n) for n in _ITERATIONS],
                method=odometry.Method.Hybrid,
            )
        except RuntimeError:  # a singular system of equations
            return np.eye(4)
    motion = found.transformation.numpy().astype(np.float64)
    left, _, right = np.linalg.svd(motion[:3, :3])
    motion[:3, :3] = left @ right
    return motion


def _fit(step: NDArray[np.float64], depth: Tensor, intrinsics: Tensor) -> Fit:
    """How well two views agree once the second is moved by ``step``."""
    poses = torch.from_numpy(np.stack([np.eye(4), step])).float()
    samples = sample_pixels(depth, anchors=2, pixels=1000)
    return fit_reading(Reading(), samples, depth, intrinsics, poses)
