"""Where cameras stand: views that between them see all the furniture.

Candidates are drawn in whole millimetres and rendered small, in float64, and the best are taken
greedily: each next view is the one that shows most objects not yet seen. The first one sees most
of the room and is the frame in which left, right, front and behind are meant; the others follow
in the order of the trajectory, which begins anew after its end. Cameras of simple rooms stand
near the walls; those of other rooms move as :mod:`g2vlm_fast.data.rooms.camera_paths` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.data.rendering.render import instances
from g2vlm_fast.data.rooms.camera_paths import draw_views
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.layout import Layout
from g2vlm_fast.geometry.cameras import look_at

_CANDIDATES = 8
_COVERAGE_SIZE = (24, 32)
_LEAST_PIXELS = 2  # of 24 x 32: about 8 of 48 x 64
_CLEARANCE = 300  # millimetres from furniture that reaches up to the camera
_DRAWS_PER_CANDIDATE = 40
_APART = 1500  # millimetres between cameras; further apart is no better


@dataclass(frozen=True)
class Viewpoints:
    """The cameras of a room; all views share one camera."""

    eyes: tuple[tuple[int, int, int], ...]  # millimetres
    targets: tuple[tuple[int, int, int], ...]  # millimetres
    focal: int  # thousandths of the image width
    principal: tuple[int, int]  # thousandths of the width, off the image centre

    def poses(self) -> Tensor:
        """Camera-to-world poses ``[V, 4, 4]`` float64."""
        eyes = torch.tensor(self.eyes, dtype=torch.float64) / 1000
        return look_at(eyes, torch.tensor(self.targets, dtype=torch.float64) / 1000)

    def intrinsics(self, image_size: tuple[int, int]) -> Tensor:
        """Intrinsics ``[V, 3, 3]`` float64 in pixels of an image of (height, width)."""
        height, width = image_size
        focal = width * self.focal / 1000
        column = (width - 1) / 2 + width * self.principal[0] / 1000
        row = (height - 1) / 2 + width * self.principal[1] / 1000
        matrix = [[focal, 0.0, column], [0.0, focal, row], [0.0, 0.0, 1.0]]
        return torch.tensor(matrix, dtype=torch.float64).repeat(len(self.eyes), 1, 1)


def draw_viewpoints(
    draws: Draws, config: RoomConfig, layout: Layout, primitives: Primitives
) -> tuple[Viewpoints | None, set[int]]:
    """Draw the cameras of a room.

    Args:
        draws: source of randomness.
        config: number of views and focal lengths.
        layout: the room; at least one piece of furniture.
        primitives: the same room in float64.

    Returns:
        The cameras, and the indices of the objects that at least one of them sees well; None
        where the furniture leaves no floor to stand on.
    """
    focal = draws.integer(round(config.focal[0] * 1000), round(config.focal[1] * 1000))
    principal = (draws.integer(-20, 20), draws.integer(-20, 20))
    wanted = draws.integer(*config.views)
    candidates_anyhow = max(_CANDIDATES, 2 * wanted)
    if layout.program == "simple":
        pairs = [_draw_pair(draws, layout) for _ in range(max(_CANDIDATES, wanted))]
    else:
        pairs = draw_views(draws, config, layout, candidates_anyhow)
    if not pairs:
        return None, set()
    eyes, targets = zip(*pairs, strict=True)
    candidates = Viewpoints(eyes, targets, focal, principal)
    counts = _visible_pixels(candidates, primitives, len(layout.placed))
    chosen, seen = _cover(counts, eyes, wanted, candidates_anyhow)
    if layout.program != "simple":
        first = sorted(chosen).index(chosen[0])
        chosen = sorted(chosen)[first:] + sorted(chosen)[:first]
    eyes, targets = zip(*(pairs[view] for view in chosen), strict=True)
    return Viewpoints(eyes, targets, focal, principal), seen


def _draw_pair(draws: Draws, layout: Layout) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """An eye near the walls, away from furniture, and a target among the furniture."""
    reach_x, reach_y = layout.size[0] // 2 - 250, layout.size[1] // 2 - 250
    count = len(layout.placed)
    middle = (sum(p.x for p in layout.placed) // count, sum(p.y for p in layout.placed) // count)
    eye = (0, 0, 0)
    for _ in range(_DRAWS_PER_CANDIDATE):
        x, y = draws.integer(-reach_x, reach_x), draws.integer(-reach_y, reach_y)
        if draws.chance(0.5):
            x = reach_x if x > 0 else -reach_x
        else:
            y = reach_y if y > 0 else -reach_y
        eye = (x, y, draws.integer(1300, layout.size[2] - 300))
        far_enough = abs(x - middle[0]) + abs(y - middle[1]) > min(reach_x, reach_y)
        if far_enough and _is_free(eye, layout):
            break
    else:
        eye = (eye[0], eye[1], layout.size[2] - 150)  # above all furniture
    target = (
        middle[0] + draws.integer(-500, 500),
        middle[1] + draws.integer(-500, 500),
        draws.integer(200, 800),
    )
    if (target[0], target[1]) == (eye[0], eye[1]):
        target = (target[0] + 100, target[1], target[2])
    return eye, target


def _is_free(eye: tuple[int, int, int], layout: Layout) -> bool:
    for piece in layout.placed:
        if piece.z + piece.furniture.size[2] + _CLEARANCE < eye[2]:
            continue
        x, y = piece.to_local(eye[0], eye[1])
        width, depth, _ = piece.furniture.size
        if abs(x) < width / 2 + _CLEARANCE and abs(y) < depth / 2 + _CLEARANCE:
            return False
    return True


def _visible_pixels(views: Viewpoints, primitives: Primitives, count: int) -> list[list[int]]:
    height, width = _COVERAGE_SIZE
    instance = instances(primitives, views.intrinsics(_COVERAGE_SIZE), views.poses(), height, width)
    flat = (instance + 1 + (count + 1) * torch.arange(len(instance))[:, None, None]).flatten()
    counts = torch.bincount(flat, minlength=len(instance) * (count + 1))
    return counts.view(len(instance), count + 1)[:, 1:].tolist()


def _cover(
    counts: list[list[int]], eyes: Sequence[tuple[int, int, int]], wanted: int, anyhow: int
) -> tuple[list[int], set[int]]:
    """Greedy cover by ``wanted`` views of objects seen with ``counts[view][object]`` pixels.

    Ties go to the first ``anyhow`` views, the later ones being close looks at a few things; then to
    the view that stands apart from those chosen, up to a point, then to the one with more pixels
    on objects, then to the earlier one.
    """
    sees = [{k for k, n in enumerate(row) if n >= _LEAST_PIXELS} for row in counts]
    chosen: list[int] = []
    seen: set[int] = set()

    def merit(view: int) -> tuple[int, bool, int, int, int]:
        apart = [math.dist(eyes[view], eyes[other]) for other in chosen]
        return (
            len(sees[view] - seen),
            view < anyhow,
            min([_APART, *map(round, apart)]),
            sum(counts[view]),
            -view,
        )

    for _ in range(wanted):
        best = max((view for view in range(len(counts)) if view not in chosen), key=merit)
        chosen.append(best)
        seen |= sees[best]
    return chosen, seen
