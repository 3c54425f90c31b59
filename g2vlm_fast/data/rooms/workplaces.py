"""Desks with chairs, screens and what else lies about."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.outlines import Wall
from g2vlm_fast.data.rooms.support import put_at, put_on


def desk_group(arrangement: Arrangement, *, walls: tuple[Wall, ...] = ()) -> int | None:
    """A desk at a wall with its chair, screen, keyboard and what else lies about."""
    desk = arrangement.make("desk") or arrangement.make("table", prefer=("rectangular",))
    if desk is None:
        return None
    with arrangement.group():
        index = arrangement.against_wall(desk, walls=walls, front=750, into_corner=0.5)
        if index is not None:
            fit_out_desk(arrangement, index)
    return index


def fit_out_desk(arrangement: Arrangement, desk: int) -> None:
    """Give a desk its chair and its things."""
    draws = arrangement.draws
    piece = arrangement.placed[desk]
    width, depth, _ = piece.furniture.size
    seat = arrangement.make("chair", prefer=("office", "swivel", "task"))
    slide = draws.integer(-width // 8, width // 8)
    for pulled in (draws.integer(-200, 120), 60, 180):
        if seat is None:
            break
        x, y = arrangement.beside(desk, slide, -depth // 2 - seat.size[1] // 2 - pulled)
        turn = draws.integer(-30, 30) if pulled > 0 else draws.integer(-8, 8)
        if arrangement.stand(seat, x, y, piece.yaw + 180 + turn, tucked=(desk,)) is not None:
            break
    if draws.chance(0.25):
        put_at(arrangement, desk, arrangement.make("laptop"), slide, -depth // 8,
               draws.integer(-10, 10))  # fmt: skip
    else:
        screens = 2 if width >= 1400 and draws.chance(0.4) else 1
        for place in range(screens):
            x = slide + (2 * place + 1 - screens) * 310
            turn = (2 * place + 1 - screens) * 12
            put_at(arrangement, desk, arrangement.make("monitor"), x, depth // 4, -turn)
        put_at(arrangement, desk, arrangement.make("keyboard"), slide, -depth // 2 + 140,
               draws.integer(-4, 4))  # fmt: skip
        tower = arrangement.make("computer")
        if tower is not None and draws.chance(0.5):
            side = draws.choice((-1, 1))
            x = side * (width // 2 - tower.size[0] // 2 - 90)
            x, y = arrangement.beside(desk, x, depth // 4)
            arrangement.stand(tower, x, y, piece.yaw, tucked=(desk,), clearance=10)
    for name, chance in (
        ("printer", 0.12), ("lamp", 0.35), ("telephone", 0.3), ("book", 0.4), ("cup", 0.4),
        ("plant", 0.12), ("book", 0.25), ("clock", 0.08),
    ):  # fmt: skip
        if draws.chance(chance):
            put_on(arrangement, desk, name)
    waste = arrangement.make("bin")
    if waste is not None and draws.chance(0.45):
        x = draws.choice((-1, 1)) * (width // 2 + waste.size[0] // 2 + 60)
        x, y = arrangement.beside(desk, x, depth // 2 - waste.size[1] // 2 - 40)
        arrangement.stand(waste, x, y, piece.yaw)
