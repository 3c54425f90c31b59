"""Chairs, armchairs, sofas, stools and benches."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture import simple
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Part,
    around,
    assemble,
    ball,
    box,
    even,
    four_legs,
    leaning,
    slab,
    spoke,
    stalk,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface


def _dining_chair(draws: Draws) -> Furniture:
    width, depth = even(draws, 420, 500), even(draws, 480, 540)
    return simple.four_legged_chair(width, depth, even(draws, 430, 470), even(draws, 840, 980))


def _ladder_back_chair(draws: Draws) -> Furniture:
    width, depth = even(draws, 420, 480), even(draws, 480, 520)
    seat, height = even(draws, 440, 460), even(draws, 860, 1020)
    x, y = width // 2, depth // 2
    posts = [box(x0, x0 + 40, y - 40, y, seat, height, "wood") for x0 in (-x, x - 40)]
    rungs = draws.integer(2, 4)
    step = (height - seat - 120) // rungs // 2 * 2
    slats = [
        box(-x + 40, x - 40, y - 30, y - 10, top - 60, top, "wood")
        for top in range(height - 20, height - 20 - rungs * step, -step)
    ]
    parts = [slab(width, depth, seat - 40, seat), *four_legs(width, depth, seat - 40, 40, "wood")]
    return assemble("chair", [*parts, *posts, *slats], has_front=True)


def _arm_chair_with_legs(draws: Draws) -> Furniture:
    width, depth = even(draws, 540, 620), even(draws, 500, 560)
    seat, height = even(draws, 440, 460), even(draws, 840, 960)
    x, y = width // 2, depth // 2
    arm = seat + 200
    parts = [
        slab(width - 80, depth, seat - 60, seat, material=Material.FABRIC),
        *four_legs(width, depth - 20, seat - 20, 40, "wood"),
        leaning(width - 80, 50, height - seat + 40, 0, y - 70, seat - 40, 6, "main",
                Material.FABRIC),
    ]  # fmt: skip
    for side in (-1, 1):
        middle = side * (x - 20)
        parts += [
            slab(40, depth - 40, arm - 30, arm - 4, "wood", x=middle),
            slab(40, 40, seat - 20, arm - 30, "wood", x=middle, y=-y + 30),
            slab(40, 40, seat - 20, arm - 30, "wood", x=middle, y=y - 50),
        ]
    return assemble("chair", parts, has_front=True)


def _office_chair(draws: Draws) -> Furniture:
    seat, back = even(draws, 450, 500), even(draws, 440, 520)
    width, radius = even(draws, 460, 500), even(draws, 280, 310)
    parts = five_star_foot(radius, seat - 70)
    parts += [
        slab(width, 460, seat - 70, seat, material=Material.FABRIC),
        leaning(60, 30, 260, 0, 220, seat - 60, 8, "dark"),
        leaning(width - 40, 60, back, 0, 250, seat + 60, 8, material=Material.FABRIC),
    ]
    if draws.chance(0.7):
        for side in (-1, 1):
            middle = side * (width // 2 + 10)
            parts += [
                slab(40, 60, seat - 50, seat + 200, "dark", x=middle, y=20),
                slab(60, 260, seat + 200, seat + 230, "dark", x=middle, y=10),
            ]
    return assemble("chair", parts, has_front=True)


def five_star_foot(radius: int, height: int) -> list[Part]:
    """Five spokes on castors and a column up to ``height``."""
    angles = [90 + 72 * arm for arm in range(5)]
    spokes = [spoke(radius - 30, 50, 30, angle, 75, "dark") for angle in angles]
    castors = [ball(30, *around(radius - 30, angle), 30, "dark") for angle in angles]
    return [*spokes, *castors, upright(30, 60, height // 2 * 2, "metal")]


def _shell_chair(draws: Draws) -> Furniture:
    width, seat = even(draws, 480, 520), even(draws, 440, 460)
    height = even(draws, 780, 860)
    legs = [stalk((30, 30, seat), angle, 250, 0, -10, "wood") for angle in (45, 135, 225, 315)]
    parts = [
        upright(width // 2 - 20, seat - 30, seat),
        leaning(width - 40, 30, height - seat, 0, 150, seat - 20, 14),
        leaning(30, 160, 160, -width // 2 + 40, 80, seat - 20, 0),
        leaning(30, 160, 160, width // 2 - 40, 80, seat - 20, 0),
        *legs,
    ]
    return assemble("chair", parts, has_front=True)


def _upholstered(
    class_name: str, width: int, depth: int, height: int, seats: int, arm: int, arm_height: int
) -> Furniture:
    """A seat between two arms on short legs; what armchairs and sofas have in common."""
    x, y = width // 2, depth // 2
    inner = width - 2 * arm
    cushion = inner // seats // 4 * 4
    first = -(seats - 1) * cushion // 2
    parts = [
        slab(inner, depth - 60, 80, 300, y=10, material=Material.FABRIC),
        slab(inner, 200, 80, height - 120, y=y - 100, material=Material.FABRIC),
        *(
            slab(arm, depth - 20, 80, arm_height, x=side * (x - arm // 2), y=10,
                 material=Material.FABRIC)
            for side in (-1, 1)
        ),
        *four_legs(width - 80, depth - 80, 80, 60, "wood"),
    ]  # fmt: skip
    for index in range(seats):
        middle = first + index * cushion
        parts += [
            slab(cushion - 12, depth - 200, 300, 440, x=middle, y=-100, material=Material.FABRIC),
            slab(cushion - 12, 140, 440, height, x=middle, y=y - 260 + 20,
                 material=Material.FABRIC),
        ]  # fmt: skip
    half = (cushion - 12) // 2
    places = [
        Surface(middle - half, middle + half, -y + 20, y - 310, 440)
        for middle in (first + index * cushion for index in range(seats))
    ]
    return assemble(class_name, parts, surfaces=places, has_front=True)


def _block_armchair(draws: Draws) -> Furniture:
    width, depth = even(draws, 800, 980), even(draws, 800, 920)
    arm = even(draws, 140, 200)
    return _upholstered("armchair", width, depth, even(draws, 780, 880), 1, arm, 600)


def _wing_armchair(draws: Draws) -> Furniture:
    width, depth = even(draws, 700, 800), even(draws, 760, 860)
    height = even(draws, 980, 1100)
    x, y = width // 2, depth // 2
    parts = [
        slab(width - 160, depth - 100, 180, 340, y=-20, material=Material.FABRIC),
        slab(width - 170, depth - 180, 340, 460, y=-80, material=Material.FABRIC),
        leaning(width - 120, 140, height - 300, 0, y - 180, 300, 8, material=Material.FABRIC),
        *four_legs(width - 140, depth - 140, 180, 50, "wood"),
    ]
    for side in (-1, 1):
        parts += [
            slab(80, depth - 120, 180, 600, x=side * (x - 40), y=-30, material=Material.FABRIC),
            slab(60, 220, 600, height - 100, x=side * (x - 50), y=y - 190,
                 material=Material.FABRIC),
        ]  # fmt: skip
    return assemble("armchair", parts, has_front=True)


def _wooden_armchair(draws: Draws) -> Furniture:
    width, depth = even(draws, 640, 740), even(draws, 720, 800)
    height = even(draws, 760, 880)
    x, y = width // 2, depth // 2
    parts = [
        leaning(width - 120, 120, height - 320, 0, y - 240, 330, 16, material=Material.FABRIC),
        slab(width - 120, depth - 160, 280, 400, y=-60, material=Material.FABRIC),
        slab(width - 80, depth - 140, 250, 280, "wood", y=-50),
    ]
    for side in (-1, 1):
        middle = side * (x - 30)
        parts += [
            slab(60, depth - 80, 560, 590, "wood", x=middle),
            slab(50, 50, 0, 560, "wood", x=middle, y=-y + 80),
            slab(50, 50, 0, 560, "wood", x=middle, y=y - 80),
            slab(30, depth - 120, 250, 290, "wood", x=middle),
        ]
    return assemble("armchair", parts, has_front=True)


def _three_seater(draws: Draws) -> Furniture:
    width, depth = even(draws, 1900, 2400), even(draws, 820, 960)
    arm = even(draws, 120, 220)
    return _upholstered("sofa", width, depth, even(draws, 740, 860), 3, arm, 600)


def _loveseat(draws: Draws) -> Furniture:
    width, depth = even(draws, 1360, 1640), even(draws, 780, 900)
    arm = even(draws, 100, 180)
    return _upholstered("sofa", width, depth, even(draws, 740, 860), 2, arm, 560)


def _corner_sofa(draws: Draws) -> Furniture:
    width, depth = even(draws, 2200, 2600), even(draws, 1500, 1700)
    height, seat = even(draws, 740, 840), 860
    x, y = width // 2, depth // 2
    cloth = Material.FABRIC
    chaise = even(draws, 800, 960)
    parts = [
        box(-x, x, y - seat, y, 60, 300, material=cloth),
        box(x - chaise, x, -y, y - seat, 60, 300, material=cloth),
        box(-x, x, y - 200, y, 300, height - 60, material=cloth),
        box(-x, -x + 160, y - seat, y - 200, 300, 580, material=cloth),
        box(-x + 166, x - chaise - 6, y - seat + 10, y - 200, 300, 440, material=cloth),
        box(x - chaise + 6, x - 10, -y + 10, y - 200, 300, 440, material=cloth),
        box(-x + 180, -20, y - 340, y - 180, 440, height, material=cloth),
        box(0, x - 40, y - 340, y - 180, 440, height, material=cloth),
        *four_legs(width - 40, depth - 40, 60, 60, "dark")[1:],
        box(-x + 20, -x + 80, y - seat + 20, y - seat + 80, 0, 60, "dark"),
    ]
    place = Surface(-x + 170, x - chaise - 10, y - seat + 20, y - 340, 440)
    return assemble("sofa", parts, surfaces=[place], has_front=True)


def _square_stool(draws: Draws) -> Furniture:
    width, height = even(draws, 320, 400), even(draws, 420, 500)
    inset = width - 20
    parts = [
        slab(width, width, height - 60, height, material=Material.FABRIC),
        *four_legs(inset, inset, height - 60, 40, "wood"),
        slab(inset - 40, 24, 140, 170, "wood"),
        slab(24, inset - 40, 140, 170, "wood"),
        *(slab(inset - 40, 24, 140, 170, "wood", y=s * (inset // 2 - 20)) for s in (-1, 1)),
    ]
    return assemble("stool", parts)


def _bar_stool(draws: Draws) -> Furniture:
    radius, height = even(draws, 160, 200), even(draws, 640, 780)
    parts = [
        upright(radius, height - 80, height, material=Material.FABRIC),
        upright(30, 30, height - 80, "metal"),
        upright(radius + 20, 0, 30, "metal"),
        upright(radius - 20, 240, 256, "metal"),
    ]
    return assemble("stool", parts)


def _slatted_bench(draws: Draws) -> Furniture:
    width, height = even(draws, 1000, 1500), even(draws, 420, 460)
    x = width // 2
    parts = [slab(width, 80, height - 30, height, y=y, material=Material.WOOD)
             for y in (-140, -46, 46, 140)]  # fmt: skip
    for side in (-1, 1):
        foot = side * (x - 140)
        parts += [
            slab(60, 340, height - 90, height - 30, "dark", x=foot),
            slab(60, 60, 0, height - 90, "dark", x=foot, y=-130),
            slab(60, 60, 0, height - 90, "dark", x=foot, y=130),
        ]
    return assemble("bench", parts)


def _upholstered_bench(draws: Draws) -> Furniture:
    width, depth = even(draws, 900, 1400), even(draws, 380, 460)
    height = even(draws, 440, 500)
    parts = [
        slab(width, depth, height - 120, height, material=Material.FABRIC),
        slab(width - 40, depth - 40, height - 180, height - 120, "wood"),
        *four_legs(width - 60, depth - 60, height - 180, 50, "wood"),
    ]
    return assemble("bench", parts)


def _bench_with_back(draws: Draws) -> Furniture:
    width, seat = even(draws, 1100, 1500), even(draws, 420, 460)
    x = width // 2
    parts = [
        slab(width, 420, seat - 40, seat, material=Material.WOOD),
        *four_legs(width - 80, 400, seat - 40, 60, "main"),
        *(slab(60, 40, seat, seat + 400, x=side * (x - 120), y=180) for side in (-1, 1)),
        slab(width, 30, seat + 280, seat + 380, y=165, material=Material.WOOD),
        slab(width, 30, seat + 120, seat + 220, y=165, material=Material.WOOD),
    ]
    return assemble("bench", parts, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "chair": {
        "dining": _dining_chair,
        "ladder back": _ladder_back_chair,
        "with arms": _arm_chair_with_legs,
        "office": _office_chair,
        "shell": _shell_chair,
    },
    "armchair": {"block": _block_armchair, "wing": _wing_armchair, "wooden": _wooden_armchair},
    "sofa": {
        "two cushions": simple.sofa,
        "three seats": _three_seater,
        "loveseat": _loveseat,
        "corner": _corner_sofa,
    },
    "stool": {"round": simple.stool, "square": _square_stool, "bar": _bar_stool},
    "bench": {
        "slatted": _slatted_bench,
        "upholstered": _upholstered_bench,
        "with back": _bench_with_back,
    },
}
