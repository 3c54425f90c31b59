"""What pixels see first: views cut into tiles, which meet the primitives they may see.

A primitive is intersected with all pixels of the tiles that its image rectangle touches. Along a
tile, the direction of a ray in the axes of a primitive is linear in column and row, so a pair of
tile and primitive needs a few numbers and its pixels nothing but arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.intersect import NO_HIT, first_hit
from g2vlm_fast.data.rendering.primitives import Primitives, Shape, to_local
from g2vlm_fast.geometry.cameras import inverse_pose, transform_points

_NEAREST_CORNER = 0.05  # metres; a primitive with a corner nearer than this fills the image
_LARGE_IMAGE = 2**14  # pixels
_PIXELS_ON_CPU = 2**16  # of the views that are done at once
_PIXELS_ON_GPU = 2**24
_PAIRED_PIXELS_ON_CPU = 2**15 - 2**8  # at once: in a core's cache, and too few to be divided
_PAIRED_PIXELS_ON_GPU = 2**25
_PENALTY = 1e30


def nearest_primitives(
    primitives: Primitives,
    intrinsics: Tensor,
    poses: Tensor,
    height: int,
    width: int,
    *,
    meets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Find what every pixel sees.

    Args:
        primitives: the solids.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        height: rows of the images.
        width: columns of the images.
        meets: ``[V, P]`` bool, which primitives are there for each view; None for all.

    Returns:
        Depth ``[V, H, W]`` in metres along z, ``NO_HIT`` or more where a ray meets nothing, and
        the row of the primitive ``[V, H, W]`` int64, -1 there; equal depths go to the lower row.

    Raises:
        ValueError: cameras of another dtype, device or shape, or that are not finite.
    """
    _check_cameras(primitives, intrinsics, poses, height, width)
    side = 16 if height * width >= _LARGE_IMAGE else 8
    budget = _PIXELS_ON_GPU if poses.is_cuda else _PIXELS_ON_CPU
    views_at_once = max(1, budget // (height * width))
    found = []
    for begin in range(0, len(poses), views_at_once):
        part = slice(begin, begin + views_at_once)
        rectangles = _image_rectangles(primitives, intrinsics[part], poses[part], height, width)
        if meets is not None:
            rectangles = rectangles * meets[part, :, None]
        found.append(
            _nearest_of_views(
                primitives, intrinsics[part], poses[part], (height, width), side, rectangles
            )
        )
    depth, row = (torch.cat(parts) for parts in zip(*found, strict=True))
    return depth, row


def _check_cameras(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> None:
    count = len(poses)
    wanted = primitives.center.dtype, primitives.center.device
    for name, value, side in (("intrinsics", intrinsics, 3), ("poses", poses, 4)):
        if value.shape != (count, side, side):
            raise ValueError(
                f"render: {name} must be [V, {side}, {side}] with one V for both, "
                f"got {list(value.shape)} beside poses {list(poses.shape)}"
            )
        if (value.dtype, value.device) != wanted:
            raise ValueError(
                f"render: {name} must be {wanted[0]} on {wanted[1]} as the primitives are, "
                f"got {value.dtype} on {value.device}; convert with .to(primitives.center)"
            )
        if not value.isfinite().all():
            view = int((~value.isfinite()).flatten(1).any(1).nonzero()[0])
            raise ValueError(
                f"render: {name} must be finite, got another value in view {view}; "
                "leave that view out"
            )
    if count == 0 or height < 1 or width < 1:
        raise ValueError(
            "render: needs at least one view, row and column, "
            f"got {count} views of {height} x {width}"
        )


def _nearest_of_views(
    primitives: Primitives,
    intrinsics: Tensor,
    poses: Tensor,
    image_size: tuple[int, int],
    side: int,
    rectangles: Tensor,
) -> tuple[Tensor, Tensor]:
    height, width = image_size
    rows, columns = -(-height // side), -(-width // side)
    depth = intrinsics.new_full((len(poses) * rows * columns, side * side), torch.inf)
    met = []
    for shape, tile, primitive, values in _tile_pairs(
        primitives, intrinsics, poses, image_size, side, rectangles
    ):
        distance = _distances(shape, values, side)
        depth.scatter_reduce_(0, tile[:, None].expand_as(distance), distance, "amin")
        met.append((tile, primitive, distance))
    nobody = float(len(primitives))
    winner = torch.full_like(depth, nobody)
    for tile, primitive, distance in met:
        loss = distance.sub_(depth.index_select(0, tile)).mul_(_PENALTY)
        candidate = loss.add_(primitive[:, None].to(loss)).nan_to_num_(nan=nobody)
        winner.scatter_reduce_(0, tile[:, None].expand_as(candidate), candidate, "amin")
    tiled = (len(poses), rows, columns, side, side)
    depth, winner = (
        values.view(tiled).transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]
        for values in (depth, winner)
    )
    return depth.contiguous(), winner.long().masked_fill(depth >= NO_HIT, -1)


def _distances(shape: Shape, values: Tensor, side: int) -> Tensor:
    """Distance along every pixel of pairs of tile and primitive, ``[n, side * side]``."""
    place = torch.arange(side * side, device=values.device)
    offset_x = (place % side).to(values)[None]
    offset_y = torch.div(place, side, rounding_mode="floor").to(values)[None]
    found = values.new_empty(values.shape[1], side * side)
    at_once = (_PAIRED_PIXELS_ON_GPU if values.is_cuda else _PAIRED_PIXELS_ON_CPU) // side**2
    for part, into in zip(values.split(at_once, 1), found.split(at_once), strict=True):
        along = [
            (part[k] * offset_x).add_(part[3 + k] * offset_y).add_(part[6 + k]) for k in range(3)
        ]
        into.copy_(first_hit(shape, part[9:12], along, part[12:15]))
    return found


def _tile_pairs(
    primitives: Primitives,
    intrinsics: Tensor,
    poses: Tensor,
    image_size: tuple[int, int],
    side: int,
    rectangles: Tensor,
) -> Iterator[tuple[Shape, Tensor, Tensor, Tensor]]:
    """All n pairs of a shape: their tile ``[n]``, primitive ``[n]`` and values ``[15, n, 1]``.

    The values are, for each local axis: steps of the direction from column to column and from row
    to row, direction at the first pixel of the tile, start, half size.
    """
    height, width = image_size
    rows, columns = -(-height // side), -(-width // side)
    low = torch.div(rectangles[..., :2], side, rounding_mode="floor")
    high = torch.div(rectangles[..., 2:] + (side - 1), side, rounding_mode="floor")
    empty = (rectangles[..., 2:] <= rectangles[..., :2]).any(-1, keepdim=True)
    tiles = torch.cat([low, high.masked_fill(empty, 0)], -1).flatten(0, 1)
    start = to_local(
        primitives.rotation, (poses[:, None, :3, 3] - primitives.center).permute(2, 1, 0)
    )
    size = primitives.half_size.mT[:, :, None].expand_as(start)
    axes = _pixel_to_local(primitives, intrinsics, poses)
    of_pair = torch.cat([axes, start, size]).transpose(1, 2).flatten(1)  # [15, V * P]
    for shape in Shape:
        chosen = [row for row, kind in enumerate(primitives.shapes) if kind == shape]
        if not chosen:
            continue
        first = torch.arange(len(poses), device=poses.device) * len(primitives)
        pairs = (first[:, None] + torch.tensor(chosen, device=poses.device)).flatten()
        which, column, row = _cells_of_rectangles(tiles[pairs])
        pair = pairs[which]
        view = torch.div(pair, len(primitives), rounding_mode="floor")
        values = of_pair.index_select(1, pair)
        values[6:9] += values[0:3] * (side * column) + values[3:6] * (side * row)
        tile = (view * rows + row) * columns + column
        yield shape, tile, pair - view * len(primitives), values[..., None]


def _pixel_to_local(primitives: Primitives, intrinsics: Tensor, poses: Tensor) -> Tensor:
    """Columns of the maps from (column, row, 1) to directions in local axes, ``[9, P, V]``."""
    inverse = torch.linalg.inv(intrinsics)
    world = (poses[:, :3, :3, None] * inverse[:, None]).sum(2)  # [V, 3, 3]
    return torch.cat([to_local(primitives.rotation, world[:, :, i].mT[:, None]) for i in range(3)])


def _cells_of_rectangles(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index of the rectangle, column and row of every cell of rectangles ``[n, 4]``."""
    left, top, right, bottom = corners.unbind(-1)
    width = (right - left).clamp_min(0)
    count = width * (bottom - top).clamp_min(0)
    rectangle = torch.repeat_interleave(count)
    position = torch.arange(len(rectangle), device=corners.device)
    position = position - (count.cumsum(0) - count)[rectangle]
    width = width[rectangle]
    row = torch.div(position, width, rounding_mode="floor")
    return rectangle, left[rectangle] + position - row * width, top[rectangle] + row


def _image_rectangles(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> Tensor:
    """Pixels ``[V, P, 4]`` int64 (left, top, right, bottom; half open) that may see a primitive."""
    sign = torch.cartesian_prod(*(torch.tensor([-1.0, 1.0]),) * 3).to(primitives.center)
    reach = sign * primitives.half_size[:, None]
    offset = (primitives.rotation[:, None] * reach[..., None, :]).sum(-1)
    corners = (primitives.center[:, None] + offset).flatten(0, 1)
    shape = (len(poses), len(primitives), 8)
    x, y, z = (
        transform_points(inverse_pose(poses), corners[None]).unflatten(1, shape[1:]).unbind(-1)
    )
    y, x = y / z.clamp_min(_NEAREST_CORNER), x / z.clamp_min(_NEAREST_CORNER)
    entry = intrinsics[..., None, None]
    column = entry[:, 0, 0] * x + entry[:, 0, 1] * y + entry[:, 0, 2]
    row = entry[:, 1, 1] * y + entry[:, 1, 2]
    low = torch.stack([column.amin(-1), row.amin(-1)], -1).floor()
    high = torch.stack([column.amax(-1), row.amax(-1)], -1).ceil() + 1
    is_room = primitives.shape == Shape.ROOM
    fills = ((z.amin(-1) < _NEAREST_CORNER) | is_room)[..., None]
    behind = ((z.amax(-1) <= 0) & ~is_room)[..., None]
    limit = low.new_tensor([width, height])
    low = torch.minimum(low.masked_fill(fills, 0).clamp_min(0), limit)
    high = torch.minimum(torch.where(fills, limit, high).masked_fill(behind, 0).clamp_min(0), limit)
    return torch.cat([low, high], -1).long()
