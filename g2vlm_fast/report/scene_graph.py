"""The scene graph drawn over the scene, seen from above."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.export.scene_graph import SceneObject, SceneRelation
from g2vlm_fast.report.from_above import FromAbove
from g2vlm_fast.report.pictures import BACKGROUND, Picture, object_color

_DRAWN_RELATIONS = 9
_FAINT = 0.55  # opacity of the scene behind its graph
_FEW = 12  # objects; the names of more are written smaller


def draw_top_view(
    from_above: FromAbove,
    objects: Sequence[SceneObject],
    relations: Sequence[SceneRelation],
    first_pose: NDArray[np.float32] | None,
    *,
    region: NDArray[np.float32],
    tallest: float = 1.0,
) -> Picture:
    """Draw footprints, labels and the surest relations over the scene from above.

    Args:
        from_above: draws the scene without them.
        objects: nodes.
        relations: edges; of both directions of a pair the surer is drawn.
        first_pose: ``[4, 4]`` camera to world, of the view that directions are meant from, if
            there is one.
        region: ``[2, 2]`` metres, lowest and highest x and y that are shown at least.
        tallest: height of the picture over its width; what is longer gets room beside it.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon

    low, high = region
    for thing in objects:
        corners = _footprint(thing)
        low, high = np.minimum(low, corners.min(axis=0)), np.maximum(high, corners.max(axis=0))
    margin = 0.05 * float((high - low).max())
    low, high = low - margin, high + margin
    background = from_above(low, high)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure = Figure(figsize=(10, max(4.0, 10 * min(tallest, aspect))), dpi=110)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(background, extent=extent, alpha=_FAINT)
    places = {}
    for thing in objects:
        corners = _footprint(thing)
        color = np.array(object_color(thing.id)) / 255
        axes.add_patch(Polygon(corners, facecolor=(*color, 0.28), edgecolor=color, linewidth=2))
        places[thing.id] = thing.center[:2]
    for edge in _surest(relations):
        _arrow(axes, places[edge.subject], places[edge.object], edge)
    for thing in objects:
        _name(axes, thing, font_size=11 if len(objects) <= _FEW else 8)
    if first_pose is not None:
        _camera(axes, first_pose, 0.04 * float((high - low).max()))
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_axis_off()
    return _to_picture(figure)


def _footprint(thing: SceneObject) -> NDArray[np.float32]:
    half = thing.size / 2
    ground = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float32) * half[:2]
    corners = thing.center[:2] + ground @ thing.rotation[:2, :2].T
    return np.asarray(corners, dtype=np.float32)


def _surest(relations: Sequence[SceneRelation]) -> list[SceneRelation]:
    best: dict[tuple[int, int], SceneRelation] = {}
    for edge in relations:
        pair = (min(edge.subject, edge.object), max(edge.subject, edge.object))
        if pair not in best or edge.score > best[pair].score:
            best[pair] = edge
    return sorted(best.values(), key=lambda edge: -edge.score)[:_DRAWN_RELATIONS]


def _arrow(
    axes: Any, start: NDArray[np.float32], end: NDArray[np.float32], edge: SceneRelation
) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>", "color": "#333a45", "linewidth": 1.1, "alpha": 0.65,
            "shrinkA": 12, "shrinkB": 12, "connectionstyle": "arc3,rad=0.12",
        },
    )  # fmt: skip
    middle = start + 0.5 * (end - start)
    axes.text(
        *middle, edge.name, fontsize=8, color="#333a45", ha="center", va="center",
        parse_math=False,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )  # fmt: skip


def _name(axes: Any, thing: SceneObject, font_size: int) -> None:
    color = np.array(object_color(thing.id)) / 255
    axes.text(
        *thing.center[:2], f"{thing.class_name} {thing.id}", fontsize=font_size, fontweight="bold",
        color="white", ha="center", va="center", parse_math=False,
        bbox={"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "none"},
    )  # fmt: skip


def _camera(axes: Any, pose: NDArray[np.float32], length: float) -> None:
    place, forward = pose[:2, 3], pose[:2, 2]
    if np.linalg.norm(forward) < 1e-3:
        return
    forward = forward * np.float32(length / np.linalg.norm(forward))
    axes.plot(*place, "o", color="#1b1f27", markersize=7)
    axes.annotate(
        "", xy=place + forward, xytext=place,
        arrowprops={"arrowstyle": "-|>", "color": "#1b1f27", "linewidth": 2},
    )  # fmt: skip
    axes.text(*(place - 0.6 * forward), "view 0", fontsize=9, ha="center", va="center")


def _to_picture(figure: Any) -> Picture:
    from PIL import Image

    memory = io.BytesIO()
    figure.savefig(memory, format="png", facecolor=tuple(1 - _FAINT * (1 - BACKGROUND)))
    memory.seek(0)
    return np.asarray(Image.open(memory).convert("RGB"))
