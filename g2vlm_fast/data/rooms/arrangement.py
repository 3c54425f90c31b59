"""Where furniture may stand: a room that fills up piece by piece, without collisions.

Every piece is an upright box among others. Beside solids there are zones, floor that has to stay
free: the swing of a door, the front of a wardrobe, the way beside a bed. Pieces of one group may
stand in each other's zones (a chair before its desk). Pieces named as ``tucked`` are compared
part by part, so that a chair slides under a table, never through its top.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.furniture import Furniture, Mount, make_furniture, mount_of
from g2vlm_fast.data.rooms.held_out import HELD_OUT_FACTS, drawable_variants
from g2vlm_fast.data.rooms.outlines import Outline, Space, Wall
from g2vlm_fast.data.rooms.palette import draw_color
from g2vlm_fast.data.rooms.placement import Placed

CLEARANCE = 40
"""Millimetres between pieces that stand on the floor."""

WALL_GAP = 20
"""Millimetres between a wall and the back of what stands against it."""

_FLAT = 40  # what is no higher lies on the floor and is walked over: a rug
_OFF_THE_FLOOR = 300  # what hangs higher on a wall narrows no way
_PASSAGE_HEIGHT = 1900  # zones reach up to here


@dataclass(frozen=True)
class Zone:
    """A volume that only pieces of one group may enter."""

    footprint: Footprint
    group: int


class Arrangement:
    """The pieces of a building, as far as it is furnished."""

    def __init__(self, draws: Draws, config: RoomConfig, outline: Outline) -> None:
        self.draws = draws
        self.config = config
        self.outline = outline
        self.placed: list[Placed] = []
        self._solids: list[Footprint] = []
        self._parts: dict[int, list[Footprint]] = {}
        self._groups: list[int] = []
        self._zones: list[Zone] = []
        self._group = 0
        self._in_group = False
        self.enter(outline.spaces[0])

    def enter(self, space: Space) -> None:
        """Furnish this space from now on."""
        self.space = space
        self.walls = space.walls(self.outline.size)

    @property
    def height(self) -> int:
        """Millimetres from floor to ceiling."""
        return self.outline.size[2]

    @contextmanager
    def group(self) -> Iterator[None]:
        """Let the pieces that are placed within stand in each other's zones."""
        self._group += 1
        self._in_group = True
        try:
            yield
        finally:
            self._in_group = False

    def make(
        self, class_name: str, *, mount: Mount | None = None, prefer: Sequence[str] = ()
    ) -> Furniture | None:
        """Draw a piece whose variant the configuration allows; None where no variant is left.

        Args:
            class_name: one of ``ontology.CLASSES``.
            mount: what it has to stand on or hang from; None for whatever.
            prefer: variants that are drawn where at least one of them is allowed.
        """
        if class_name not in self.config.classes:
            return None
        names = [
            name
            for name in drawable_variants(class_name, self.config.variants)
            if mount is None or mount_of(class_name, name) == mount
        ]
        names = [name for name in names if name in prefer] or names
        if not names:
            return None
        return make_furniture(class_name, self.draws, variant=self.draws.choice(names))

    def stand(
        self,
        furniture: Furniture,
        x: int,
        y: int,
        yaw: int,
        *,
        z: int = 0,
        support: int | None = None,
        like: int | None = None,
        clearance: int = CLEARANCE,
        front: int = 0,
        tucked: Sequence[int] = (),
    ) -> int | None:
        """Place a piece if nothing is in its way.

        Args:
            furniture: the piece.
            x, y: middle of its footprint.
            yaw: degrees.
            z: of its bottom.
            support: index of the piece that it stands on.
            like: index of a piece whose colour it takes; None draws one.
            clearance: to other pieces in plan; rugs keep none.
            front: depth of the zone before it that has to stay free.
            tucked: indices of pieces whose boxes it may enter, but not their parts.

        Returns:
            The index of the piece, None where it has no place.
        """
        if support is None and furniture.mount == Mount.FLOOR:
            support, z = self._rug_below(furniture, x, y, yaw, z)
        piece = Placed(furniture, "", (0, 0, 0), x, y, z, yaw % 360, support)
        solid = piece.solid()
        inside = support is not None or self.space.holds(solid)
        if not inside or z + furniture.size[2] > self.height:
            return None
        group = self._group if self._in_group else -1
        if not self._is_free(piece, solid, clearance, {*tucked, *self._below(support)}, group):
            return None
        zone = _front_zone(solid, front) if front else None
        if zone is not None and not self._zone_fits(zone, group):
            return None
        if like is None:
            color, jitter = draw_color(self.draws, furniture.class_name, self.config.colors)
        else:
            color, jitter = self.placed[like].color, self.placed[like].jitter
        self.placed.append(Placed(furniture, color, jitter, x, y, z, yaw % 360, support))
        self._solids.append(solid)
        self._groups.append(group)
        if zone is not None:
            self._zones.append(Zone(zone, group))
        return len(self.placed) - 1

    def against_wall(
        self,
        furniture: Furniture,
        *,
        walls: Sequence[Wall] = (),
        into_corner: float = 0.4,
        gap: int = WALL_GAP,
        attempts: int = 14,
        front: int = 0,
        like: int | None = None,
    ) -> int | None:
        """Place a piece with its back to a wall of the space; longer walls are likelier.

        Args:
            furniture: the piece.
            walls: to choose from; none for all walls of the space.
            into_corner: probability that it is pushed to an end of its wall.
            gap: between its back and the wall.
            attempts: how often it is tried.
            front, like: as in :meth:`stand`.
        """
        width, depth, _ = furniture.size
        open_walls = [wall for wall in walls or self.walls if wall.length >= width + 2 * gap]
        for _ in range(attempts if open_walls else 0):
            wall = self._draw_wall(open_walls)
            reach = (wall.length - width) // 2 - gap
            if self.draws.chance(into_corner):
                slide = reach if self.draws.chance(0.5) else -reach
            else:
                slide = 10 * self.draws.integer(-(reach // 10), reach // 10)
            x, y = wall.at(slide, depth // 2 + gap)
            index = self.stand(furniture, x, y, wall.yaw, front=front, like=like)
            if index is not None:
                return index
        return None

    def somewhere(
        self,
        furniture: Furniture,
        *,
        margin: int = 300,
        attempts: int = 12,
        like: int | None = None,
    ) -> int | None:
        """Place a piece anywhere on the floor, turned anyhow."""
        space, draws = self.space, self.draws
        for _ in range(attempts):
            x = draws.integer(space.x0 + margin, space.x1 - margin)
            y = draws.integer(space.y0 + margin, space.y1 - margin)
            index = self.stand(furniture, x, y, draws.integer(0, 359), like=like)
            if index is not None:
                return index
        return None

    def beside(self, base: int, x: int, y: int) -> tuple[int, int]:
        """Return a point of the frame of a piece in the room, in whole millimetres."""
        world = self._solids[base].to_world(x, y)
        return round(world[0]), round(world[1])

    def keep_free(
        self, base: int | Footprint, x0: int, x1: int, y0: int, y1: int, *, bottom: int = 0,
        top: int = _PASSAGE_HEIGHT, required: bool = False,
    ) -> bool:  # fmt: skip
        """Keep a rectangle in the frame of a piece free from now on.

        Args:
            base: the piece, or a solid.
            x0, x1, y0, y1: the rectangle.
            bottom, top: heights above the floor.
            required: True to leave all as it was where something stands there already.

        Returns:
            Whether the zone is kept.
        """
        solid = self._solids[base] if isinstance(base, int) else base
        x, y = solid.to_world((x0 + x1) / 2, (y0 + y1) / 2)
        zone = Footprint(x, y, solid.yaw, (x1 - x0) / 2, (y1 - y0) / 2, bottom, top)
        group = self._group if self._in_group else -1
        if required and not self._zone_fits(zone, group):
            return False
        self._zones.append(Zone(zone, group))
        return True

    def may_carry(self, base: int, class_name: str, relation: str = "on") -> bool:
        """Whether such a thing may be on, or in, a piece: held-out facts stay out of training."""
        fact = (class_name, relation, self.placed[base].furniture.class_name)
        return self.config.facts != "seen" or fact not in HELD_OUT_FACTS

    def mark(self) -> tuple[int, int]:
        """Return a state for :meth:`undo`."""
        return len(self.placed), len(self._zones)

    def undo(self, mark: tuple[int, int]) -> None:
        """Take out what came after a mark."""
        pieces, zones = mark
        for index in range(pieces, len(self.placed)):
            self._parts.pop(index, None)
        del self.placed[pieces:], self._solids[pieces:], self._groups[pieces:], self._zones[zones:]

    def take_out(self, indices: Iterable[int]) -> None:
        """Take out pieces, what stands on them, and the chairs at tables that go.

        Indices of later pieces change.
        """
        gone = set(indices)
        bereft = {
            self._groups[index]
            for index in gone
            if self.placed[index].furniture.class_name in ("table", "desk")
        }
        gone |= {
            index
            for index, piece in enumerate(self.placed)
            if piece.furniture.class_name == "chair" and self._groups[index] in bereft - {-1}
        }
        for index, piece in enumerate(self.placed):
            if piece.support in gone:
                gone.add(index)
        kept = [index for index in range(len(self.placed)) if index not in gone]
        moved: dict[int | None, int | None] = {old: new for new, old in enumerate(kept)}
        moved[None] = None
        self.placed = [
            replace(self.placed[old], support=moved[self.placed[old].support]) for old in kept
        ]
        self._solids = [self._solids[old] for old in kept]
        self._groups = [self._groups[old] for old in kept]
        self._parts = {}

    def solid(self, index: int) -> Footprint:
        """Return the box around a piece."""
        return self._solids[index]

    def standing(self, class_name: str) -> list[int]:
        """Return the pieces of a class within the current space."""
        return [
            index
            for index, piece in enumerate(self.placed)
            if piece.furniture.class_name == class_name and self.space.contains(piece.x, piece.y)
        ]

    def _draw_wall(self, walls: Sequence[Wall]) -> Wall:
        pick = self.draws.integer(0, sum(wall.length for wall in walls) - 1)
        for wall in walls:
            pick -= wall.length
            if pick < 0:
                return wall
        return walls[-1]

    def _rug_below(
        self, furniture: Furniture, x: int, y: int, yaw: int, z: int
    ) -> tuple[int | None, int]:
        """The rug that a piece would stand on with all its footprint, and its height."""
        if furniture.class_name == "rug":
            return None, z
        own = Placed(furniture, "", (0, 0, 0), x, y, z, yaw).solid()
        for index, piece in enumerate(self.placed):
            if piece.furniture.class_name != "rug" or not self.may_carry(
                index, furniture.class_name
            ):
                continue
            rug = self._solids[index]
            inside = all(
                abs(local_x) <= rug.half_width and abs(local_y) <= rug.half_depth
                for local_x, local_y in (rug.to_local(*corner) for corner in own.corners())
            )
            if inside:
                return index, round(rug.top)
        return None, z

    def _below(self, support: int | None) -> set[int]:
        """The piece that something stands on, and what that stands on."""
        below: set[int] = set()
        while support is not None:
            below.add(support)
            support = self.placed[support].support
        return below

    def _is_free(
        self, piece: Placed, solid: Footprint, clearance: int, by_parts: set[int], group: int
    ) -> bool:
        grown = solid if solid.top <= _FLAT else solid.grown(clearance)
        parts: list[Footprint] | None = None
        for index, other in enumerate(self._solids):
            if not (solid if index in by_parts else grown).overlaps(other):
                continue
            if index not in by_parts:
                return False
            parts = parts or piece.part_solids()
            if index not in self._parts:
                self._parts[index] = self.placed[index].part_solids()
            if any(one.overlaps(two) for one in parts for two in self._parts[index]):
                return False
        if solid.top <= _FLAT or piece.support is not None:
            return True
        return not any(
            (zone.group != group or group < 0) and zone.footprint.overlaps(solid)
            for zone in self._zones
        )

    def _zone_fits(self, zone: Footprint, group: int) -> bool:
        if not self.space.holds(zone):
            return False
        return not any(
            (other_group != group or group < 0)
            and solid.top > _FLAT
            and solid.bottom < _OFF_THE_FLOOR
            and zone.overlaps(solid)
            for solid, other_group in zip(self._solids, self._groups, strict=True)
        )


def _front_zone(solid: Footprint, depth: int) -> Footprint:
    away = solid.half_depth + depth / 2
    x, y = solid.to_world(0, -away)
    return Footprint(x, y, solid.yaw, solid.half_width, depth / 2, 0, _PASSAGE_HEIGHT)
