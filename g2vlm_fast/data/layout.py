"""Where furniture stands: rooms laid out in whole millimetres and degrees, without collisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.furniture import SMALL_CLASSES, Furniture, make_furniture
from g2vlm_fast.ontology import CLASSES, COLORS

_CLEARANCE = 60  # millimetres between pieces
_WALL_GAP = 30
_ATTEMPTS = 30  # per piece; a piece that finds no place is left out
_AGAINST_WALL = {"bed": 1.0, "sofa": 0.7, "cabinet": 1.0, "shelf": 1.0, "bin": 0.6, "lamp": 0.6}
_MOST_OF_CLASS = {"bed": 1, "sofa": 1, "shelf": 2, "cabinet": 2, "table": 2}
_MOST = 3


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """What rooms are drawn from. Ranges are (low, high), both included; lengths are metres."""

    side: tuple[float, float] = (3.0, 6.0)
    height: tuple[float, float] = (2.4, 3.0)
    objects: tuple[int, int] = (3, 7)
    views: tuple[int, int] = (2, 4)
    image_size: tuple[int, int] = (48, 64)  # (height, width) in pixels
    focal: tuple[float, float] = (0.65, 0.85)  # focal length over image width: 75 to 61 degrees
    sensor_noise: bool = True  # False: exact images and depth, and no holes
    depth_probability: float = 0.9  # of a scene, that depth is given
    mesh_probability: float = 0.3  # of a scene, that part of its surface is given as a mesh
    classes: tuple[str, ...] = CLASSES
    colors: tuple[str, ...] = tuple(COLORS)

    def __post_init__(self) -> None:
        for name in ("side", "height", "objects", "views", "focal"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"RoomConfig: {name} must be 0 < low <= high, got {(low, high)}")
        if self.side[0] < 2.5 or self.height[0] < 2.2:
            raise ValueError("RoomConfig: rooms must be at least 2.5 m wide and 2.2 m high")
        if min(self.image_size) < 8:
            raise ValueError(f"RoomConfig: image_size must be >= 8, got {self.image_size}")
        for name, known in (("classes", CLASSES), ("colors", COLORS)):
            unknown = set(getattr(self, name)) - set(known)
            if unknown or not getattr(self, name):
                raise ValueError(
                    f"RoomConfig: {name} must be some of {list(known)}, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Placed:
    """A piece of furniture in its place."""

    furniture: Furniture
    color: str
    jitter: tuple[int, int, int]  # thousandths of each channel of the colour
    x: int  # millimetres
    y: int
    z: int
    yaw: int  # degrees, counter-clockwise from above
    support: int | None = None  # index of the piece that it stands on

    def footprint(self, margin: int = 0) -> list[tuple[float, float]]:
        """Corners of the ground rectangle in millimetres, grown by ``margin`` on all sides."""
        width, depth = self.furniture.size[0] / 2 + margin, self.furniture.size[1] / 2 + margin
        corners = ((-width, -depth), (width, -depth), (width, depth), (-width, depth))
        return [self.to_world(x, y) for x, y in corners]

    def to_world(self, x: float, y: float) -> tuple[float, float]:
        """Move a point of the ground plane from the frame of the furniture into the room."""
        cosine, sine = cosine_sine(self.yaw)
        return self.x + cosine * x - sine * y, self.y + sine * x + cosine * y

    def to_local(self, x: float, y: float) -> tuple[float, float]:
        """Move a point of the ground plane from the room into the frame of the furniture."""
        cosine, sine = cosine_sine(self.yaw)
        x, y = x - self.x, y - self.y
        return cosine * x + sine * y, -sine * x + cosine * y


@dataclass(frozen=True)
class Layout:
    """An empty room, filled. The room is centred at x = y = 0 with its floor at z = 0."""

    size: tuple[int, int, int]  # millimetres
    wall_color: tuple[int, int, int]  # thousandths
    floor_color: tuple[int, int, int]
    floor_material: int
    placed: tuple[Placed, ...]


def cosine_sine(degrees: int) -> tuple[float, float]:
    """Cosine and sine, rounded to 12 digits so that every mathematics library agrees."""
    angle = math.radians(degrees % 360)
    return round(math.cos(angle), 12), round(math.sin(angle), 12)


def draw_layout(draws: Draws, config: RoomConfig) -> Layout:
    """Draw a room and its furniture."""

    def side(limits: tuple[float, float]) -> int:
        return 20 * draws.integer(round(limits[0] * 50), round(limits[1] * 50))

    size = (side(config.side), side(config.side), side(config.height))
    shade = draws.integer(680, 860)
    wall = (
        shade + draws.integer(0, 60),
        shade + draws.integer(0, 40),
        shade + draws.integer(-40, 20),
    )
    tone = draws.integer(320, 560)
    floor = (
        tone + draws.integer(40, 120),
        tone + draws.integer(0, 40),
        tone - draws.integer(0, 100),
    )
    floor_material = draws.integer(0, 3)
    return Layout(size, wall, floor, floor_material, tuple(_furnish(draws, config, size)))


def _furnish(draws: Draws, config: RoomConfig, room: tuple[int, int, int]) -> list[Placed]:
    large, small = _draw_furniture(draws, config)
    placed: list[Placed] = []
    for furniture in large:
        for _ in range(_ATTEMPTS):
            piece = _propose(draws, config, room, furniture, placed)
            if _fits(piece, room, placed):
                placed.append(piece)
                break
    for furniture in small:
        supports = [i for i, piece in enumerate(placed) if piece.furniture.carries]
        for _ in range(_ATTEMPTS if supports else 0):
            candidate = _propose_on_top(draws, config, furniture, placed, draws.choice(supports))
            if candidate is not None:
                placed.append(candidate)
                break
    return placed


def _draw_furniture(draws: Draws, config: RoomConfig) -> tuple[list[Furniture], list[Furniture]]:
    """Pieces for the floor, largest first, and pieces to stand on others."""
    names: list[str] = []
    wanted = draws.integer(*config.objects)
    while len(names) < wanted:
        free = [n for n in config.classes if names.count(n) < _MOST_OF_CLASS.get(n, _MOST)]
        if not free:
            break
        repeatable = [n for n in names if n in free]
        names.append(draws.choice(repeatable if repeatable and draws.chance(0.2) else free))
    carried = any(name in ("table", "cabinet") for name in names)
    large: list[Furniture] = []
    small: list[Furniture] = []
    for name in names:
        is_small = carried and name in SMALL_CLASSES and draws.chance(0.6)
        (small if is_small else large).append(make_furniture(name, draws, small=is_small))
    large.sort(key=lambda piece: -piece.size[0] * piece.size[1])
    return large, small


def _propose(
    draws: Draws,
    config: RoomConfig,
    room: tuple[int, int, int],
    furniture: Furniture,
    placed: list[Placed],
) -> Placed:
    tables = [piece for piece in placed if piece.furniture.class_name == "table"]
    if furniture.class_name in ("chair", "stool") and tables and draws.chance(0.6):
        x, y, yaw = _beside(draws, furniture, draws.choice(tables))
    elif draws.chance(_AGAINST_WALL.get(furniture.class_name, 0.0)):
        x, y, yaw = _against_wall(draws, room, furniture)
    else:
        reach_x, reach_y = room[0] // 2 - 400, room[1] // 2 - 400
        x, y = draws.integer(-reach_x, reach_x), draws.integer(-reach_y, reach_y)
        yaw = draws.integer(0, 359) if draws.chance(0.5) else 90 * draws.integer(0, 3)
    return Placed(furniture, draws.choice(config.colors), _jitter(draws), x, y, 0, yaw)


def _jitter(draws: Draws) -> tuple[int, int, int]:
    return draws.integer(-80, 80), draws.integer(-80, 80), draws.integer(-80, 80)


def _against_wall(
    draws: Draws, room: tuple[int, int, int], furniture: Furniture
) -> tuple[int, int, int]:
    """Back to a wall, front into the room."""
    wall = draws.integer(0, 3)
    along, across = (room[0], room[1]) if wall % 2 == 0 else (room[1], room[0])
    reach = max(0, along // 2 - furniture.size[0] // 2 - _WALL_GAP)
    slide, inset = draws.integer(-reach, reach), across // 2 - furniture.size[1] // 2 - _WALL_GAP
    x, y = ((slide, inset), (-inset, slide), (slide, -inset), (inset, slide))[wall]
    return x, y, 90 * wall


def _beside(draws: Draws, furniture: Furniture, table: Placed) -> tuple[int, int, int]:
    """At a side of a table, front towards it."""
    side = draws.integer(0, 3)
    width, depth, _ = table.furniture.size
    along, across = (width, depth) if side % 2 == 0 else (depth, width)
    slide = draws.integer(-along // 3, along // 3)
    away = across // 2 + furniture.size[1] // 2 + _CLEARANCE + draws.integer(10, 120)
    local = ((slide, away), (-away, slide), (slide, -away), (away, slide))[side]
    x, y = table.to_world(*local)
    return round(x), round(y), (table.yaw + 90 * side + draws.integer(-15, 15)) % 360


def _fits(piece: Placed, room: tuple[int, int, int], placed: list[Placed]) -> bool:
    corners = piece.footprint()
    inside = all(
        abs(x) <= room[0] / 2 - _WALL_GAP / 2 and abs(y) <= room[1] / 2 - _WALL_GAP / 2
        for x, y in corners
    )
    grown = piece.footprint(_CLEARANCE)
    return inside and not any(_overlap(grown, other.footprint()) for other in placed)


def _propose_on_top(
    draws: Draws, config: RoomConfig, furniture: Furniture, placed: list[Placed], support: int
) -> Placed | None:
    base = placed[support]
    width, depth, height = base.furniture.size
    reach = math.hypot(furniture.size[0], furniture.size[1]) / 2
    round_top = base.furniture.class_name == "table" and width == depth
    limit = 0.65 if round_top else 1.0
    reach_x, reach_y = int(limit * width / 2 - reach), int(limit * depth / 2 - reach)
    if min(reach_x, reach_y) < 0:
        return None
    x, y = base.to_world(draws.integer(-reach_x, reach_x), draws.integer(-reach_y, reach_y))
    color, jitter, yaw = draws.choice(config.colors), _jitter(draws), draws.integer(0, 359)
    piece = Placed(furniture, color, jitter, round(x), round(y), height, yaw, support)
    beside = [other.footprint() for other in placed if other.support == support]
    grown = piece.footprint(_CLEARANCE // 2)
    return None if any(_overlap(grown, other) for other in beside) else piece


def _overlap(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> bool:
    """Separating axis test of two rectangles (Gottschalk et al., SIGGRAPH 1996)."""
    for rectangle in (first, second):
        for start, end in ((0, 1), (1, 2)):
            axis_x = rectangle[end][0] - rectangle[start][0]
            axis_y = rectangle[end][1] - rectangle[start][1]
            spans = [[axis_x * x + axis_y * y for x, y in corners] for corners in (first, second)]
            if max(spans[0]) < min(spans[1]) or max(spans[1]) < min(spans[0]):
                return False
    return True
