"""Generated rooms: rendering their views, and laying them out with all that is said of them.

The rooms are those of the generator's programs. The one that is rendered has the median number of
primitives of 401 of them, 138; a test holds it to that.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Cost, InputFactory, Inputs, OpSpec, Tolerance

if TYPE_CHECKING:
    from g2vlm_fast.data.rendering.primitives import Primitives

_HEIGHT, _WIDTH = 240, 320
MEDIAN_ROOM = 136
"""Seed of a room with the median number of primitives."""

_RAYS_AT_ONCE = 2**22  # pairs of rays and primitives
_DISAGREEING_PIXELS = 5e-4  # share; on outlines
_EQUALLY_NEAR = 1e-5  # metres, and relative beyond one metre
_LEAST_OPERATIONS = 60  # a pixel: one intersection and its shading


@cache
def median_room() -> Primitives:
    """The solids of the room that is rendered, in float64."""
    from g2vlm_fast.data.rooms.config import PROGRAMS, RoomConfig
    from g2vlm_fast.data.rooms.records import draw_room
    from g2vlm_fast.data.rooms.solids import build_primitives

    record = draw_room(MEDIAN_ROOM, RoomConfig(programs=PROGRAMS))
    return build_primitives(record.layout, torch.float64)


def _views(count: int, height: int, width: int) -> InputFactory:
    """Draw cameras about the middle of the room, a little under its ceiling."""

    def draw(generator: torch.Generator) -> Inputs:
        from g2vlm_fast.geometry.cameras import look_at

        primitives = median_room()
        reach = primitives.half_size[0] - 0.4  # of the room
        spread = 2 * torch.rand(2, count, 3, generator=generator, dtype=torch.float64) - 1
        eyes = primitives.center[0] + reach * spread[0] * torch.tensor([1.0, 1.0, 0.1])
        eyes[:, 2] += 0.6
        targets = primitives.center[0] + 0.5 * reach * spread[1] - torch.tensor([0.0, 0.0, 0.6])
        intrinsics = torch.tensor(
            [[0.75 * width, 0.0, width / 2], [0.0, 0.75 * width, height / 2], [0.0, 0.0, 1.0]],
            dtype=torch.float64,
        )
        return {
            **{name: getattr(primitives, name) for name in primitives.__dataclass_fields__},
            "intrinsics": intrinsics.repeat(count, 1, 1),
            "poses": look_at(eyes, targets),
            "lamp": primitives.center[0] + torch.tensor([0.0, 0.0, 1.0]),
            "height": height,
            "width": width,
        }

    return draw


def _render(
    *, intrinsics: Tensor, poses: Tensor, lamp: Tensor, height: int, width: int, **solids: Tensor
) -> tuple[Tensor, ...]:
    from g2vlm_fast.data.rendering.primitives import Primitives
    from g2vlm_fast.data.rendering.render import render

    seen = render(Primitives(**solids), intrinsics, poses, height, width, lamp=lamp)
    return seen.primitive, seen.depth, seen.normal, seen.images


def _cast_every_ray(
    *, intrinsics: Tensor, poses: Tensor, lamp: Tensor, height: int, width: int, **solids: Tensor
) -> tuple[Tensor, ...]:
    """Meet every ray with every primitive, and shade what it hits: nothing is culled."""
    from g2vlm_fast.data.rendering.materials import surface_at
    from g2vlm_fast.data.rendering.primitives import Primitives
    from g2vlm_fast.data.rendering.render import cast
    from g2vlm_fast.geometry.cameras import pixel_rays

    primitives = Primitives(**solids)
    local = pixel_rays(intrinsics, height, width).flatten(1, 2)
    directions = (poses[:, None, :3, :3] * local[..., None, :]).sum(-1).flatten(0, 1)
    origins = poses[:, None, :3, 3].expand(-1, height * width, -1).flatten(0, 1)
    at_once = max(1, _RAYS_AT_ONCE // len(primitives))
    pairs = zip(origins.split(at_once), directions.split(at_once), strict=True)
    met = [cast(primitives, *rays) for rays in pairs]
    depth, row = (torch.cat(parts) for parts in zip(*met, strict=True))
    hit = row >= 0
    depth = depth.masked_fill(~hit, 0)
    points = origins + depth[:, None] * directions
    normal, color = surface_at(primitives, row.clamp_min(0), points)
    toward = torch.nn.functional.normalize(lamp - points, dim=-1)
    light = 0.55 + 0.08 * normal[:, 2] + 0.42 * (normal * toward).sum(-1).clamp_min(0)
    shape = (len(poses), height, width)

    def image(values: Tensor) -> Tensor:
        return (values * hit[:, None]).view(*shape, 3).permute(0, 3, 1, 2)

    images = image((color * light[:, None]).clamp(0, 1))
    return row.view(shape), depth.view(shape), image(normal), images


def _errors(_: Inputs, actual: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Relative L2 errors where both see the same primitive, or infinity.

    Two may be seen equally near, where faces of solids lie in one plane; else all pixels but a few
    on outlines must see the same.
    """
    same = actual[0].cpu() == expected[0].cpu()
    depths = actual[1].cpu().double(), expected[1].cpu().double()
    apart = (depths[0] - depths[1]).abs() > _EQUALLY_NEAR * depths[1].clamp_min(1)
    if (~same & apart).double().mean() > _DISAGREEING_PIXELS:
        return [float("inf")]
    found = []
    for one, other in zip(actual[1:], expected[1:], strict=True):
        mask = same if one.ndim == 3 else same[:, None].expand(one.shape)
        one, other = (image.detach().cpu().double()[mask] for image in (one, other))
        found.append(((one - other).norm() / other.norm()).item())
    return found


def _cost(inputs: Inputs) -> Cost:
    pixels = len(inputs["poses"]) * inputs["height"] * inputs["width"]
    return Cost(pixels * (2 * 8 + 7 * 4), pixels * _LEAST_OPERATIONS)


RENDER = OpSpec(
    op="render",
    function=_render,
    reference=_cast_every_ray,
    small={"two_views": _views(2, 36, 48)},
    timed={
        "cpu_views_320x240": _views(4, _HEIGHT, _WIDTH),
        "views_320x240": _views(64, _HEIGHT, _WIDTH),
    },
    grad_inputs=(),
    tolerance={torch.float32: Tolerance(2e-3, 0.0)},  # textures have edges
    cost=_cost,
    suite="render",
    errors=_errors,
)


def _scene(generator: torch.Generator) -> Inputs:
    return {"seed": int(generator.initial_seed())}


def _lay_out_and_speak(seed: int) -> Tensor:
    """Lay a room out and say all there is to say of it, on one core; the digest of the texts."""
    from g2vlm_fast.data import generate_room
    from g2vlm_fast.data.language.texts import KINDS, queries
    from g2vlm_fast.data.rooms.config import PROGRAMS, RoomConfig

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = RoomConfig(programs=PROGRAMS)
        texts = queries(generate_room(seed, config), seed, kinds=KINDS)
    finally:
        torch.set_num_threads(threads)
    said = json.dumps([(text.text, text.answer) for text in texts]).encode()
    return torch.tensor(list(hashlib.sha256(said).digest()))


LAYOUT = OpSpec(
    op="layout",
    function=_lay_out_and_speak,
    small={"scene": _scene},
    timed={"cpu_layout_and_language": _scene},
    grad_inputs=(),
    tolerance={torch.float32: Tolerance(0.0, 0.0)},  # the same texts at every call
    suite="render",
)

SPECS = (RENDER, LAYOUT)
