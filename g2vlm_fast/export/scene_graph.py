"""The scene graph as a networkx graph, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.geometry.boxes import box_corners
from g2vlm_fast.geometry.cameras import project
from g2vlm_fast.ontology import DIRECTIONAL_RELATIONS


@dataclass(frozen=True)
class SceneObject:
    """A node of the scene graph."""

    id: int
    class_name: str
    score: float  # in [0, 1], that it is an object at all
    class_score: float  # in [0, 1], that it is of this class if it is one
    center: NDArray[np.float32]  # [3] metres
    size: NDArray[np.float32]  # [3] metres, full extents
    rotation: NDArray[np.float32]  # [3, 3] box axes to world
    descriptor: NDArray[np.float32]  # [C] unit

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "class": self.class_name,
            "score": round(self.score, 4),
            "class_score": round(self.class_score, 4),
            "box": {
                "center": _rounded(self.center),
                "size": _rounded(self.size),
                "rotation": _rounded(self.rotation),
            },
            "descriptor": _rounded(self.descriptor),
        }


@dataclass(frozen=True)
class SceneRelation:
    """A directed edge of the scene graph: ``subject`` is ``name`` ``object``."""

    subject: int
    object: int
    name: str
    score: float
    frame: str  # the view that a direction is meant from, "" for relations without one


def build_graph(objects: Sequence[SceneObject], relations: Sequence[SceneRelation]) -> Any:
    """Return a ``networkx.MultiDiGraph``; nodes are object ids, keys are relation names."""
    import networkx as nx

    graph = nx.MultiDiGraph()
    for thing in objects:
        graph.add_node(thing.id, **{k: v for k, v in thing.to_json().items() if k != "id"})
    for edge in relations:
        graph.add_edge(edge.subject, edge.object, key=edge.name, score=edge.score, frame=edge.frame)
    return graph


def graph_to_json(graph: Any) -> dict[str, Any]:
    """Return nodes and edges of :func:`build_graph` as plain values."""
    return {
        "units": "metres; world z up, gravity (0, 0, -1); boxes: full extents, axes to world",
        "nodes": [{"id": node, **data} for node, data in graph.nodes(data=True)],
        "edges": [
            {
                "subject": subject,
                "relation": name,
                "object": thing,
                "score": round(data["score"], 4),
                "frame": data["frame"] or None,
            }
            for subject, thing, name, data in graph.edges(keys=True, data=True)
        ],
    }


def frame_of(relation: str) -> str:
    """The frame that a relation is meant in."""
    return "view 0" if relation in DIRECTIONAL_RELATIONS else ""


def boxes_in_views(
    thing: SceneObject, intrinsics: Tensor, poses: Tensor, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Image rectangles that an object's box covers, view by view.

    Args:
        thing: the object.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        size: (height, width) of the images.

    Returns:
        ``{"view", "box": [left, top, right, bottom]}`` in pixels for each view that the box is in
        front of and overlaps by at least two pixels each way. What stands before it is ignored.
    """
    corners = box_corners(
        *(torch.from_numpy(value) for value in (thing.center, thing.size, thing.rotation))
    )
    pixels, depth = project(corners.expand(len(poses), 8, 3), intrinsics, poses)
    height, width = size
    found = []
    for view in range(len(poses)):
        if bool((depth[view] <= 0.05).any()):
            continue
        low, high = pixels[view].amin(0), pixels[view].amax(0)
        left, right = (float(x.clamp(0, width - 1)) for x in (low[0], high[0]))
        top, bottom = (float(y.clamp(0, height - 1)) for y in (low[1], high[1]))
        if right - left >= 2 and bottom - top >= 2:
            box = [round(edge, 1) for edge in (left, top, right, bottom)]
            found.append({"view": view, "box": box})
    return found


def _rounded(values: NDArray[np.float32]) -> Any:
    return np.round(values.astype(np.float64), 4).tolist()
