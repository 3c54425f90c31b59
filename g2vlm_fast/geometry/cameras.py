"""Pinhole cameras: rays, projection and poses.

Cameras are OpenCV (x right, y down, z forward), pixel centres lie at integer coordinates,
depth is the z coordinate in the camera frame, and poses map camera to world. All functions
broadcast over leading axes and are differentiable. They multiply element by element rather
than by matrix products, so that positions stay float32 under autocast.

Source: Hartley and Zisserman, *Multiple View Geometry in Computer Vision*, chapter 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DTYPES = (torch.float32, torch.float64)


def _check(function: str, argument: str, value: Tensor, trailing: tuple[int, ...]) -> None:
    if value.dtype not in _DTYPES:
        raise TypeError(
            f"{function}: {argument} must be float32 or float64, got {value.dtype}; "
            "positions lose decimetres in half precision, so convert with .float()"
        )
    if value.ndim < len(trailing) or tuple(value.shape[value.ndim - len(trailing) :]) != trailing:
        wanted = ", ".join(["...", *map(str, trailing)])
        raise ValueError(
            f"{function}: {argument} must have shape [{wanted}], got {list(value.shape)}"
        )


def _rotate(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Multiply ``rotation [..., 3, 3]`` with ``vectors [..., N, 3]``, in full precision."""
    columns = rotation[..., None, :, :].unbind(-1)
    x, y, z = (vectors[..., axis, None] for axis in range(3))
    return columns[0] * x + columns[1] * y + columns[2] * z


def transform_points(transform: Tensor, points: Tensor) -> Tensor:
    """Apply rigid transforms to points.

    Args:
        transform: ``[..., 4, 4]``, for example camera-to-world poses.
        points: ``[..., N, 3]`` metres.

    Returns:
        ``[..., N, 3]`` metres in the target frame.
    """
    _check("transform_points", "transform", transform, (4, 4))
    _check("transform_points", "points", points, (3,))
    return _rotate(transform[..., :3, :3], points) + transform[..., None, :3, 3]


def inverse_pose(pose: Tensor) -> Tensor:
    """Invert rigid transforms ``[..., 4, 4]``: transposed rotation, ``-R^T t``."""
    _check("inverse_pose", "pose", pose, (4, 4))
    rotation = pose[..., :3, :3].mT
    translation = -_rotate(rotation, pose[..., None, :3, 3])[..., 0, :]
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    bottom = pose.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def pixel_rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Directions through all pixel centres, in the camera frame, with ``z = 1``.

    Args:
        intrinsics: ``[..., 3, 3]`` pixels; the skew entry is honoured.
        height: rows of the image.
        width: columns of the image.

    Returns:
        ``[..., height, width, 3]``; a ray times depth is a point in the camera frame.
    """
    _check("pixel_rays", "intrinsics", intrinsics, (3, 3))
    row = torch.arange(height, device=intrinsics.device).to(intrinsics.dtype)[:, None]
    column = torch.arange(width, device=intrinsics.device).to(intrinsics.dtype)[None, :]
    entry = intrinsics[..., None, None]
    y = (row - entry[..., 1, 2, :, :]) / entry[..., 1, 1, :, :]
    x = (column - entry[..., 0, 2, :, :] - entry[..., 0, 1, :, :] * y) / entry[..., 0, 0, :, :]
    y = y.expand_as(x)
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def unproject(depth: Tensor, intrinsics: Tensor, poses: Tensor | None = None) -> Tensor:
    """Lift depth maps to points.

    Args:
        depth: ``[..., H, W]`` metres along z.
        intrinsics: ``[..., 3, 3]`` pixels.
        poses: ``[..., 4, 4]`` camera to world; None for points in the camera frame.

    Returns:
        ``[..., H, W, 3]`` metres. A pixel of depth 0 lands on the camera centre: mask it.
    """
    if depth.dtype not in _DTYPES:
        raise TypeError(f"unproject: depth must be float32 or float64, got {depth.dtype}")
    if depth.ndim < 2:
        raise ValueError(f"unproject: depth must have shape [..., H, W], got {list(depth.shape)}")
    height, width = depth.shape[-2:]
    points = pixel_rays(intrinsics, height, width) * depth[..., None]
    if poses is None:
        return points
    return transform_points(poses, points.flatten(-3, -2)).unflatten(-2, (height, width))


def project(
    points: Tensor, intrinsics: Tensor, poses: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Project points into images.

    Args:
        points: ``[..., N, 3]`` metres, in the world if ``poses`` is given, else in the camera.
        intrinsics: ``[..., 3, 3]`` pixels.
        poses: ``[..., 4, 4]`` camera to world.

    Returns:
        Pixels ``[..., N, 2]`` as (column, row) and depth ``[..., N]`` in metres. Points at or
        behind the camera plane (depth <= 0) have NaN pixels, never a mirrored one.
    """
    _check("project", "points", points, (3,))
    _check("project", "intrinsics", intrinsics, (3, 3))
    if poses is not None:
        points = transform_points(inverse_pose(poses), points)
    x, y, z = points.unbind(-1)
    in_front = z > 0
    safe_z = torch.where(in_front, z, torch.ones_like(z))
    entry = intrinsics[..., None]
    row_ratio = y / safe_z
    column = entry[..., 0, 0, :] * (x / safe_z) + entry[..., 0, 1, :] * row_ratio
    row = entry[..., 1, 1, :] * row_ratio + entry[..., 1, 2, :]
    pixels = torch.stack([column + entry[..., 0, 2, :], row], dim=-1)
    return torch.where(in_front[..., None], pixels, torch.full_like(pixels, torch.nan)), z


def scale_intrinsics(
    intrinsics: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]
) -> Tensor:
    """Rescale intrinsics for an image that was resized.

    With pixel centres at integers, a coordinate maps as ``c' = (c + 0.5) * s - 0.5``.

    Args:
        intrinsics: ``[..., 3, 3]`` pixels of the old image.
        old_size: (height, width) before.
        new_size: (height, width) after.

    Returns:
        ``[..., 3, 3]`` pixels of the new image.
    """
    _check("scale_intrinsics", "intrinsics", intrinsics, (3, 3))
    if min(*old_size, *new_size) <= 0:
        raise ValueError(
            f"scale_intrinsics: sizes must be positive (height, width), got {old_size}, {new_size}"
        )
    scale_y, scale_x = new_size[0] / old_size[0], new_size[1] / old_size[1]
    mapping = intrinsics.new_tensor(
        [
            [scale_x, 0.0, 0.5 * scale_x - 0.5],
            [0.0, scale_y, 0.5 * scale_y - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    return (mapping[..., :, :, None] * intrinsics[..., None, :, :]).sum(-2)


def look_at(eye: Tensor, target: Tensor, up: tuple[float, float, float] = (0, 0, 1)) -> Tensor:
    """Camera-to-world poses ``[..., 4, 4]`` at ``eye [..., 3]`` that look at ``target [..., 3]``.

    Raises:
        ValueError: the viewing direction is zero or parallel to ``up``.
    """
    _check("look_at", "eye", eye, (3,))
    _check("look_at", "target", target, (3,))
    forward = target - eye
    right = torch.linalg.cross(forward, forward.new_tensor(up).expand_as(forward))
    if bool((right.norm(dim=-1) < 1e-6).any()):
        raise ValueError("look_at: target - eye must not be zero or parallel to up")
    forward = torch.nn.functional.normalize(forward, dim=-1)
    right = torch.nn.functional.normalize(right, dim=-1)
    down = torch.linalg.cross(forward, right)
    top = torch.stack([right, down, forward, eye], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def horizontal_axes(pose: Tensor, gravity: Tensor) -> tuple[Tensor, Tensor]:
    """Right and forward of a camera, levelled: the frame in which left and front are meant.

    Args:
        pose: ``[..., 4, 4]`` camera to world.
        gravity: ``[..., 3]`` unit vector that points down.

    Returns:
        Unit vectors ``right`` and ``forward`` ``[..., 3]``, both orthogonal to gravity. ``right``
        is the camera's x axis levelled, so that a camera that looks straight down has a frame too.

    Raises:
        ValueError: the camera's x axis is vertical (the image is rolled by a quarter turn).
    """
    _check("horizontal_axes", "pose", pose, (4, 4))
    _check("horizontal_axes", "gravity", gravity, (3,))
    right = pose[..., :3, 0]
    right = right - (right * gravity).sum(-1, keepdim=True) * gravity
    if bool((right.norm(dim=-1) < 1e-3).any()):
        raise ValueError("horizontal_axes: the camera's x axis is vertical; rotate the image first")
    right = torch.nn.functional.normalize(right, dim=-1)
    forward = torch.linalg.cross(-gravity.expand_as(right), right)
    return right, forward
