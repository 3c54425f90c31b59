"""Squared distances from tensor cores are as exact as coordinates need them to be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from g2vlm_fast.kernels.triton import geometry_attention_launch as launch
from g2vlm_fast.kernels.triton.geometry_attention_channels import Channels
from g2vlm_fast.ops._geometry_attention_arguments import Options, Tokens

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROOM = torch.tensor([8.0, 6.0, 3.0], dtype=torch.float64)


def packed(*lengths: int) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int().to(DEVICE)


def channels_of(
    q_position: Tensor,
    k_position: Tensor,
    offsets: Tensor | None = None,
    eps: float = 0.0,
    k_mask: Tensor | None = None,
) -> Channels:
    """Return the channels of points of which the float32 values are the truth."""
    heads = q_position.shape[1] if q_position.dim() == 3 else 2
    q = torch.zeros(q_position.shape[0], heads, 16, dtype=torch.bfloat16, device=DEVICE)
    k = torch.zeros(k_position.shape[0], heads, 16, dtype=torch.bfloat16, device=DEVICE)
    tokens = Tokens(
        q=q,
        k=k,
        v=k,
        bias_parameters=torch.ones(heads, 1, device=DEVICE),
        bias_tables=None,
        q_position=q_position.float().to(DEVICE).contiguous(),
        k_position=k_position.float().to(DEVICE).contiguous(),
        k_normal=None,
        q_gate=None,
        k_mask=None if k_mask is None else k_mask.to(DEVICE),
        q_offsets=offsets,
        k_offsets=offsets,
        dropout_seed=None,
    )
    code = 0 if eps else 1
    sizes, problem = launch.describe(tokens, Options([code], [1], eps, False, 1.0, 0.0))
    return launch.channels_of(tokens, sizes, problem, moments=True)


def squares(channels: Channels, segment: int = 0) -> Tensor:
    """Multiply as tensor cores do, but for their rounding of sums, in square metres."""
    metres = channels.frames[segment, 4].double()
    return channels.q.double() @ channels.k.double().T * metres**2


def exact(q_position: Tensor, k_position: Tensor) -> Tensor:
    q, k = q_position.float().double(), k_position.float().double()
    return (q[:, None] - k[None]).square().sum(-1).to(DEVICE)


def room(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, generator=generator, dtype=torch.float64) * ROOM


@pytest.mark.parametrize("offset", [0.0, 100.0, -3000.0])
def test_squared_distances_in_a_room_are_right_wherever_it_lies(offset: float) -> None:
    q, k = room(200, 0) + offset, room(300, 1) + offset
    k[:50] = q[:50]
    error = squares(channels_of(q, k)) - exact(q, k)
    assert error.abs().max() < 2e-5


def test_an_outlier_costs_no_other_point_any_digits() -> None:
    q, k = room(200, 2), room(300, 3)
    k[0] = torch.tensor([1e4, -2e3, 3e3])
    error = squares(channels_of(q, k)) - exact(q, k)
    assert error[:, 1:].abs().max() < 2e-5
    assert (error[:, 0] / exact(q, k)[:, 0]).abs().max() < 1e-6


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e3, 1e9])
def test_scenes_of_any_size_keep_their_digits(scale: float) -> None:
    q, k = room(100, 4) * scale, room(100, 5) * scale
    error = squares(channels_of(q, k)) - exact(q, k)
    assert error.abs().max() < 1e-6 * (10 * scale) ** 2


def test_padding_neither_moves_the_center_nor_takes_digits() -> None:
    q, k = room(50, 17) + 2000, room(90, 18) + 2000
    seen = torch.arange(90) % 3 == 1
    k[~seen] = torch.tensor([1e9, -1e9, 7.0], dtype=torch.float64)
    error = squares(channels_of(q, k, k_mask=seen)) - exact(q, k)
    assert error[:, seen].abs().max() < 2e-5


def test_the_softening_is_part_of_the_square() -> None:
    q, k = room(64, 6), room(64, 7)
    error = squares(channels_of(q, k, eps=0.5)) - (exact(q, k) + 0.25)
    assert error.abs().max() < 2e-5


def test_each_segment_counts_from_its_own_points() -> None:
    near, far = room(40, 8), room(30, 9) + 5000
    points = torch.cat([near, far])
    channels = channels_of(points, points, packed(40, 0, 30))
    for segment, rows in ((0, slice(0, 40)), (2, slice(40, 70))):
        error = squares(channels, segment)[rows, rows] - exact(points[rows], points[rows])
        assert error.abs().max() < 2e-5


def test_heads_may_have_places_of_their_own() -> None:
    q, k = room(60, 10).view(20, 3, 3), room(30, 11)
    error = squares(channels_of(q, k)) - exact(q.reshape(60, 3), k)
    assert error.abs().max() < 2e-5


def test_a_place_that_is_not_a_number_is_none_to_its_pairs_and_nothing_to_sums() -> None:
    q, k = room(20, 12), room(20, 13)
    q[3], k[5, 1], k[6, 0] = torch.nan, torch.nan, torch.inf
    channels = channels_of(q, k)
    wrong = squares(channels).isnan()
    assert wrong[3].all()
    assert wrong[:, 5:7].all()
    assert wrong.sum() == 20 + 2 * 19
    for moments in (channels.q_moment, channels.k_moment):
        assert moments.isfinite().all()


def test_moments_add_up_to_weighted_points_and_squares() -> None:
    k = room(500, 14)
    channels = channels_of(room(10, 15), k)
    generator = torch.Generator().manual_seed(16)
    weight = torch.randn(7, 500, generator=generator).bfloat16().double().to(DEVICE)
    center, metres = channels.frames[0, :3].double(), channels.frames[0, 4].double()
    points = k.float().double().to(DEVICE) - center
    sums = weight @ channels.k_moment.double()
    found = torch.stack([sums[:, [axis, axis + 3, axis + 6]].sum(1) for axis in range(3)], 1)
    torch.testing.assert_close(found * metres, weight @ points, rtol=1e-6, atol=1e-5)
    squared = sums[:, 9:12].sum(1) * metres**2
    torch.testing.assert_close(squared, weight @ points.square().sum(1), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(sums[:, 12], weight.sum(1), rtol=1e-12, atol=1e-12)
