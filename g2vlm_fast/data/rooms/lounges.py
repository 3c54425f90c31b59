"""Sofas opposite televisions, low tables on rugs between them, armchairs at the sides."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.furniture import Furniture, Mount
from g2vlm_fast.data.rooms.support import put_at, put_on

_PASSAGE = 600  # millimetres that a person needs to walk
_PUSHED_BACK = 450  # behind a chair at a table, for who sits down
_SEAT_SPACING = 640  # of a table's side for each chair
_LOW_TABLE = 560  # height of a table before a sofa, at most


def television_group(arrangement: Arrangement) -> int | None:
    """A sofa opposite a television, a low table on a rug between them, armchairs at the sides."""
    base = _low_bench(arrangement)
    sofa = arrangement.make("sofa")
    if sofa is None:
        return None
    draws, mark = arrangement.draws, arrangement.mark()
    for _ in range(8):
        with arrangement.group():
            stand = None
            if base is not None:
                stand = arrangement.against_wall(base, into_corner=0.1, front=1200)
            if stand is None:
                return _sofa_alone(arrangement, sofa)
            seat = _sofa_opposite(arrangement, sofa, stand)
            if seat is None:
                arrangement.undo(mark)
                continue
            screen = arrangement.make("television", mount=Mount.TOP)
            if put_at(arrangement, stand, screen, 0, 0) is None:  # a window may be in its way
                arrangement.undo(mark)
                continue
            for name, chance in (("vase", 0.2), ("book", 0.2), ("plant", 0.15), ("clock", 0.1)):
                if draws.chance(chance):
                    put_on(arrangement, stand, name)
            fit_out_sofa(arrangement, seat)
            return seat
    return _sofa_alone(arrangement, sofa)


def fit_out_sofa(arrangement: Arrangement, sofa: int) -> None:
    """Put rug, low table, armchairs, lamp and pillows about a sofa."""
    draws = arrangement.draws
    piece = arrangement.placed[sofa]
    width, depth, _ = piece.furniture.size
    rug = arrangement.make("rug") if draws.chance(0.7) else None
    table = _low_table(arrangement)
    reach = table.size[1] if table is not None else 600
    middle = -depth // 2 - draws.integer(350, 450) - reach // 2
    if rug is not None:
        x, y = arrangement.beside(sofa, 0, min(middle, -depth // 2 - rug.size[1] // 2 - 60))
        arrangement.stand(rug, x, y, piece.yaw)
    if table is not None:
        x, y = arrangement.beside(sofa, draws.integer(-150, 150), middle)
        index = arrangement.stand(table, x, y, piece.yaw, clearance=300)
        for name, chance in (("book", 0.5), ("cup", 0.4), ("vase", 0.25), ("bowl", 0.25)):
            if index is not None and draws.chance(chance):
                put_on(arrangement, index, name)
    chair = arrangement.make("armchair")
    first: int | None = None
    for side in (-1, 1):
        if chair is None or draws.chance(0.5):
            continue
        x = side * (width // 2 + 150 + chair.size[1] // 2)
        turn = draws.integer(55, 90) * -side
        index = arrangement.stand(
            chair, *arrangement.beside(sofa, x, middle), piece.yaw + turn, like=first
        )
        first = index if first is None else first
    lamp = arrangement.make("lamp", mount=Mount.FLOOR)
    if lamp is not None and draws.chance(0.5):
        x = draws.choice((-1, 1)) * (width // 2 + lamp.size[0] // 2 + 60)
        x, y = arrangement.beside(sofa, x, depth // 2 - lamp.size[1] // 2)
        arrangement.stand(lamp, x, y, piece.yaw)
    for _ in range(draws.integer(0, 3)):
        put_on(arrangement, sofa, "pillow")


def _low_bench(arrangement: Arrangement) -> Furniture | None:
    """A piece that a television stands on."""
    for class_name in ("cabinet", "bench", "cabinet", "dresser"):
        piece = arrangement.make(
            class_name,
            mount=Mount.FLOOR,
            prefer=("television bench", "sideboard", "compartments", "low", "lowboard"),
        )
        if piece is not None and piece.size[2] <= 900 and piece.surfaces and piece.size[0] >= 800:
            return piece
    return None


def _low_table(arrangement: Arrangement) -> Furniture | None:
    table = arrangement.make("table", prefer=("coffee", "low", "coffee table", "low round"))
    return table if table is not None and table.size[2] <= _LOW_TABLE else None


def _sofa_opposite(arrangement: Arrangement, sofa: Furniture, stand: int) -> int | None:
    """A sofa that faces a television: at the far wall where that is near enough."""
    draws = arrangement.draws
    piece = arrangement.placed[stand]
    half = piece.furniture.size[1] // 2
    far = next((w for w in arrangement.walls if w.yaw == (piece.yaw + 180) % 360), None)
    distances = [draws.integer(1800, 2900), draws.integer(1600, 2200)]
    if far is not None:
        across = abs(far.y - piece.y) if far.yaw in (0, 180) else abs(far.x - piece.x)
        at_wall = across - half - sofa.size[1] - 20
        if 1400 <= at_wall <= 3600:
            distances.insert(0, at_wall)
    slide = draws.integer(-200, 200)
    mark = arrangement.mark()
    for distance in distances:
        x, y = arrangement.beside(stand, slide, -half - distance - sofa.size[1] // 2)
        index = arrangement.stand(sofa, x, y, piece.yaw + 180)
        if index is None:
            continue
        end, back = sofa.size[0] // 2, sofa.size[1] // 2
        ways = ((end, end + _PASSAGE), (-end - _PASSAGE, -end))
        if any(arrangement.keep_free(index, *way, -back, back, required=True) for way in ways):
            return index
        arrangement.undo(mark)
    return None


def _sofa_alone(arrangement: Arrangement, sofa: Furniture) -> int | None:
    with arrangement.group():
        index = arrangement.against_wall(sofa, into_corner=0.2, front=900)
        if index is not None:
            fit_out_sofa(arrangement, index)
    return index
