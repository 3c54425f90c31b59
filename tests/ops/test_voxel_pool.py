"""Voxel pooling, beyond what every op promises (test_every_op.py)."""

from __future__ import annotations

import math
from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from g2vlm_fast.nn import VoxelPool
from g2vlm_fast.ops import Clusters, Graph, interpolate, pool, unpool, voxel_clusters


def voxels_by_hand(
    position: Tensor, size: float, ends: list[int]
) -> dict[tuple[int, ...], list[int]]:
    found: dict[tuple[int, ...], list[int]] = {}
    for index, point in enumerate(position.tolist()):
        segment = sum(index >= end for end in ends[1:])
        voxel = (segment, *(math.floor(each / size) for each in point))
        found.setdefault(voxel, []).append(index)
    return dict(sorted(found.items()))


def members_of(clusters: Clusters) -> list[list[int]]:
    ends, points = clusters.graph.row_offsets.tolist(), clusters.graph.columns.tolist()
    return [points[begin:end] for begin, end in pairwise(ends)]


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=5),
    st.sampled_from([0.1, 0.5, 1.0, 3.7]),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_clusters_are_the_voxels_of_each_segment_in_order(
    lengths: list[int], size: float, seed: int, on_the_grid: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ends = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    position = 2 * torch.randn(ends[-1], 3, generator=generator, dtype=torch.float64)
    if on_the_grid:
        position = position.round()
    clusters = voxel_clusters(position, size, torch.tensor(ends, dtype=torch.int32))
    expected = voxels_by_hand(position, size, ends)
    assert members_of(clusters) == list(expected.values())
    for cluster, points in enumerate(expected.values()):
        assert (clusters.assignment[points] == cluster).all()
        torch.testing.assert_close(clusters.position[cluster], position[points].mean(0))
    segments = [sum(voxel[0] == b for voxel in expected) for b in range(len(lengths))]
    assert clusters.offsets.diff().tolist() == segments


def test_clusters_hold_for_hundreds_of_segments_and_for_bfloat16_features() -> None:
    """Batch numbers beyond 256 would collide as bfloat16."""
    offsets = torch.arange(601, dtype=torch.int32)
    clusters = voxel_clusters(torch.zeros(600, 3), 1.0, offsets)
    assert clusters.num_clusters == 600
    assert torch.equal(clusters.offsets, offsets)


def test_the_grid_stands_still_when_points_are_added() -> None:
    few = torch.tensor([[0.95, 0, 0], [1.05, 0, 0]])
    more = torch.cat([few, torch.tensor([[-0.3, 0, 0]])])
    assert voxel_clusters(few, 1.0).num_clusters == 2
    assert voxel_clusters(more, 1.0).assignment.tolist() == [1, 2, 0]


def test_moving_by_whole_voxels_moves_the_clusters_alone(generator: torch.Generator) -> None:
    position = torch.randint(-400, 400, (200, 3), generator=generator).double() / 64
    shift = torch.tensor([32.0, -64.0, 8.0], dtype=torch.float64)
    before, after = voxel_clusters(position, 0.5), voxel_clusters(position + shift, 0.5)
    assert torch.equal(before.assignment, after.assignment)
    torch.testing.assert_close(after.position, before.position + shift)


def test_unpooling_gives_each_point_the_features_of_its_cluster(
    generator: torch.Generator,
) -> None:
    position = torch.randn(60, 3, generator=generator)
    clusters = voxel_clusters(position, 0.9)
    x = torch.randn(clusters.num_clusters, 5, generator=generator, requires_grad=True)
    out = unpool(x, clusters)
    assert torch.equal(out, x[clusters.assignment.long()])
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad[:, 0], clusters.graph.row_offsets.diff().float())
    torch.testing.assert_close(pool(out, clusters, "mean"), x)


def test_the_coarse_graph_joins_clusters_whose_points_are_joined() -> None:
    position = torch.tensor([[0.1, 0, 0], [0.2, 0, 0], [1.1, 0, 0], [5.0, 0, 0]])
    clusters = voxel_clusters(position, 1.0)
    edges = torch.tensor([[0, 1], [1, 0], [1, 2], [2, 1], [0, 2], [2, 0]]).T
    coarse = clusters.coarsen(Graph.from_edges(edges[0], edges[1], 4))
    assert coarse.row_offsets.tolist() == [0, 1, 2, 2]
    assert coarse.columns.tolist() == [1, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_position_that_is_not_finite_is_refused(bad: float) -> None:
    position = torch.zeros(4, 3)
    position[2, 1] = bad
    with pytest.raises(ValueError, match="position must be finite"):
        voxel_clusters(position, 1.0)


def test_a_point_so_far_that_voxels_beside_it_are_one_is_refused() -> None:
    far = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1e16]], dtype=torch.float64)
    with pytest.raises(ValueError, match="1e\\+17 voxels from the origin"):
        voxel_clusters(far, 0.1)


def test_a_grid_too_fine_for_its_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="choose a larger size"):
        voxel_clusters(torch.tensor([[0.0, 0, 0], [1e30, 1e30, 1e30]]), 1e-3)


def test_points_on_coarse_points_take_their_features(generator: torch.Generator) -> None:
    position = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    x = torch.randn(10, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(interpolate(x, position, position), x, rtol=0, atol=1e-5)


def test_equal_features_interpolate_to_themselves(generator: torch.Generator) -> None:
    coarse, fine = (torch.randn(n, 3, generator=generator) for n in (8, 30))
    out = interpolate(torch.full((8, 2), 7.0), coarse, fine)
    torch.testing.assert_close(out, torch.full((30, 2), 7.0))


def test_interpolation_stays_within_its_segment_and_is_zero_where_there_is_no_other() -> None:
    coarse = torch.tensor([[0.0, 0, 0], [9.0, 0, 0]])
    fine = torch.tensor([[8.0, 0, 0], [1.0, 0, 0], [math.nan, 0, 0]])
    out = interpolate(
        torch.tensor([[1.0], [2.0]]),
        coarse,
        fine,
        offsets_coarse=torch.tensor([0, 1, 1, 2], dtype=torch.int32),
        offsets_fine=torch.tensor([0, 1, 2, 3], dtype=torch.int32),
    )
    assert out[:2].flatten().tolist() == [1.0, 0.0]
    assert out[2].isnan().all()
    assert interpolate(torch.ones(0, 3), torch.ones(0, 3), fine).tolist() == [[0.0] * 3] * 3


def test_the_layer_pools_and_hands_on_its_clusters(generator: torch.Generator) -> None:
    position = torch.randn(50, 3, generator=generator)
    x = torch.randn(50, 6, generator=generator)
    pooled, clusters = VoxelPool(1.0, "max")(x, position)
    assert torch.equal(pooled, pool(x, clusters, "max"))
    assert clusters.to("meta").graph.columns.is_meta


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("points", "size"),
    [
        pytest.param(20_000, 0.1, id="keys that hold their rows"),
        pytest.param(600_000, 0.1, id="many keys of few bits"),
        pytest.param(600_000, 0.02, id="more keys than the own sort takes"),
        pytest.param(1_200_000, 0.1, id="more keys of few bits than it takes"),
        pytest.param(20_000, 1e-5, id="rows beside keys"),
        pytest.param(20_000, 100.0, id="eight voxels"),
    ],
)
def test_clusters_on_the_gpu_are_those_on_the_cpu(
    generator: torch.Generator, points: int, size: float
) -> None:
    position = torch.randn(points, 3, generator=generator)
    offsets = torch.tensor([0, 0, 7000, points], dtype=torch.int32)
    here = voxel_clusters(position, size, offsets)
    there = voxel_clusters(position.cuda(), size, offsets.cuda()).to("cpu")
    assert torch.equal(there.graph.row_offsets, here.graph.row_offsets)
    assert torch.equal(there.graph.columns, here.graph.columns)
    assert torch.equal(there.assignment, here.assignment)
    assert torch.equal(there.offsets, here.offsets)
    for ours, expected in ((there.graph, here.graph), (there.members, here.members)):
        for mine, yours in zip(ours.transpose(), expected.transpose(), strict=True):
            assert torch.equal(mine, yours)
    torch.testing.assert_close(there.position, here.position, rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_position_that_is_not_finite_is_refused_on_the_gpu(bad: float) -> None:
    position = torch.zeros(4000, 3, device="cuda")
    position[3999, 1] = bad
    with pytest.raises(ValueError, match="position must be finite"):
        voxel_clusters(position, 1.0)
    position[3999, 1] = 1e30
    with pytest.raises(ValueError, match="choose a larger size"):
        voxel_clusters(position, 1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", [(0,), (0, 0), (1,), (0, 1, 0)])
def test_few_points_are_clustered_on_the_gpu(lengths: tuple[int, ...]) -> None:
    offsets = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).cuda()
    position = torch.ones(sum(lengths), 3, device="cuda")
    clusters = voxel_clusters(position, 1.0, offsets)
    assert torch.equal(clusters.offsets, offsets)
    assert torch.equal(clusters.position, position)
