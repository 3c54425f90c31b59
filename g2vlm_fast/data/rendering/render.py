"""Analytic rendering of primitives: one closed-form intersection per ray and solid.

The same code runs on CPU and GPU, in float32 or float64. A pixel meets only the primitives whose
image rectangle touches its tile (:mod:`g2vlm_fast.data.rendering.tiles`). Shading is Lambert's law
under one lamp and ambient light.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.intersect import NO_HIT, first_hit
from g2vlm_fast.data.rendering.materials import surface_by_axis
from g2vlm_fast.data.rendering.primitives import Primitives, Shape, to_local
from g2vlm_fast.data.rendering.tiles import nearest_primitives
from g2vlm_fast.geometry.cameras import pixel_rays

_PIXELS_ON_CPU = 2**15 - 1  # shaded at once: too few to be divided among cores
_PIXELS_ON_GPU = 2**24


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """What V cameras see, without sensor noise."""

    images: Tensor  # [V, 3, H, W] in [0, 1]
    depth: Tensor  # [V, H, W] metres along z, 0 where a ray meets nothing
    normal: Tensor  # [V, 3, H, W] unit, world, 0 where a ray meets nothing
    instance: Tensor  # [V, H, W] int64, object, -1 = the room or nothing
    primitive: Tensor  # [V, H, W] int64, row of the primitives, -1 = nothing

    def to(self, device: torch.device | str) -> Rendering:
        """Return it with every tensor on ``device``."""
        return Rendering(
            **{each.name: getattr(self, each.name).to(device) for each in fields(self)}
        )

    def to_host(self) -> Rendering:
        """Return it on the CPU.

        From a GPU it goes through page-locked memory, all tensors at once, and waits for the
        current stream alone, so that work on other streams goes on. The copy that is returned is
        pageable: page-locked memory is scarce, and renderings are kept.
        """
        if not self.depth.is_cuda:
            return self.to("cpu")
        names = [each.name for each in fields(self)]
        staged = {name: _page_locked_like(getattr(self, name)) for name in names}
        for name, tensor in staged.items():
            tensor.copy_(getattr(self, name), non_blocking=True)
        torch.cuda.current_stream(self.depth.device).synchronize()
        return Rendering(**{name: tensor.clone() for name, tensor in staged.items()})


def _page_locked_like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)


def render(
    primitives: Primitives,
    intrinsics: Tensor,
    poses: Tensor,
    height: int,
    width: int,
    *,
    lamp: Tensor | None = None,
) -> Rendering:
    """Render views of a set of primitives.

    Args:
        primitives: the solids; dtype and device of the result are theirs.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world; cameras stand in free space.
        height: rows of the images.
        width: columns of the images.
        lamp: ``[3]`` metres, position of the lamp; None for light from straight above.
    """
    lamps = None if lamp is None else lamp.to(poses).expand(len(poses), 3)
    depth, index = nearest_primitives(primitives, intrinsics, poses, height, width)
    first_row = torch.zeros_like(index[:, 0, 0])
    return _shade(primitives, intrinsics, poses, depth, index, lamps, first_row)


def render_rooms(
    rooms: Sequence[Primitives],
    intrinsics: Tensor,
    poses: Tensor,
    height: int,
    width: int,
    *,
    view_offsets: Tensor,
    lamps: Tensor | None = None,
) -> Rendering:
    """Render views of several rooms at once, which keeps a GPU busy where rooms have few views.

    Args:
        rooms: the solids of each of B rooms.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world of its own room.
        height: rows of the images.
        width: columns of the images.
        view_offsets: ``[B + 1]`` int; views ``view_offsets[b]`` to ``view_offsets[b + 1]`` are
            those of room ``b``.
        lamps: ``[B, 3]`` metres; None for light from straight above.

    Returns:
        What :func:`render` gives for each room, one after the other; rows of primitives and
        objects count from the start of the view's own room. The work of finding out which
        primitives a view may see grows with views times primitives of all rooms.

    Raises:
        ValueError: no rooms, or offsets that do not divide the views among them.
    """
    counts = view_offsets.diff()
    if (
        not rooms
        or view_offsets.shape != (len(rooms) + 1,)
        or view_offsets[[0, -1]].tolist() != [0, len(poses)]
        or bool((counts < 0).any())
    ):
        raise ValueError(
            f"render_rooms: view_offsets must rise from 0 to {len(poses)} in {len(rooms)} steps, "
            f"got {view_offsets.tolist()}"
        )
    device = poses.device
    room_of_view = torch.arange(len(rooms), device=device).repeat_interleave(counts.to(device))
    lengths = torch.tensor([len(room) for room in rooms], device=device)
    room_of_primitive = torch.arange(len(rooms), device=device).repeat_interleave(lengths)
    first = (lengths.cumsum(0) - lengths)[room_of_view]
    joined = Primitives.joined(rooms)
    depth, index = nearest_primitives(
        joined, intrinsics, poses, height, width,
        meets=room_of_view[:, None] == room_of_primitive,
    )  # fmt: skip
    lamp_of_view = None if lamps is None else lamps.to(poses)[room_of_view]
    seen = _shade(joined, intrinsics, poses, depth, index, lamp_of_view, first)
    own = (index - first[:, None, None]).masked_fill(index < 0, -1)
    return replace(seen, primitive=own)


def _shade(
    primitives: Primitives,
    intrinsics: Tensor,
    poses: Tensor,
    depth: Tensor,
    index: Tensor,
    lamps: Tensor | None,
    first_row: Tensor,
) -> Rendering:
    """Shade what was found; ``lamps [V, 3]`` and ``first_row [V]`` are those of a view's room."""
    images, normal = (depth.new_empty(len(poses), 3, *depth.shape[1:]) for _ in range(2))
    rays = pixel_rays(intrinsics, *depth.shape[1:])
    for views, band in _bands(depth):
        row = index[views, band]
        seen = (row >= 0).to(depth)
        depth[views, band] = depth[views, band].nan_to_num(posinf=0) * seen
        points = _points_seen(poses[views], rays[views, band], depth[views, band])
        salt = (row - first_row[views, None, None]).flatten()
        facing, color = surface_by_axis(primitives, row.flatten().clamp_min(0), points, salt)
        lamp = None
        if lamps is not None:
            lamp = lamps[views].mT.repeat_interleave(row.shape[1] * row.shape[2], 1)
        color = (color * _light(facing, points, lamp)).clamp_(0, 1)
        for image, values in ((images, color), (normal, facing)):
            image[views, :, band] = (values * seen.flatten()).view(3, *row.shape).transpose(0, 1)
    return Rendering(
        images=images,
        depth=depth,
        normal=normal,
        instance=_instance(primitives, index),
        primitive=index,
    )


def _bands(depth: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of views and rows that between them cover ``depth [V, H, W]`` in bearable parts."""
    count, height, width = depth.shape
    budget = _PIXELS_ON_GPU if depth.is_cuda else _PIXELS_ON_CPU
    views_at_once = max(1, budget // (height * width))
    rows_at_once = height if views_at_once > 1 else min(height, max(1, budget // width))
    for view in range(0, count, views_at_once):
        for row in range(0, height, rows_at_once):
            yield slice(view, view + views_at_once), slice(row, row + rows_at_once)


def instances(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> Tensor:
    """Render only which object is seen, ``[V, H, W]`` int64; -1 = the room or nothing."""
    _, index = nearest_primitives(primitives, intrinsics, poses, height, width)
    return _instance(primitives, index)


def cast(primitives: Primitives, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Intersect rays with primitives.

    Args:
        primitives: the solids.
        origins: ``[N, 3]`` metres, in free space.
        directions: ``[N, 3]``, of any length but zero.

    Returns:
        Distance ``[N]`` in units of the direction's length, infinite for a miss, and the row of
        the primitive ``[N]`` int64, -1 for a miss.
    """
    rows: list[int] = []
    distances = []
    for shape in Shape:
        chosen = [row for row, kind in enumerate(primitives.shapes) if kind == shape]
        if not chosen:
            continue
        pick = torch.tensor(chosen, device=origins.device)
        rotation, half_size = primitives.rotation[pick], primitives.half_size[pick].mT[..., None]
        start = to_local(rotation, origins.mT[:, None] - primitives.center[pick].mT[..., None])
        along = to_local(rotation, directions.mT[:, None])
        distances.append(first_hit(shape, start, along, half_size))
        rows += chosen
    nearest, position = torch.cat(distances).min(0)
    row = torch.tensor(rows, device=origins.device)[position]
    missed = nearest >= NO_HIT
    return nearest.masked_fill(missed, torch.inf), row.masked_fill(missed, -1)


def _instance(primitives: Primitives, index: Tensor) -> Tensor:
    """The object of every row of ``index``, -1 for the room and for -1."""
    with_nothing = torch.cat([primitives.instance, primitives.instance.new_tensor([-1])])
    return with_nothing.take(index)


def _points_seen(poses: Tensor, rays: Tensor, depth: Tensor) -> Tensor:
    """World points ``[3, V * H * W]`` of ``depth [V, H, W]`` along ``rays [V, H, W, 3]``."""
    x, y = (rays[..., axis] * depth for axis in range(2))
    entry = poses[..., None, None]
    return torch.stack(
        [
            entry[:, k, 0] * x + entry[:, k, 1] * y + entry[:, k, 2] * depth + entry[:, k, 3]
            for k in range(3)
        ]
    ).flatten(1)


def _light(normal: Tensor, points: Tensor, lamp: Tensor | None) -> Tensor:
    """Light ``[N]`` of ``lamp [3, N]`` on surfaces with ``normal [3, N]`` at ``points [3, N]``."""
    if lamp is None:
        lambert = normal[2]
    else:
        toward = lamp - points
        distance = toward.square().sum(0).sqrt().clamp_min(1e-9)
        lambert = (normal * toward).sum(0) / distance
    return 0.55 + 0.08 * normal[2] + 0.42 * lambert.clamp_min(0)
