"""Poses for scans that come without: each view registered to the one before.

Source: Steinbruecker, Sturm and Cremers, *Real-Time Visual Odometry from Dense RGB-D Images*,
ICCV Workshops 2011, and Park, Zhou and Koltun, *Colored Point Cloud Registration Revisited*, ICCV
2017, as implemented in Open3D.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data.readers.errors import ScanError

_LEAST_FITNESS = 0.3
"""Share of the pixels of a view that must find the surface of the one before."""

_FARTHEST = 6.0
"""Metres beyond which depth is not used: there, sensors are too noisy to register by."""


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
    worst = 1.0
    for view in range(1, len(images)):
        step, fitness = register(images[view - 1 : view + 1], depth[view - 1 : view + 1],
                                 intrinsics[view - 1 : view + 1])  # fmt: skip
        if fitness < _LEAST_FITNESS:
            raise ScanError(
                folder,
                f"has no poses, and view {view} does not register to view {view - 1} (only "
                f"{fitness:.0%} of its pixels meet the surface seen before)",
                "Read frames that follow each other more closely (a smaller --stride), or give "
                "the poses",
            )
        worst = min(worst, fitness)
        poses.append(poses[-1] @ step)
    sentence = (
        f"The scan has no poses; they were estimated by RGB-D odometry over {len(images)} views "
        f"(at least {worst:.0%} of each view met the one before). Its errors add up, and the "
        "world is the frame of the first camera."
    )
    return torch.from_numpy(np.stack(poses)).float(), sentence


def register(images: Tensor, depth: Tensor, intrinsics: Tensor) -> tuple[np.ndarray, float]:
    """Motion from the second of two RGB-D views to the first.

    Args:
        images: ``[2, 3, H, W]`` uint8.
        depth: ``[2, H, W]`` metres, 0 = missing.
        intrinsics: ``[2, 3, 3]`` pixels; the second's are taken for both.

    Returns:
        ``[4, 4]`` float64, second camera to first camera, and the share of measured pixels that
        met the other view's surface.
    """
    import open3d as o3d

    odometry = o3d.t.pipelines.odometry
    first, second = (
        o3d.t.geometry.RGBDImage(
            o3d.t.geometry.Image(
                o3d.core.Tensor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
            ),
            o3d.t.geometry.Image(
                o3d.core.Tensor(np.ascontiguousarray(measured.numpy()[..., None]))
            ),
        )
        for image, measured in zip(images, depth, strict=True)
    )
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        try:
            found = odometry.rgbd_odometry_multi_scale(
                second,
                first,
                o3d.core.Tensor(intrinsics[1].double().numpy()),
                o3d.core.Tensor(np.eye(4)),
                depth_scale=1.0,
                depth_max=_FARTHEST,
                method=odometry.Method.Hybrid,
            )
        except RuntimeError:  # a singular system: nothing in these views fixes the motion
            return np.eye(4), 0.0
    motion = found.transformation.numpy().astype(np.float64)
    left, _, right = np.linalg.svd(motion[:3, :3])
    motion[:3, :3] = left @ right
    return motion, float(found.fitness)
