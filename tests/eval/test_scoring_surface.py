"""Scores of surfaces: exact distances, hidden parts, meshes by area, voxels."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scored_rooms import room_case, truth_as_prediction
from torch import Tensor

from g2vlm_fast.data import generate_room
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.sampling import sample_surface
from g2vlm_fast.eval.metrics.surface import surface_scores
from g2vlm_fast.eval.protocol.cases import Case, SurfaceTruth
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring import score_named
from g2vlm_fast.eval.scoring.solids import distance_to_solids
from g2vlm_fast.eval.scoring.surface import LIMIT, SCORES, judge
from g2vlm_fast.eval.scoring.voxels import VOXEL, voxels_of

OF_SOLIDS = "mesh_iou"  # the score of a volume, which samples have not


def plane(count: int, size: float = 2.0) -> SurfaceTruth:
    """A square on the ground, of which the half with negative x is hidden."""
    generator = torch.Generator().manual_seed(count)
    points = torch.rand(count, 3, generator=generator) * size - size / 2
    points[:, 2] = 0
    return SurfaceTruth(
        points=points,
        normals=torch.tensor([0.0, 0, 1]).expand(count, 3).contiguous(),
        hidden=points[:, 0] < 0,
    )


def square(size: float = 2.0) -> tuple[Tensor, Tensor]:
    half = size / 2
    vertices = torch.tensor(
        [[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]]
    )
    return vertices, torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)


def rows_of(truth: SurfaceTruth, **said: Tensor) -> dict[str, Row]:
    prediction = ScenePrediction(
        scene="plane", system="test", **{name: each.numpy() for name, each in said.items()}
    )
    return judge(Case(name="plane", given=None, surface=truth), prediction).rows


def values_of(truth: SurfaceTruth, **said: Tensor) -> dict[str, float]:
    rows = rows_of(truth, **said)
    return {name: float(score_named(name).statistic(np.array(row))) for name, row in rows.items()}


def test_samples_alone_are_scored_like_two_point_sets() -> None:
    truth = plane(500)
    points = truth.points + 0.03 * torch.randn(500, 3, generator=torch.Generator().manual_seed(1))
    values = values_of(truth, points=points)
    expected = surface_scores(points, truth.points)
    for name in ("accuracy", "accuracy_median", "completeness", "completeness_median",
                 "chamfer_l1", "chamfer_sum", "chamfer_squared"):  # fmt: skip
        assert values[name] == pytest.approx(getattr(expected, name)), name
    for threshold, told in ((0.02, "2cm"), (0.05, "5cm"), (0.10, "10cm")):
        assert values[f"f_score_{told}"] == pytest.approx(expected.f_score[threshold])


def test_distances_to_solids_are_those_of_every_pair() -> None:
    room = generate_room(3)
    assert room.truth is not None
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(3000, 3, generator=generator) - 0.5) * 2 * room.truth.room_size
    points[0] = torch.tensor([40.0, -3.0, 20.0])
    expected = room.truth.primitives.signed_distance(points).abs().double()
    assert torch.equal(distance_to_solids(room.truth.primitives, points), expected)
    assert distance_to_solids(room.truth.primitives, points[:0]).shape == (0,)


@pytest.mark.parametrize("exact", ["mesh", "primitives"])
def test_what_is_exact_has_no_floor_from_the_spacing_of_samples(exact: str) -> None:
    if exact == "mesh":
        truth = dataclasses.replace(plane(30), mesh=square())
        points = plane(400).points + torch.tensor([0, 0, 0.015])
    else:
        room = room_case().surface
        scene = generate_room(5)
        assert room is not None
        assert scene.truth is not None
        few = slice(0, 60)
        truth = SurfaceTruth(
            points=room.points[few], normals=room.normals[few], hidden=room.hidden[few],
            primitives=scene.truth.primitives,
        )  # fmt: skip
        points = room.points + 0.015 * room.normals
    values = values_of(truth, points=points)
    assert values["accuracy_median"] == pytest.approx(0.015, abs=1e-4)
    floor = values_of(dataclasses.replace(truth, primitives=None, mesh=None), points=points)
    assert floor["accuracy_median"] > 0.05


def test_hidden_scores_take_what_is_nearest_to_the_hidden_surface() -> None:
    truth = SurfaceTruth(
        points=torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]),
        normals=torch.tensor([[0.0, 0, 1]]).expand(3, 3).contiguous(),
        hidden=torch.tensor([False, True, True]),
    )
    values = values_of(truth, points=torch.tensor([[0.0, 0, 0.5], [1, 0, 0.03], [1, 0, 0.3]]))
    assert values["accuracy_hidden"] == pytest.approx((0.03 + 0.3) / 2)
    assert values["completeness_hidden"] == pytest.approx((0.03 + LIMIT) / 2)
    assert values["recall_5cm_hidden"] == 0.5
    assert values["f_score_5cm_hidden"] == 0.5
    assert values["recall_2cm_hidden"] == 0.0


def test_a_scene_without_hidden_surface_has_no_hidden_scores() -> None:
    truth = plane(50)
    truth = dataclasses.replace(truth, hidden=torch.zeros(50, dtype=torch.bool))
    rows = rows_of(truth, points=truth.points)
    for name, row in rows.items():
        assert (row == (0.0, 0.0)) == (name.endswith("_hidden") or name == OF_SOLIDS), name


def test_distances_are_cut_off() -> None:
    values = values_of(plane(50), points=torch.tensor([[0.0, 0, 500.0]]))
    assert values["accuracy"] == values["completeness_median"] == LIMIT
    assert values["chamfer_squared"] == 2 * LIMIT**2


def test_a_mesh_is_scored_by_area_and_not_by_vertices() -> None:
    truth = dataclasses.replace(plane(2000), mesh=square())
    vertices, faces = square()
    crowd = torch.tensor([[0.0, 0, 1.0], [1e-4, 0, 1], [0, 1e-4, 1]]).repeat(500, 1)
    many = torch.arange(1500, dtype=torch.int32).view(-1, 3) + len(vertices)
    values = values_of(truth, vertices=torch.cat([vertices, crowd]), faces=torch.cat([faces, many]))
    assert values["mesh_f_score_2cm"] > 0.999
    assert values["mesh_normal_consistency"] > 0.999
    assert values["f_score_5cm"] > 0.999, "a mesh alone is sampled for the scores of points"


def test_recall_of_a_mesh_is_exact_however_large_its_triangles_are() -> None:
    truth = dataclasses.replace(plane(300), mesh=square())
    vertices, faces = square()
    assert values_of(truth, vertices=vertices, faces=faces)["mesh_f_score_2cm"] == 1.0
    half = values_of(truth, vertices=vertices, faces=faces[:1])["mesh_f_score_2cm"]
    found = float((truth.points[:, 1] <= truth.points[:, 0] + 0.02 * math.sqrt(2)).float().mean())
    assert half == pytest.approx(2 * found / (1 + found), abs=0.01)


def test_a_cloud_without_a_mesh_has_a_mesh_score_of_0() -> None:
    truth = plane(100)
    values = values_of(truth, points=truth.points)
    assert values["f_score_2cm"] == 1.0
    assert values["mesh_f_score_10cm"] == values["mesh_normal_consistency"] == 0.0


def test_voxels_are_counted_once_and_centred_on_the_origin() -> None:
    edge = VOXEL / 2
    points = torch.tensor(
        [[0.0, 0, 0.01], [0, 0, -0.01], [edge + 0.01, 0, 0], [-edge - 0.01, 0, 0]]
    )
    assert len(voxels_of(points)) == 3
    assert len(voxels_of(torch.tensor([[1e6, -1e6, 1e6]]))) == 1
    assert len(voxels_of(points[:0])) == 0


def test_occupancy_counts_said_and_true_voxels_everywhere_and_off_the_seen_surface() -> None:
    truth = SurfaceTruth(
        points=torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]),
        normals=torch.tensor([[0.0, 0, 1]]).expand(3, 3).contiguous(),
        hidden=torch.tensor([False, True, True]),
    )
    rows = rows_of(truth, points=torch.tensor([[0.0, 0, 0], [1, 0, 0], [5, 5, 5]]))
    assert rows["occupancy_iou_10cm"] == (2.0, 4.0)
    assert rows["occupancy_iou_10cm_hidden"] == (1.0, 3.0)


BOX_FACES = torch.tensor(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
     [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]], dtype=torch.int32,
)  # fmt: skip


def box(half_size: tuple[float, float, float], *, inwards: bool = False) -> tuple[Tensor, Tensor]:
    corner = torch.tensor([[x, y, z] for z in (-1.0, 1) for y in (-1.0, 1) for x in (-1.0, 1)])
    return corner * torch.tensor(half_size), BOX_FACES.flip(1) if inwards else BOX_FACES


WALLS, BLOCK = (2.0, 1.5, 1.0), (1.0, 0.5, 0.5)


def blocked_room() -> SurfaceTruth:
    """A room of 24 m³ with a block of 2 m³ that hangs in its middle."""
    solids = Primitives(
        shape=torch.tensor([int(Shape.ROOM), int(Shape.BOX)]),
        center=torch.zeros(2, 3),
        rotation=torch.eye(3).repeat(2, 1, 1),
        half_size=torch.tensor([WALLS, BLOCK]),
        color=torch.full((2, 3), 0.5),
        material=torch.zeros(2, dtype=torch.int64),
        instance=torch.tensor([-1, 0]),
    )
    points, normals, _ = sample_surface(solids, 3000, torch.Generator().manual_seed(0))
    return SurfaceTruth(
        points=points, normals=normals, hidden=torch.zeros(3000, dtype=torch.bool),
        primitives=solids,
    )  # fmt: skip


def joined(*meshes: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    ends = torch.tensor([0, *(len(vertices) for vertices, _ in meshes)]).cumsum(0).int()
    return {
        "vertices": torch.cat([vertices for vertices, _ in meshes]),
        "faces": torch.cat([faces + end for (_, faces), end in zip(meshes, ends, strict=False)]),
    }


def test_the_volume_of_air_is_that_between_walls_and_furniture() -> None:
    truth, walls = blocked_room(), box(WALLS, inwards=True)
    assert values_of(truth, **joined(walls, box(BLOCK)))["mesh_iou"] == 1.0
    empty = values_of(truth, **joined(walls))["mesh_iou"]
    assert empty == pytest.approx(22 / 24, abs=0.01)
    halved = values_of(truth, **joined(box((1.0, 1.5, 1.0), inwards=True), box(BLOCK)))["mesh_iou"]
    assert halved == pytest.approx(10 / 22, abs=0.02)
    larger = values_of(truth, **joined(box((2.2, 1.5, 1.0), inwards=True), box(BLOCK)))["mesh_iou"]
    assert larger == pytest.approx(22 / 24.4, abs=0.02)


def test_a_mesh_inside_out_or_none_encloses_no_air() -> None:
    truth = blocked_room()
    assert values_of(truth, **joined(box(WALLS), box(BLOCK, inwards=True)))["mesh_iou"] == 0.0
    assert values_of(truth, points=truth.points)["mesh_iou"] == 0.0
    assert values_of(truth)["mesh_iou"] == 0.0


def test_a_truth_without_solids_has_no_volume() -> None:
    vertices, faces = square()
    assert rows_of(plane(500), vertices=vertices, faces=faces)["mesh_iou"] == (0.0, 0.0)


def test_a_rigid_motion_of_truth_and_prediction_changes_no_distance() -> None:
    case = room_case()
    truth = case.surface
    prediction = truth_as_prediction(case)
    assert truth is not None
    assert prediction.points is not None
    assert prediction.vertices is not None
    noise = np.random.default_rng(0).normal(scale=0.03, size=prediction.points.shape)
    cosine, sine = math.cos(0.7), math.sin(0.7)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    shift = np.array([1.3, -0.4, 0.2])

    def values(move: bool) -> dict[str, float]:
        def moved(points: np.ndarray) -> Tensor:
            there = points @ turn.T + shift if move else points
            return torch.from_numpy(there.astype(np.float32))

        turned = truth.normals.numpy() @ turn.T if move else truth.normals.numpy()
        surface = SurfaceTruth(
            points=moved(truth.points.numpy()),
            normals=torch.from_numpy(turned.astype(np.float32)),
            hidden=truth.hidden,
        )
        return values_of(
            surface,
            points=moved(prediction.points + noise),
            vertices=moved(prediction.vertices),
            faces=torch.from_numpy(prediction.faces),
        )

    still, turned = values(False), values(True)
    for score in SCORES:
        if not score.name.startswith(("occupancy", OF_SOLIDS)):  # grid and box do not move along
            assert turned[score.name] == pytest.approx(still[score.name], abs=2e-3), score.name


def test_more_errors_never_score_better() -> None:
    truth = plane(400)
    last: dict[str, float] | None = None
    for wrong in range(0, 401, 50):
        points = truth.points.clone()
        points[:wrong, 2] += 1.0
        corners = (points[:, None] + 1e-3 * torch.eye(3)).reshape(-1, 3)
        faces = torch.arange(1200, dtype=torch.int32).view(-1, 3)
        values = values_of(truth, points=points, vertices=corners, faces=faces)
        for score in SCORES if last is not None else ():
            if score.name in ("mesh_normal_consistency", OF_SOLIDS):
                continue  # the one knows directions and no distances, the other nothing here
            gain = values[score.name] - last[score.name]
            assert gain * (1 if score.higher_is_better else -1) <= 1e-3, (score.name, wrong)
        last = values
