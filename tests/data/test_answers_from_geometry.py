"""Every answer again, from boxes alone, by a solver that shares no code with what made it.

The solver knows two truth values: it cuts every margin in the middle and takes extremes as they
come. As an answer is asked for only where nothing undecided could change it, the solver must
agree with all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room
from g2vlm_fast.data.language.texts import KINDS, queries
from g2vlm_fast.data.rooms.config import PROGRAMS
from g2vlm_fast.records import Task

CONTAINERS = {
    "cabinet", "box", "bin", "wardrobe", "dresser", "nightstand", "refrigerator", "sink",
    "bathtub", "shower", "cup", "bowl", "vase", "basket", "backpack", "suitcase", "microwave",
}  # fmt: skip

Point = tuple[float, float]


def turned(x: float, y: float, angle: float) -> Point:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def to_segment(point: Point, start: Point, end: Point) -> float:
    along = np.subtract(end, start)
    share = np.clip(np.dot(np.subtract(point, start), along) / np.dot(along, along), 0, 1)
    return float(np.linalg.norm(np.subtract(point, start) - share * along))


def edges(polygon: list[Point]) -> Iterator[tuple[Point, Point]]:
    return zip(polygon, polygon[1:] + polygon[:1], strict=True)


def contains(polygon: list[Point], point: Point) -> bool:
    """Whether a counter-clockwise polygon contains a point."""
    return all(
        (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax) >= 0
        for (ax, ay), (bx, by) in edges(polygon)
    )


def common_area(first: list[Point], second: list[Point]) -> float:
    """Area that two convex polygons share (Sutherland and Hodgman 1974)."""
    left = first
    for (ax, ay), (bx, by) in edges(second):

        def side(p: Point, ax: float = ax, ay: float = ay, bx: float = bx, by: float = by) -> float:
            return (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax)

        kept: list[Point] = []
        for start, end in edges(left) if left else ():
            if side(start) >= 0:
                kept.append(start)
            if (side(start) >= 0) != (side(end) >= 0):
                share = side(start) / (side(start) - side(end))
                kept.append(
                    (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
                )
        left = kept
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges(left))) / 2 if left else 0.0


class Solver:
    """Boxes of a room, and answers to programs about them as nested plain values."""

    def __init__(self, scene: Scene) -> None:
        truth = scene.truth
        assert truth is not None
        self.poses, self.truth = scene.poses, truth
        self.things = truth.objects
        self.middle = [thing.center.double().tolist() for thing in self.things]
        self.size = [thing.size.double().tolist() for thing in self.things]
        self.yaw = [
            math.atan2(thing.rotation[1, 0].item(), thing.rotation[0, 0].item())
            for thing in self.things
        ]

    def solve(self, program: dict[str, Any]) -> Any:
        inputs = [self.solve(part) for part in program.get("inputs", [])]
        return getattr(self, program["operation"])(program, *inputs)

    # sets of objects
    def scene(self, program: dict) -> set[int]:
        return set(range(len(self.things)))

    def filter_class(self, program: dict, objects: set[int]) -> set[int]:
        return {i for i in objects if self.things[i].class_name == program["value"]}

    def filter_color(self, program: dict, objects: set[int]) -> set[int]:
        return {i for i in objects if self.things[i].color == program["value"]}

    def filter_held_by(self, program: dict, objects: set[int]) -> set[int]:
        return {i for i in objects if self.holder(i) == program["value"]}

    def holder(self, index: int) -> str:
        if self.things[index].support is not None:
            return ""
        low, high = self.heights(index)
        if low < 0.04:
            return "floor"
        return "ceiling" if self.truth.room_size[2].item() - high < 0.04 else "wall"

    def superlative(self, program: dict, objects: set[int]) -> set[int]:
        tall = program["value"] == "tallest"
        measure = {i: self.size[i][2] if tall else math.prod(self.size[i]) for i in objects}
        best = min if program["value"] == "smallest" else max
        return {best(objects, key=lambda i: measure[i])}

    def relate(self, program: dict, objects: set[int], anchor: int) -> set[int]:
        frame = program.get("frame", "")
        return {i for i in objects - {anchor} if self.stands(i, program["value"], anchor, frame)}

    def relate_between(self, program: dict, objects: set[int], a: int, b: int) -> set[int]:
        return {i for i in objects - {a, b} if self.is_between(i, a, b)}

    def relate_place(self, program: dict, objects: set[int], place: tuple) -> set[int]:
        return {i for i in objects if self.side(place, i) == program["value"]}

    def nearest(self, program: dict, objects: set[int], anchor: int) -> set[int]:
        others = objects - {anchor}
        return {min(others, key=lambda i: self.gap(i, anchor))} if others else set()

    def farthest(self, program: dict, objects: set[int], anchor: int) -> set[int]:
        return {max(objects - {anchor}, key=lambda i: self.gap(i, anchor))}

    def nearest_to_place(self, program: dict, objects: set[int], place: tuple) -> set[int]:
        return {min(objects, key=lambda i: self.walk(place, i))}

    def union(self, program: dict, first: set[int], second: set[int]) -> set[int]:
        return first | second

    def intersect(self, program: dict, first: set[int], second: set[int]) -> set[int]:
        return first & second

    def unique(self, program: dict, objects: set[int]) -> int:
        (only,) = objects
        return only

    # answers
    def count(self, program: dict, objects: set[int]) -> int:
        return len(objects)

    def exist(self, program: dict, objects: set[int]) -> bool:
        return bool(objects)

    def more(self, program: dict, first: int, second: int) -> bool:
        return first > second

    def fewer(self, program: dict, first: int, second: int) -> bool:
        return first < second

    def equal(self, program: dict, first: int, second: int) -> bool:
        return first == second

    def holds(self, program: dict, subject: int, other: int) -> bool:
        return self.stands(subject, program["value"], other, program.get("frame", ""))

    def taller(self, program: dict, first: int, second: int) -> bool:
        return self.size[first][2] > 1.065 * self.size[second][2]

    def nearer(self, program: dict, first: int, second: int, anchor: int) -> bool:
        return self.gap(first, anchor) < self.gap(second, anchor)

    def reach(self, program: dict, place: tuple, index: int) -> bool:
        return self.walk(place, index) <= 0.8

    def query_class(self, program: dict, index: int) -> str:
        return self.things[index].class_name

    def query_color(self, program: dict, index: int) -> str:
        return self.things[index].color

    def query_size(self, program: dict, index: int) -> float:
        x, y, z = self.size[index]
        return z if program["value"] == "height" else max(x, y)

    def distance(self, program: dict, first: int, second: int) -> float:
        return self.gap(first, second)

    def distance_to_place(self, program: dict, place: tuple, index: int) -> float:
        return self.walk(place, index)

    def room_size(self, program: dict) -> float:
        """Counted in cells of a centimetre; inner walls rise from the floor."""
        solids = self.truth.primitives
        x, y = (
            (np.arange(round(side * 100)) + 0.5) / 100 - side / 2
            for side in self.truth.room_size[:2].tolist()
        )
        walled = np.zeros((len(x), len(y)), dtype=bool)
        for row in range(2, len(solids)):
            cx, cy, cz = solids.center[row].tolist()
            hx, hy, hz = solids.half_size[row].tolist()
            if solids.instance[row] == -1 and cz - hz < 0.05 < cz + hz:
                walled |= (abs(x - cx) < hx)[:, None] & (abs(y - cy) < hy)
        return float((~walled).sum()) / 1e4

    def situation(self, program: dict) -> tuple:
        x, y, yaw = (int(part) for part in program["value"].split())
        return x / 1000, y / 1000, math.radians(yaw)

    def stand(self, program: dict, at: int, towards: int) -> tuple:
        (x, y, _), (tx, ty, _) = self.middle[at], self.middle[towards]
        return x, y, math.atan2(ty - y, tx - x)

    def direction(self, program: dict, place: tuple, index: int) -> str:
        ahead, left = self.seen_from(place, index)
        if program["value"] == "left or right":
            return "left" if left > 0 else "right"
        if program["value"] == "quadrants":
            return f"{'front' if ahead > 0 else 'back'} {'left' if left > 0 else 'right'}"
        return self.side(place, index)

    def route(self, program: dict, *stops: int) -> str:
        turns = []
        for before, here, after in zip(stops, stops[1:], stops[2:], strict=False):
            (ax, ay), (bx, by), (cx, cy) = (self.middle[i][:2] for i in (before, here, after))
            x, y = turned(cx - bx, cy - by, -math.atan2(by - ay, bx - ax))
            assert x < abs(y) or x < 0, "straight on"
            turns.append("back" if -x > abs(y) else "left" if y > 0 else "right")
        return ", ".join(turns)

    def name_nearest(self, program: dict, objects: set[int], anchor: int) -> str:
        found = self.nearest(program, objects, anchor)
        return self.things[found.pop()].class_name if found else "nothing"

    def appearance_order(self, program: dict, *groups: set[int]) -> str:
        first = {}
        for objects in groups:
            views = [
                view
                for view, instance in enumerate(self.truth.instance)
                if set(instance.unique().tolist()) & objects
            ]
            first[self.things[min(objects)].class_name] = views[0]
        return ", ".join(sorted(first, key=first.__getitem__))

    # geometry
    def rectangle(self, index: int, growth: float = 0.0) -> list[Point]:
        (x, y, _), (width, depth, _) = self.middle[index], self.size[index]
        a, b = width / 2 + growth, depth / 2 + growth
        corners = [turned(*c, self.yaw[index]) for c in ((-a, -b), (a, -b), (a, b), (-a, b))]
        return [(x + dx, y + dy) for dx, dy in corners]

    def heights(self, index: int) -> Point:
        z, height = self.middle[index][2], self.size[index][2]
        return z - height / 2, z + height / 2

    def floor_gap(self, first: list[Point], second: list[Point]) -> float:
        if common_area(first, second) > 0:
            return 0.0
        pairs = [(p, e) for p in first for e in edges(second)]
        pairs += [(p, e) for p in second for e in edges(first)]
        return min(to_segment(point, *edge) for point, edge in pairs)

    def gap(self, first: int, second: int) -> float:
        (low, high), (other_low, other_high) = self.heights(first), self.heights(second)
        rise = max(0.0, other_low - high, low - other_high)
        return math.hypot(self.floor_gap(self.rectangle(first), self.rectangle(second)), rise)

    def walk(self, place: tuple, index: int) -> float:
        rectangle = self.rectangle(index)
        if contains(rectangle, place[:2]):
            return 0.0
        return min(to_segment(place[:2], *edge) for edge in edges(rectangle))

    def seen_from(self, place: tuple, index: int) -> Point:
        x, y, yaw = place
        return turned(self.middle[index][0] - x, self.middle[index][1] - y, -yaw)

    def side(self, place: tuple, index: int) -> str:
        ahead, left = self.seen_from(place, index)
        if abs(ahead) > abs(left):
            return "in front" if ahead > 0 else "behind"
        return "left" if left > 0 else "right"

    def is_between(self, index: int, a: int, b: int) -> bool:
        start, end, point = (np.array(self.middle[i][:2]) for i in (a, b, index))
        along = end - start
        length = np.linalg.norm(along)
        share = np.dot(point - start, along) / length**2
        aside = np.linalg.norm(point - start - share * along)
        (low, high), spans = self.heights(index), [self.heights(a), self.heights(b)]
        shared = min(high, max(s[1] for s in spans)) - max(low, min(s[0] for s in spans))
        return abs(share - 0.5) <= 0.33 and aside <= 0.25 * length and shared > 0.05

    def stands(self, subject: int, relation: str, other: int, frame: str) -> bool:
        if relation in ("left of", "right of", "in front of", "behind"):
            right, front = self.in_frame(subject, other, frame)
            along = {
                "left of": -right, "right of": right, "in front of": front, "behind": -front,
            }[relation]  # fmt: skip
            across = front if relation in ("left of", "right of") else right
            return along >= 0.25 and along >= abs(across)
        low, high = self.heights(subject)
        other_high = self.heights(other)[1]
        if relation in ("on", "in"):
            held, support = subject, self.things[subject].support
            if relation == "on":
                return support == other and not self.is_enclosed(subject, other)
            while support not in (None, other):
                held, support = support, self.things[support].support
            return support == other and self.is_enclosed(held, other)
        if relation == "near":
            return self.gap(subject, other) <= 0.65
        if relation in ("below", "lower than", "smaller than"):
            opposite = {
                "below": "above",
                "lower than": "higher than",
                "smaller than": "bigger than",
            }
            return self.stands(other, opposite[relation], subject, frame)
        if relation == "above":
            first, second = self.rectangle(subject, 0.1), self.rectangle(other, 0.1)
            smaller = min(math.prod(s + 0.2 for s in self.size[i][:2]) for i in (subject, other))
            return low - other_high >= 0.03 and common_area(first, second) >= 0.2 * smaller
        if relation == "higher than":
            rise = self.middle[subject][2] - self.middle[other][2]
            return min(high - other_high, rise) >= 0.065
        if relation == "bigger than":
            return math.prod(self.size[subject]) >= 1.175 * math.prod(self.size[other])
        if relation == "facing":
            return self.things[subject].has_front and self.off_ahead(subject, other) <= 20
        assert relation == "aligned with"
        turn = math.degrees(self.yaw[subject] - self.yaw[other]) % 90
        return min(turn, 90 - turn) <= 10

    def is_enclosed(self, subject: int, other: int) -> bool:
        """Whether a thing stands between three sides of a container or more."""
        if self.things[other].class_name not in CONTAINERS:
            return False
        start = torch.tensor([*self.middle[subject][:2], self.heights(subject)[0] + 0.03])
        away = torch.arange(0, 2, 0.004)[:, None]
        solids = self.truth.primitives.rows(list(self.things[other].primitives))
        sides = 0
        for quarter in range(4):
            x, y = turned(1, 0, self.yaw[other] + quarter * math.pi / 2)
            ray = start + away * torch.tensor([x, y, 0.0])
            sides += bool((solids.signed_distance(ray) < 0).any())
        return sides >= 3

    def in_frame(self, subject: int, other: int, frame: str) -> Point:
        """Displacement to the right and to the front of the object, metres."""
        dx, dy = (self.middle[subject][i] - self.middle[other][i] for i in (0, 1))
        if frame == "own":
            x, y = turned(dx, dy, -self.yaw[other])
            return -x, -y
        right = self.poses[int(frame.split()[1]), :2, 0].double().numpy()
        right = right / np.linalg.norm(right)
        return float(dx * right[0] + dy * right[1]), float(dx * right[1] - dy * right[0])

    def off_ahead(self, subject: int, other: int) -> float:
        """Least angle in degrees from ahead of the subject to anything of the other's outline."""
        x, y, _ = self.middle[subject]
        angles = []
        for start, end in edges(self.rectangle(other)):
            for share in np.linspace(0, 1, 200):
                px, py = (s + share * (e - s) for s, e in zip(start, end, strict=True))
                right, back = turned(px - x, py - y, -self.yaw[subject])
                angles.append(abs(math.degrees(math.atan2(right, -back))))
        return min(angles)


def solve(solver: Solver, query: Query) -> Any:
    assert query.program is not None
    return solver.solve(query.program.to_json())


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    furnished = RoomConfig(programs=PROGRAMS)
    simple = RoomConfig(programs=("simple",))
    return [generate_room(seed, furnished) for seed in range(20)] + [
        generate_room(seed, simple) for seed in range(10)
    ]


def test_all_answers_follow_from_the_boxes(rooms: list[Scene]) -> None:
    asked = Counter()
    for seed, room in enumerate(rooms):
        solver = Solver(room)
        for style in ("simple", "training"):
            kinds = {} if style == "simple" else {"kinds": KINDS}
            for query in queries(room, seed, style=style, **kinds):
                if query.task != Task.QUESTION:
                    continue
                found = solve(solver, query)
                message = f"{room.name}: {query.text} {query.answer} {query.value}, solver: {found}"
                if query.value is not None:
                    assert found == pytest.approx(query.value, rel=5e-3, abs=1e-4), message
                elif isinstance(found, bool):
                    assert query.answer == ("yes" if found else "no"), message
                else:
                    assert query.answer == found, message
                asked[query.kind] += 1
    questions = set(KINDS) - {"phrase", "object_caption", "description", "situated_description"}
    assert set(asked) == questions, questions - set(asked)
    assert asked.total() > 1200


def test_all_references_fit_one_object(rooms: list[Scene]) -> None:
    count = 0
    for seed, room in enumerate(rooms):
        solver = Solver(room)
        for query in queries(room, seed, kinds=KINDS, style="training"):
            if query.task == Task.REFERRING:
                assert solve(solver, query) == query.referred, query.text
                count += 1
    assert count > 120
