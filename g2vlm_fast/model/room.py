"""The room around a scene's points: where its walls run, and how far each point is from them."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.model.packing import segment_ids

ROOM_COLUMNS = 8
_BOUND = 0.01  # quantile of the coordinates along each axis that counts as a wall
_SCALES = (0.1, 0.5)  # metres


def quarter_turn_vectors(normal: Tensor) -> Tensor:
    r"""Return the fourth powers :math:`(n_x + i n_y)^4` of horizontal normals ``[..., 2]``.

    They are equal for normals that differ by quarter turns, small for normals that point up, and
    their mean has four times the angle that most of them agree on.
    """
    x, y = normal[..., :2].unbind(-1)
    real, imaginary = x * x - y * y, 2 * x * y
    squares = real.square() - imaginary.square()
    return torch.stack([squares, 2 * real * imaginary], dim=-1)


def quarter_turn_angle(vectors: Tensor) -> Tensor:
    """Return the angles ``[...]`` in (-45, 45] degrees of sums of such powers ``[..., 2]``."""
    return torch.atan2(vectors[..., 1], vectors[..., 0] + 1e-9) / 4


@torch.no_grad()
def room_coordinates(position: Tensor, normal: Tensor, offsets: Tensor) -> Tensor:
    """Describe where points are in their room, whatever way it is turned.

    Walls are taken to be orthogonal (a Manhattan world: Coughlan and Yuille, "Manhattan world",
    ICCV 1999) and to bound what was seen. For the nearer and the farther of the two axes: the
    distance to the closer wall of the axis; then the heights over the floor and under the
    highest point; each as ``exp(-d / s)`` for s of 0.1 and 0.5 m.

    Args:
        position: ``[N, 3]`` float32 metres, in the frames of the scenes.
        normal: ``[N, 3]`` float32 unit normals, 0 where unknown.
        offsets: ``[B + 1]`` int32.

    Returns:
        ``[N, 8]`` float32 in [0, 1].
    """
    scene = segment_ids(offsets)
    powers = quarter_turn_vectors(normal)
    total = powers.new_zeros(len(offsets) - 1, 2).index_add(0, scene, powers)
    angle = quarter_turn_angle(total)[scene]
    x, y, z = position.unbind(-1)
    along = torch.stack(
        [angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x, z], dim=-1
    )
    distances = []
    for points in along.tensor_split(offsets[1:-1].cpu().long()):
        if not len(points):
            continue
        low, high = points.quantile(points.new_tensor([_BOUND, 1 - _BOUND]), dim=0)
        below, above = (points - low).clamp_min(0), (high - points).clamp_min(0)
        walls = torch.minimum(below, above)[:, :2].sort(dim=-1).values
        distances.append(torch.cat([walls, below[:, 2:], above[:, 2:]], dim=-1))
    distance = torch.cat(distances) if distances else position.new_zeros(0, 4)
    return torch.cat([torch.exp(-distance / scale) for scale in _SCALES], dim=-1)
