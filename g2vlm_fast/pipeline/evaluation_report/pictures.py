"""One scene in pictures: what was given, what is true, what a system says, and where it errs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.mesh import sample_mesh
from g2vlm_fast.eval.metrics.surface import surface_distances
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.scoring.depth import depth_in_given_views
from g2vlm_fast.export.scene_graph import SceneObject, SceneRelation, frame_of
from g2vlm_fast.ontology import RELATIONS
from g2vlm_fast.report.cameras import VirtualCamera, overview_cameras
from g2vlm_fast.report.from_above import (
    FromAbove,
    paper,
    points_from_above,
    solids_from_above,
)
from g2vlm_fast.report.pictures import (
    Picture,
    depth_in_colors,
    error_in_colors,
    fit,
    sheet,
    to_picture,
)
from g2vlm_fast.report.scene_graph import draw_top_view
from g2vlm_fast.report.splats import distance_in_colors, draw_points

WORST_DISTANCE = 0.10
"""Metres from which on an error of the surface has the darkest colour."""
WORST_DEPTH = 0.10
"""Relative depth error of the darkest colour."""

Captioned = tuple[Picture, str]

_VIEWS = 4
_VIEW_WIDTH = 240
_WIDTH = 520
_OVERVIEW = (380, 520)
_SEEN = 0.995  # share of the true surface that its picture holds
_MOST_POINTS = 60_000
_BELOW_CEILING = 0.15  # metres; what is higher hides the room from above
_TELLING = {name: rank for rank, name in enumerate(("on", "in", "above", "near", "facing"))}


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points of a surface."""

    points: Tensor  # [N, 3] float32 metres
    colors: NDArray[np.uint8]  # [N, 3]
    normals: Tensor | None = None  # [N, 3] unit, into free space


def truth_pictures(case: Case) -> list[Captioned]:
    """Draw what was given of a case, and what is true of it from above."""
    pictures = []
    if case.given is not None:
        pictures.append((_given(case.given), "What was given: views and their depth"))
    plan = _true_plan(case)
    if plan is not None:
        pictures.append((plan, "What is true, from above"))
    return pictures


def prediction_pictures(case: Case, prediction: ScenePrediction) -> list[Captioned]:
    """Draw what a system says of a case from above, and its errors by colour."""
    pictures = []
    cloud = predicted_cloud(prediction)
    if cloud is not None or prediction.objects:
        pictures.append((_said_plan(case, prediction, cloud), "What it says, from above"))
    if case.surface is not None and cloud is not None:
        pictures += _surface_errors(case, cloud)
    if case.depth is not None and prediction.depth is not None:
        pictures.append(_depth_errors(case, prediction))
    return pictures


def predicted_cloud(prediction: ScenePrediction) -> Cloud | None:
    """Return the predicted surface as points: those predicted, else samples of the mesh."""
    if prediction.points is not None and len(prediction.points):
        keep = _spread(len(prediction.points))
        points = torch.from_numpy(prediction.points[keep])
        if prediction.colors is None:
            return Cloud(points, _shaded_by_height(points))
        return Cloud(points, (prediction.colors[keep] * 255).round().astype(np.uint8))
    if prediction.vertices is None or prediction.faces is None or not len(prediction.faces):
        return None
    points, normals = sample_mesh(
        torch.from_numpy(prediction.vertices),
        torch.from_numpy(prediction.faces),
        _MOST_POINTS,
        torch.Generator().manual_seed(0),
    )
    return Cloud(points.float(), _shaded(normals), normals.float())


def _given(scene: Scene) -> Picture:
    views = np.unique(np.linspace(0, scene.num_views - 1, _VIEWS).round().astype(int)).tolist()
    rows = [[fit(to_picture(scene.images[view]), _VIEW_WIDTH) for view in views]]
    if scene.depth is not None:
        low, high = _depth_range(scene.depth)
        rows.append(
            [fit(depth_in_colors(scene.depth[view], low, high), _VIEW_WIDTH) for view in views]
        )
    return sheet(rows)


def _depth_range(depth: Tensor) -> tuple[float, float]:
    measured = depth[depth > 0]
    if not len(measured):
        return 0.0, 1.0
    some = measured[:: max(1, len(measured) // 100_000)]
    low, high = some.quantile(some.new_tensor([0.02, 0.98])).tolist()
    return low, high


def _true_plan(case: Case) -> Picture | None:
    background = _true_background(case)
    if background is None:
        return None
    objects = [] if case.graph is None else _true_objects(case.graph)
    relations = [] if case.graph is None else _true_relations(case.graph)
    return _plan(case, background, objects, relations)


def _said_plan(case: Case, prediction: ScenePrediction, cloud: Cloud | None) -> Picture:
    background = paper if cloud is None else _from_above(cloud)
    objects = [
        _scene_object(thing.id, thing.class_name, thing.center, thing.size, thing.rotation)
        for thing in prediction.objects
    ]
    relations = [
        SceneRelation(edge.subject, edge.object, edge.name, edge.score, frame_of(edge.name))
        for edge in prediction.relations
    ]
    return _plan(case, background, objects, relations)


def _plan(
    case: Case,
    background: FromAbove,
    objects: list[SceneObject],
    relations: list[SceneRelation],
) -> Picture:
    pose = None if case.given is None else case.given.poses[0].numpy()
    tallest = _OVERVIEW[0] / _OVERVIEW[1]
    drawn = draw_top_view(
        background, objects, relations, pose, region=_region(case), tallest=tallest
    )
    return fit(drawn, _WIDTH)


def _region(case: Case) -> NDArray[np.float32]:
    """The rectangle of the floor that every plan of a case shows, metres."""
    if case.surface is not None:
        ground = case.surface.points[:, :2].quantile(torch.tensor([0.01, 0.99]), dim=0)
        return ground.numpy()
    if case.graph is not None and len(case.graph.boxes):
        reach = np.linalg.norm(case.graph.boxes.size[:, :2], axis=1)[:, None] / 2
        center = case.graph.boxes.center[:, :2]
        return np.stack([(center - reach).min(0), (center + reach).max(0)]).astype(np.float32)
    return np.array([[-2, -2], [2, 2]], dtype=np.float32)


def _true_background(case: Case) -> FromAbove | None:
    if case.surface is None:
        return None if case.graph is None else paper
    points = case.surface.points
    if case.surface.primitives is not None:
        return solids_from_above(
            case.surface.primitives, float(points[:, 2].max()) - _BELOW_CEILING
        )
    keep = _spread(len(points))
    return _from_above(Cloud(points[keep], _shaded(case.surface.normals[keep])))


def _from_above(cloud: Cloud) -> FromAbove:
    ceiling = float(cloud.points[:, 2].quantile(0.98)) - _BELOW_CEILING
    return points_from_above(cloud.points.numpy(), cloud.colors, ceiling)


def _surface_errors(case: Case, cloud: Cloud) -> list[Captioned]:
    """What is missing (the truth by its distance to what is said) and what is wrong."""
    assert case.surface is not None
    keep = _spread(len(case.surface.points))
    points, normals = case.surface.points[keep], case.surface.normals[keep]
    distances = surface_distances(cloud.points, points)
    camera = _overview(case, points)
    area = float((points.amax(0) - points.amin(0)).prod()) ** (2 / 3) * 6
    missing = draw_points(
        points.numpy(),
        distance_in_colors(distances.to_prediction.numpy(), WORST_DISTANCE),
        camera,
        spacing=(area / len(points)) ** 0.5,
        normals=normals.numpy(),
    )
    wrong = draw_points(
        cloud.points.numpy(),
        distance_in_colors(distances.to_truth.numpy(), WORST_DISTANCE),
        camera,
        spacing=(area / len(cloud.points)) ** 0.5,
        normals=normals[distances.nearest_truth.long()].numpy(),
    )
    return [
        (missing, "What is missing: the true surface by its distance to what it says"),
        (wrong, "What is wrong: the surface that it says by its distance to the truth"),
    ]


def _overview(case: Case, points: Tensor) -> VirtualCamera:
    poses = torch.eye(4)[None] if case.given is None else case.given.poses
    return overview_cameras(points, poses, _OVERVIEW, (-28.0,), shown=_SEEN)[0]


def _depth_errors(case: Case, prediction: ScenePrediction) -> Captioned:
    """One view: true depth, predicted depth and relative error."""
    assert case.depth is not None
    assert case.given is not None
    view = prediction.views[len(prediction.views) // 2]
    truth, said = case.depth.depth[view], depth_in_given_views(prediction, case.given)[view].float()
    low, high = _depth_range(truth)
    pictures = [
        depth_in_colors(truth, low, high),
        depth_in_colors(said, low, high),
        error_in_colors(said, truth, WORST_DEPTH),
    ]
    drawn = sheet([[fit(picture, _VIEW_WIDTH) for picture in pictures]])
    return drawn, f"View {view}: true depth, predicted depth, relative error (red: 10 % or more)"


def _true_objects(graph: GraphTruth) -> list[SceneObject]:
    boxes = graph.boxes
    return [
        _scene_object(index, name, boxes.center[index], boxes.size[index], boxes.rotation[index])
        for index, name in enumerate(graph.class_names)
    ]


def _true_relations(graph: GraphTruth) -> list[SceneRelation]:
    """All that hold; those that say the most first."""
    if graph.relations is None:
        return []
    edges = [
        SceneRelation(int(s), int(o), RELATIONS[r], 1.0, frame_of(RELATIONS[r]))
        for s, o, r in np.argwhere(graph.relations == 1)
    ]
    return sorted(edges, key=lambda edge: _TELLING.get(edge.name, len(_TELLING)))


def _scene_object(
    number: int, class_name: str, center: object, size: object, rotation: object
) -> SceneObject:
    return SceneObject(
        id=number,
        class_name=class_name,
        score=1.0,
        class_score=1.0,
        center=np.asarray(center, dtype=np.float32),
        size=np.asarray(size, dtype=np.float32),
        rotation=np.asarray(rotation, dtype=np.float32),
        descriptor=np.zeros(0, dtype=np.float32),
    )


def _shaded(normals: Tensor) -> NDArray[np.uint8]:
    """Grey by how much a surface is turned to the light, ``[N, 3]``."""
    light = torch.tensor([0.3, -0.5, 0.81])
    shade = 0.55 + 0.4 * (normals.float() @ light).clamp_min(0)
    return _grey(shade)


def _shaded_by_height(points: Tensor) -> NDArray[np.uint8]:
    low, high = points[:, 2].quantile(points.new_tensor([0.02, 0.98])).tolist()
    share = ((points[:, 2] - low) / max(high - low, 1e-6)).clamp(0, 1)
    return _grey(0.45 + 0.45 * share)


def _grey(shade: Tensor) -> NDArray[np.uint8]:
    return (shade[:, None] * 255).round().byte().expand(-1, 3).contiguous().numpy()


def _spread(count: int) -> NDArray[np.int64]:
    """Rows that are drawn of so many, in their order."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, _MOST_POINTS, replace=False))
