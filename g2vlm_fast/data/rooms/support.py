"""Things on things and in things: lamps on nightstands, cups on low tables, books in boxes."""

from __future__ import annotations

import math

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.furniture import Furniture, Mount, Surface
from g2vlm_fast.data.rooms.placement import Placed
from g2vlm_fast.data.rooms.turns import cosine_sine

_GAP = 15  # millimetres between things on one surface, and to its edge where there is room
_ATTEMPTS = 10
_FREELY_TURNED = frozenset(
    ("cup", "bowl", "vase", "plant", "lamp", "book", "box", "basket", "kettle", "pillow")
)


def put_on(
    arrangement: Arrangement, base: int, class_name: str, *, like: int | None = None
) -> int | None:
    """Put a thing anywhere on the surfaces of a piece; None where it has no place.

    Args:
        arrangement: the room.
        base: index of the piece.
        class_name: of the thing; a variant that stands on surfaces is drawn.
        like: index of a piece whose colour it takes.
    """
    furniture = arrangement.make(class_name, mount=Mount.TOP)
    if furniture is None or not arrangement.may_carry(base, class_name):
        return None
    draws = arrangement.draws
    places = [s for s in arrangement.placed[base].furniture.tops if _has_room(s, furniture)]
    for _ in range(_ATTEMPTS if places else 0):
        surface = draws.choice(places)
        turn = draws.integer(-12, 12)
        if class_name in _FREELY_TURNED and surface.x1 - surface.x0 > 300:
            turn = draws.integer(-60, 60)
        reach_x = (surface.x1 - surface.x0 - furniture.size[0]) // 2
        reach_y = (surface.y1 - surface.y0 - furniture.size[1]) // 2
        x = (surface.x0 + surface.x1) // 2 + draws.integer(-reach_x, reach_x)
        y = (surface.y0 + surface.y1) // 2 + draws.integer(-reach_y, reach_y)
        index = _stand(arrangement, base, furniture, surface, x, y, turn, like)
        if index is not None:
            return index
    return None


def put_in(arrangement: Arrangement, base: int, class_name: str) -> int | None:
    """Put a thing anywhere in the cavities of a piece; None where it has no place.

    Two thirds of it or more are below the rim. It stands square to the piece or nearly so; its
    front, where it has one and the cavity is open at the front alone, shows.
    """
    if not arrangement.may_carry(base, class_name, "in"):
        return None
    for mount in (Mount.TOP, Mount.FLOOR):
        furniture = arrangement.make(class_name, mount=mount)
        index = None if furniture is None else _stand_inside(arrangement, base, furniture)
        if index is not None:
            return index
    return None


def _stand_inside(arrangement: Arrangement, base: int, furniture: Furniture) -> int | None:
    draws = arrangement.draws
    cavities = arrangement.placed[base].furniture.cavities
    places = [cavity for cavity in cavities if furniture.size[2] <= cavity.tallest]
    for _ in range(_ATTEMPTS if places else 0):
        cavity = draws.choice(places)
        turn = draws.integer(-6, 6)
        if not cavity.has_ceiling:
            turn += 90 * draws.integer(0, 3)
        half_x, half_y = _half_extents(furniture, turn)
        reach_x = (cavity.x1 - cavity.x0) // 2 - half_x
        reach_y = (cavity.y1 - cavity.y0) // 2 - half_y
        if min(reach_x, reach_y) < 0:
            continue
        x = (cavity.x0 + cavity.x1) // 2 + draws.integer(-reach_x, reach_x)
        y = (cavity.y0 + cavity.y1) // 2 + draws.integer(-reach_y, reach_y)
        index = _stand(arrangement, base, furniture, cavity, x, y, turn, None)
        if index is not None:
            return index
    return None


def is_in(piece: Placed, base: Placed) -> bool:
    """Whether a piece that stands on or in another one is in it."""
    x, y = base.to_local(piece.x, piece.y)
    return any(
        piece.z == base.z + cavity.z and cavity.x0 <= x <= cavity.x1 and cavity.y0 <= y <= cavity.y1
        for cavity in base.furniture.cavities
    )


def put_at(
    arrangement: Arrangement, base: int, furniture: Furniture | None, x: int, y: int, turn: int = 0
) -> int | None:
    """Put a thing at a point of a piece, given in the frame of that piece.

    The thing is moved inwards where it would reach over the edge; the highest surface that is
    large enough takes it.
    """
    if furniture is None or not arrangement.may_carry(base, furniture.class_name):
        return None
    places = [s for s in arrangement.placed[base].furniture.tops if _has_room(s, furniture)]
    if not places:
        return None
    surface = max(places, key=lambda place: place.z)
    half_width, half_depth = furniture.size[0] // 2, furniture.size[1] // 2
    x = min(max(x, surface.x0 + half_width), surface.x1 - half_width)
    y = min(max(y, surface.y0 + half_depth), surface.y1 - half_depth)
    return _stand(arrangement, base, furniture, surface, x, y, turn, None)


def _half_extents(furniture: Furniture, turn: int) -> tuple[int, int]:
    """Half the sides of the rectangle around a turned footprint, rounded up."""
    cosine, sine = (abs(part) for part in cosine_sine(turn))
    width, depth, _ = furniture.size
    return (
        math.ceil((cosine * width + sine * depth) / 2),
        math.ceil((sine * width + cosine * depth) / 2),
    )


def _has_room(surface: Surface, furniture: Furniture) -> bool:
    width, depth, height = furniture.size
    return (
        width <= surface.x1 - surface.x0
        and depth <= surface.y1 - surface.y0
        and height <= surface.room
    )


def _stand(
    arrangement: Arrangement, base: int, furniture: Furniture, surface: Surface,
    x: int, y: int, turn: int, like: int | None,
) -> int | None:  # fmt: skip
    piece = arrangement.placed[base]
    world_x, world_y = arrangement.beside(base, x, y)
    index = arrangement.stand(
        furniture, world_x, world_y, piece.yaw + turn, z=piece.z + surface.z, support=base,
        like=like, clearance=_GAP,
    )  # fmt: skip
    if index is None:
        return None
    corners = (arrangement.solid(base).to_local(*c) for c in arrangement.solid(index).corners())
    if all(
        surface.x0 - 1 <= x <= surface.x1 + 1 and surface.y0 - 1 <= y <= surface.y1 + 1
        for x, y in corners
    ):
        return index
    arrangement.undo((index, arrangement.mark()[1]))
    return None
