"""Furniture that belongs together: beds and nightstands, tables and chairs, desks, sofas."""

from __future__ import annotations

from g2vlm_fast.data.arrangement import CLEARANCE, Arrangement
from g2vlm_fast.data.furniture import Furniture, Mount
from g2vlm_fast.data.outlines import Wall
from g2vlm_fast.data.support import put_at, put_on

_PASSAGE = 600  # millimetres that a person needs to walk
_PUSHED_BACK = 450  # behind a chair at a table, for who sits down
_SEAT_SPACING = 640  # of a table's side for each chair
_LOW_TABLE = 560  # height of a table before a sofa, at most


def bed_group(arrangement: Arrangement) -> int | None:
    """A bed with its head to a wall, nightstands with lamps, and a way to get in."""
    furniture = arrangement.make("bed", mount=Mount.FLOOR)
    if furniture is None:
        return None
    draws, mark = arrangement.draws, arrangement.mark()
    for _ in range(6):
        with arrangement.group():
            bed = arrangement.against_wall(furniture, into_corner=0.3, front=400)
            if bed is None:
                return None
            half = furniture.size[0] // 2
            back = furniture.size[1] // 2
            ways = [
                arrangement.keep_free(bed, *side, -back, back, required=True)
                for side in ((half, half + _PASSAGE), (-half - _PASSAGE, -half))
            ]
            if not any(ways):
                arrangement.undo(mark)
                continue
            stand = arrangement.make("nightstand")
            first: int | None = None
            for side, is_free in zip((1, -1), ways, strict=True):
                if stand is None or not is_free or draws.chance(0.2):
                    continue
                x = side * (half + stand.size[0] // 2 + CLEARANCE + 10)
                index = arrangement.stand(
                    stand, *arrangement.beside(bed, x, back - stand.size[1] // 2),
                    arrangement.placed[bed].yaw, like=first,
                )  # fmt: skip
                if index is None:
                    continue
                first = index if first is None else first
                if draws.chance(0.75):
                    put_on(arrangement, index, "lamp")
                for name in ("clock", "book", "cup", "telephone"):
                    if draws.chance(0.2):
                        put_on(arrangement, index, name)
            return bed
    return None


def dining_group(
    arrangement: Arrangement, *, most_chairs: int = 8, class_name: str = "table"
) -> int | None:
    """A table with chairs around it, square to the room."""
    draws = arrangement.draws
    table = arrangement.make(
        class_name, prefer=("rectangular", "round", "dining", "square", "trestle", "pedestal")
    )
    if table is None or table.size[2] < 650:
        return None
    space = arrangement.space
    for _ in range(14):
        with arrangement.group():
            yaw = 90 * draws.integer(0, 3)
            half = (table.size[0] if yaw in (0, 180) else table.size[1]) // 2 + 650
            deep = (table.size[1] if yaw in (0, 180) else table.size[0]) // 2 + 650
            if space.x1 - space.x0 < 2 * half or space.y1 - space.y0 < 2 * deep:
                half, deep = half - 500, deep - 500
            low_x, high_x = space.x0 + half, space.x1 - half
            low_y, high_y = space.y0 + deep, space.y1 - deep
            if low_x > high_x or low_y > high_y:
                return None
            x, y = draws.integer(low_x, high_x), draws.integer(low_y, high_y)
            index = arrangement.stand(table, x, y, yaw, clearance=_PASSAGE)
            if index is None:
                continue
            seat_around(arrangement, index, most_chairs)
            return index
    with arrangement.group():
        at_wall = arrangement.against_wall(table, into_corner=0.1)
        if at_wall is not None:
            seat_around(arrangement, at_wall, most_chairs)
    return at_wall


def seat_around(arrangement: Arrangement, table: int, most: int) -> None:
    """Put chairs of one kind at the sides of a table, fronts towards it, partly under its top."""
    draws = arrangement.draws
    piece = arrangement.placed[table]
    chair = arrangement.make("chair", prefer=("dining", "wooden", "kitchen", "plastic"))
    if chair is None:
        return
    width, depth, _ = piece.furniture.size
    seats: list[tuple[int, int, int]] = []  # side, slide, half extent of the table across
    for side, along, across in (
        (0, width, depth),
        (2, width, depth),
        (1, depth, width),
        (3, depth, width),
    ):
        count = max(1, (along - 120) // _SEAT_SPACING) if along >= 560 else 0
        seats += [
            (side, along * (2 * place + 1 - count) // (2 * count), across // 2)
            for place in range(count)
        ]
    first: int | None = None
    for side, slide, edge in seats[:most]:
        if draws.chance(0.12):
            continue
        mark = arrangement.mark()
        for pulled in (draws.integer(-180, 60), 20, 160):
            away = edge + chair.size[1] // 2 + pulled
            local = ((slide, away), (-away, slide), (-slide, -away), (away, -slide))[side]
            index = arrangement.stand(
                chair, *arrangement.beside(table, *local),
                piece.yaw + 90 * side + draws.integer(-6, 6), like=first, tucked=(table,),
            )  # fmt: skip
            if index is None:
                continue
            half, back = chair.size[0] // 2, chair.size[1] // 2
            if arrangement.keep_free(index, -half, half, back, back + _PUSHED_BACK, required=True):
                first = index if first is None else first
            else:
                arrangement.undo(mark)
            break


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
            put_at(arrangement, stand, arrangement.make("television", mount=Mount.TOP), 0, 0)
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
            prefer=("television bench", "sideboard", "low", "lowboard"),
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
