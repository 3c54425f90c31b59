"""How generated rooms compare to real ones: counts, sizes and gaps, as quantiles.

Real layouts are the JSON files of "Thinking in Space" (Yang et al., CVPR 2025,
github.com/vision-x-nyu/thinking-in-space): per scene ``object_bbox``, and per class a list of
oriented boxes with ``centroid``, ``axesLengths`` and row-major ``normalizedAxes`` in metres, z up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.layout import Layout

REAL_NAMES: Mapping[str, str] = {
    "trash bin": "bin", "trash can": "bin", "bookshelf": "shelf", "tv": "television",
    "heater": "radiator", "computer tower": "computer", "closet": "wardrobe",
    "table lamp": "lamp", "cushion": "pillow",
    "crate": "box",
}  # fmt: skip
"""Names of real classes that are called otherwise here."""

ON_THE_FLOOR: frozenset[str] = frozenset(
    ("chair", "table", "bed", "sofa", "bin", "refrigerator", "shelf", "nightstand", "toilet",
     "washing machine", "piano", "wardrobe", "backpack", "suitcase", "stove", "desk", "armchair",
     "cabinet", "dresser", "stool", "bench", "box", "basket", "counter")
)  # fmt: skip
"""Classes between which gaps are measured."""

QUANTILES = (5, 50, 95)


@dataclass(frozen=True)
class Box:
    """The box around an object: plan in metres, and its height."""

    class_name: str
    plan: Footprint
    height: float

    @property
    def sides(self) -> tuple[float, float, float]:
        """Longer and shorter side in plan, and height, in metres."""
        width, depth = 2 * self.plan.half_width, 2 * self.plan.half_depth
        return max(width, depth), min(width, depth), self.height


def read_real_rooms(folder: str | Path) -> list[list[Box]]:
    """Read the boxes of all rooms of the JSON files of a folder.

    Raises:
        FileNotFoundError: the folder holds no JSON file.
    """
    files = sorted(Path(folder).glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no .json file of real layouts")
    rooms = []
    for file in files:
        for scene in json.loads(file.read_text(encoding="utf-8")).values():
            rooms.append(
                [
                    _real_box(REAL_NAMES.get(name, name), box)
                    for name, boxes in sorted(scene["object_bbox"].items())
                    for box in boxes
                ]
            )
    return rooms


def boxes_of(layout: Layout) -> list[Box]:
    """Return the boxes of a generated room, in metres."""
    return [
        Box(
            piece.furniture.class_name,
            Footprint(
                piece.x / 1000, piece.y / 1000, piece.yaw, piece.furniture.size[0] / 2000,
                piece.furniture.size[1] / 2000, 0, 1,
            ),
            piece.furniture.size[2] / 1000,
        )
        for piece in layout.placed
    ]  # fmt: skip


def class_counts(rooms: Sequence[Sequence[Box]]) -> dict[str, list[int]]:
    """Return how many of a class stand in every room that has any."""
    counts: dict[str, list[int]] = {}
    for room in rooms:
        names = [box.class_name for box in room]
        for name in sorted(set(names)):
            counts.setdefault(name, []).append(names.count(name))
    return counts


def class_sides(rooms: Sequence[Sequence[Box]]) -> dict[str, np.ndarray]:
    """Return the sides ``[n, 3]`` of all boxes of every class: longer, shorter, height."""
    sides: dict[str, list[tuple[float, float, float]]] = {}
    for room in rooms:
        for box in room:
            sides.setdefault(box.class_name, []).append(box.sides)
    return {name: np.array(rows) for name, rows in sides.items()}


def nearest_gaps(rooms: Sequence[Sequence[Box]]) -> list[float]:
    """Return for every piece on the floor the gap in plan to the next one of its room."""
    gaps = []
    for room in rooms:
        plans = [box.plan for box in room if box.class_name in ON_THE_FLOOR]
        for index, plan in enumerate(plans):
            others = plans[:index] + plans[index + 1 :]
            if others:
                gaps.append(min(gap_between(plan, other) for other in others))
    return gaps


def gap_between(one: Footprint, other: Footprint) -> float:
    """Distance in plan of two rectangles, 0 where they overlap."""
    if one.overlaps(other):
        return 0.0
    return min(
        min(one.distance_to(*corner) for corner in other.corners()),
        min(other.distance_to(*corner) for corner in one.corners()),
    )


def plot_comparison(
    real: Sequence[Sequence[Box]], generated: Sequence[Sequence[Box]], path: str | Path
) -> None:
    """Draw quantiles of real and generated rooms side by side; needs matplotlib.

    Args:
        real: rooms of :func:`read_real_rooms`.
        generated: rooms of :func:`boxes_of`.
        path: of the PNG file to write. It shows 5, 50 and 95 % quantiles alone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), layout="constrained")
    panels: Any = figure.subplot_mosaic(
        [["room", "count"], ["longer", "shorter"], ["height", "height"]]
    )
    both = [real, generated]
    panels["room"].set_title("Objects in a room; gap to the next piece on the floor [m]")
    rows = [
        ("objects / 10", [np.array([len(room) / 10 for room in rooms]) for rooms in both]),
        ("gap", [np.array(nearest_gaps(rooms)) for rooms in both]),
    ]
    _draw_ranges(panels["room"], rows)
    real_sides, sides = class_sides(real), class_sides(generated)
    shared = [
        name for name in sorted(set(real_sides) & set(sides)) if len(real_sides[name]) >= _LEAST
    ]
    real_counts, counts = class_counts(real), class_counts(generated)
    panels["count"].set_title("Of a class in rooms that have it")
    _draw_ranges(
        panels["count"],
        [(name, [np.array(real_counts[name]), np.array(counts[name])]) for name in shared],
    )
    for axis, side in enumerate(("longer", "shorter", "height")):
        panels[side].set_title(f"{side.capitalize()}{' side' if axis < 2 else ''} [m]")
        _draw_ranges(
            panels[side],
            [(name, [real_sides[name][:, axis], sides[name][:, axis]]) for name in shared],
        )
    handles = [
        panels["room"].plot([], [], color=color, label=label)[0]
        for color, label in zip(_COLORS, ("real: 5 to 95 %, median", "generated"), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    FigureCanvasAgg(figure).print_png(str(path))


_LEAST = 10  # boxes of a real class whose quantiles mean something
_COLORS = ("tab:gray", "tab:blue")


def _real_box(class_name: str, box: Mapping[str, Sequence[float]]) -> Box:
    axes = np.array(box["normalizedAxes"]).reshape(3, 3)
    lengths = np.array(box["axesLengths"])
    up = int(abs(axes[:, 2]).argmax())
    first, second = (axis for axis in range(3) if axis != up)
    yaw = round(float(np.degrees(np.arctan2(axes[first, 1], axes[first, 0]))))
    x, y, _ = box["centroid"]
    plan = Footprint(x, y, yaw, lengths[first] / 2, lengths[second] / 2, 0, 1)
    return Box(class_name, plan, float(lengths[up]))


def _draw_ranges(panel: Any, rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> None:
    """Horizontal 5 to 95 % bars with medians, real above generated."""
    for row, (_, samples) in enumerate(rows):
        for sample, color, shift in zip(samples, _COLORS, (-0.17, 0.17), strict=True):
            low, middle, high = np.percentile(sample, QUANTILES)
            panel.plot([low, high], [row + shift] * 2, color=color, linewidth=3)
            panel.plot(middle, row + shift, "o", color=color, markersize=4)
    panel.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=6)
    panel.invert_yaxis()
    panel.grid(axis="x", alpha=0.3)
