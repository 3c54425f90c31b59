"""Surfaces: a predicted cloud and mesh against the complete surface of a scene.

Nothing is aligned; both are taken in the world of what was given. A cloud is scored by its points
as they come, a mesh by :data:`MESH_SAMPLES` points drawn evenly by area; where a system gives a
mesh alone, these are its cloud. How far a predicted point is from the truth is exact where the
truth has solids or a mesh, and else its distance to the nearest true sample. Every distance is cut
off at :data:`LIMIT`, which is also how far away a prediction of nothing is: no failure leaves a
mean, and none sways it without bound.

Numbers are of one scene each and averaged over scenes, but for the IoU of voxels, whose counts are
added up.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.mesh import sample_mesh
from g2vlm_fast.eval.metrics.surface import (
    THRESHOLDS,
    SurfaceDistances,
    normal_consistency,
    surface_distances,
)
from g2vlm_fast.eval.protocol.cases import Case, SurfaceTruth
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring import volume, voxels
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.scoring.solids import distance_to_solids
from g2vlm_fast.ops import point_to_mesh

LIMIT = 2.0
"""Metres at which distances are cut off."""

MESH_SAMPLES = 100_000
"""Points that a predicted mesh is scored by."""

_CUT = f"distances cut off at {LIMIT:g} m"
_CENTIMETRES = {threshold: f"{100 * threshold:.0f}cm" for threshold in THRESHOLDS}
_HIDDEN = "of true points that no given view sees, and of the predicted points nearest to them"


def _metres(name: str, formula: str, *, headline: bool = False, unit: str = "m") -> Score:
    return Score(
        name, "surface", f"{formula}; {_CUT}", unit=unit, higher_is_better=False, headline=headline
    )


SCORES = (
    _metres("chamfer_l1", "half the sum of accuracy and completeness", headline=True),
    _metres("chamfer_sum", "accuracy + completeness"),
    _metres("chamfer_squared", "mean squared distance there, plus the same back", unit="m²"),
    _metres("accuracy", "mean distance of predicted points to the true surface"),
    _metres("accuracy_median", "median distance of predicted points to the true surface"),
    _metres("completeness", "mean distance of true points to the predicted ones"),
    _metres("completeness_median", "median distance of true points to the predicted ones"),
    *(
        Score(
            f"f_score_{told}",
            "surface",
            f"harmonic mean of the shares of predicted and of true points closer than {told}",
            headline=threshold == 0.05,
        )
        for threshold, told in _CENTIMETRES.items()
    ),
    _metres("chamfer_l1_hidden", f"half of accuracy + completeness, {_HIDDEN}"),
    _metres("accuracy_hidden", "mean distance of predicted points nearest to hidden true ones"),
    _metres(
        "completeness_hidden",
        "mean distance to the predicted points, of true points that no given view sees",
        headline=True,
    ),
    *(
        Score(f"f_score_{told}_hidden", "surface", f"F-score at {told}, {_HIDDEN}")
        for told in _CENTIMETRES.values()
    ),
    *(
        Score(
            f"recall_{told}_hidden",
            "surface",
            "share of the true points that no given view sees, with a predicted one closer than "
            f"{told}",
            headline=threshold == 0.05,
            rate=True,
        )
        for threshold, told in _CENTIMETRES.items()
    ),
    *(
        Score(
            f"mesh_f_score_{told}",
            "surface",
            f"harmonic mean of the share of the predicted mesh's area closer than {told} to the "
            "true surface, and of the share of true points as close to its triangles",
        )
        for told in _CENTIMETRES.values()
    ),
    Score(
        "mesh_normal_consistency",
        "surface",
        "mean |cosine| between the normals of the mesh and those of the nearest true points, and "
        "back",
    ),
    *voxels.SCORES,
    *volume.SCORES,
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the cloud and the mesh of one scene."""
    if case.surface is None:
        return Judgement()
    truth = case.surface
    mesh = _mesh(prediction)
    samples, normals = sample_mesh(*mesh, MESH_SAMPLES, torch.Generator().manual_seed(0))
    samples, normals = samples.float(), normals.float()
    points = samples if prediction.points is None else torch.from_numpy(prediction.points)
    found = _distances(points, truth)
    return Judgement(
        {
            **_cloud_rows(found),
            **_hidden_rows(found, truth.hidden),
            **_mesh_rows(mesh, samples, normals, truth),
            **voxels.rows_of(points, truth),
            **volume.rows_of(mesh, truth),
        }
    )


def _mesh(prediction: ScenePrediction) -> tuple[Tensor, Tensor]:
    if prediction.vertices is None or prediction.faces is None:
        return torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32)
    return torch.from_numpy(prediction.vertices), torch.from_numpy(prediction.faces)


def _distances(points: Tensor, truth: SurfaceTruth) -> SurfaceDistances:
    distances = surface_distances(points, truth.points)
    near = distances.to_truth < 2 * LIMIT
    if truth.primitives is not None:
        distances.to_truth[near] = distance_to_solids(truth.primitives, points[near])
    elif truth.mesh is not None:
        squared, _, _ = point_to_mesh(points[near], *truth.mesh)
        distances.to_truth[near] = squared.double().sqrt()
    return distances


def _cloud_rows(found: SurfaceDistances) -> dict[str, Row]:
    distances = found.capped(LIMIT)
    return _once(
        {
            "chamfer_l1": distances.chamfer_l1,
            "chamfer_sum": distances.chamfer_sum,
            "chamfer_squared": distances.chamfer_squared,
            "accuracy": distances.accuracy,
            "accuracy_median": distances.accuracy_median,
            "completeness": distances.completeness,
            "completeness_median": distances.completeness_median,
            **{f"f_score_{told}": distances.f_score(t) for t, told in _CENTIMETRES.items()},
        }
    )


def _hidden_rows(found: SurfaceDistances, hidden: Tensor) -> dict[str, Row]:
    to_hidden = hidden[found.nearest_truth.long()]
    distances = SurfaceDistances(
        found.to_truth[to_hidden],
        found.to_prediction[hidden],
        found.nearest_truth[to_hidden],
        found.nearest_prediction[hidden],
    ).capped(LIMIT)
    scores = {
        "chamfer_l1_hidden": distances.chamfer_l1,
        "accuracy_hidden": distances.accuracy,
        "completeness_hidden": distances.completeness,
        **{f"f_score_{told}_hidden": distances.f_score(t) for t, told in _CENTIMETRES.items()},
        **{f"recall_{told}_hidden": distances.recall(t) for t, told in _CENTIMETRES.items()},
    }
    return _once(scores) if hidden.any() else dict.fromkeys(scores, (0.0, 0.0))


def _mesh_rows(
    mesh: tuple[Tensor, Tensor], samples: Tensor, normals: Tensor, truth: SurfaceTruth
) -> dict[str, Row]:
    if not len(samples):
        names = [f"mesh_f_score_{told}" for told in _CENTIMETRES.values()]
        return _once(dict.fromkeys([*names, "mesh_normal_consistency"], 0.0))
    squared, face, _ = point_to_mesh(truth.points, *mesh)
    distances = dataclasses.replace(
        _distances(samples, truth), to_prediction=squared.double().sqrt(), nearest_prediction=face
    )
    scores = {f"mesh_f_score_{told}": distances.f_score(t) for t, told in _CENTIMETRES.items()}
    consistency = normal_consistency(samples, normals, truth.points, truth.normals)
    return _once(scores | {"mesh_normal_consistency": consistency})


def _once(scores: dict[str, float]) -> dict[str, Row]:
    """Rows of numbers that are averaged over scenes."""
    return {name: (score, 1.0) for name, score in scores.items()}
