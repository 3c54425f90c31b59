"""Scene graphs as data, and boxes in images."""

from __future__ import annotations

import json

import numpy as np
import torch

from g2vlm_fast.export.scene_graph import (
    SceneObject,
    SceneRelation,
    boxes_in_views,
    build_graph,
    frame_of,
    graph_to_json,
)
from g2vlm_fast.ontology import DIRECTIONAL_RELATIONS, RELATIONS


def _thing(number: int, center: tuple[float, float, float]) -> SceneObject:
    return SceneObject(
        id=number,
        class_name="chair",
        score=0.9,
        class_score=0.6,
        center=np.array(center, dtype=np.float32),
        size=np.array([0.4, 0.4, 0.4], dtype=np.float32),
        rotation=np.eye(3, dtype=np.float32),
        descriptor=np.array([1.0, 0.0], dtype=np.float32),
    )


def test_graph_survives_json() -> None:
    things = [_thing(0, (0, 0, 2)), _thing(1, (1, 0, 2))]
    edges = [
        SceneRelation(0, 1, "left of", 0.8, "view 0"),
        SceneRelation(0, 1, "near", 0.7, ""),
        SceneRelation(1, 0, "right of", 0.8, "view 0"),
    ]
    graph = build_graph(things, edges)
    assert graph.number_of_nodes() == 2
    assert set(graph[0][1]) == {"left of", "near"}
    data = json.loads(json.dumps(graph_to_json(graph)))
    assert [node["id"] for node in data["nodes"]] == [0, 1]
    assert data["nodes"][1]["box"]["center"] == [1.0, 0.0, 2.0]
    assert {edge["relation"]: edge["frame"] for edge in data["edges"]} == {
        "left of": "view 0", "near": None, "right of": "view 0",
    }  # fmt: skip


def test_directions_alone_have_a_frame() -> None:
    assert {name for name in RELATIONS if frame_of(name)} == set(DIRECTIONAL_RELATIONS)


def test_box_is_found_in_the_views_that_it_is_in() -> None:
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 40, 23.5], [0, 0, 1]]).repeat(2, 1, 1)
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # looks the other way
    found = boxes_in_views(_thing(0, (0, 0, 2)), intrinsics, poses, (48, 64))
    assert [place["view"] for place in found] == [0]
    left, top, right, bottom = found[0]["box"]
    reach = 40 * 0.2 / 1.8  # the near face is the widest
    assert np.allclose([left, right], [31.5 - reach, 31.5 + reach], atol=0.06)
    assert np.allclose([top, bottom], [23.5 - reach, 23.5 + reach], atol=0.06)
    assert boxes_in_views(_thing(0, (20, 0, 2)), intrinsics, poses, (48, 64)) == []
