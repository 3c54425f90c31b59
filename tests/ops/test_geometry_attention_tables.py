"""The tables of the bias: what they hold where, and whom they pull on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import (
    AxisTable,
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    RadialTable,
    geometry_attention,
    use_backend,
)

QUERIES, KEYS, HEADS, DIM = 9, 12, 2, 8
RADIAL, AXIS = RadialTable(6, 2.0, 0.1), AxisTable(3, 0.5)
OnBackend = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=["reference", "cpu"])
def on_backend(request: pytest.FixtureRequest) -> OnBackend:
    return lambda: use_backend(request.param)


def draw(spec: BiasSpec, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "q": normal(QUERIES, HEADS, DIM),
        "k": normal(KEYS, HEADS, DIM),
        "v": normal(KEYS, HEADS, DIM),
        "bias": spec,
        "bias_parameters": normal(HEADS, spec.num_parameters),
        "q_position": normal(QUERIES, 3),
        "k_position": normal(KEYS, 3),
    }


def attend(x: dict[str, Any], bias: Tensor) -> Tensor:
    """Plain softmax attention with a bias ``[H, Lq, Lk]``."""
    scores = torch.einsum("ihd,jhd->hij", x["q"], x["k"]) / DIM**0.5 + bias
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), x["v"])


def difference_of(x: dict[str, Any]) -> Tensor:
    return x["k_position"][None] - x["q_position"][:, None]


def radial_bias(term: RadialTable, values: Tensor, difference: Tensor) -> Tensor:
    """Return the values ``[H, count]`` at the distances, between knots that are searched for."""
    r = (difference.square().sum(-1) + term.eps**2).sqrt()
    knots = torch.linspace(0, term.maximum, term.count, dtype=r.dtype)
    after = torch.searchsorted(knots, r, right=True).clamp(max=term.count - 1)
    share = ((r - knots[after - 1]) / (knots[after] - knots[after - 1])).clamp(max=1)
    return values[:, after - 1] * (1 - share) + values[:, after] * share


def axis_bias(term: AxisTable, values: Tensor, difference: Tensor) -> Tensor:
    """Return the sum over axes of the values ``[H, 3 * (2 reach + 1)]`` at the nearest steps."""
    total = torch.zeros(())
    for axis, table in enumerate(values.unflatten(1, (3, -1)).unbind(1)):
        steps = [
            max(-term.reach, min(term.reach, round(each / term.cell)))
            for each in difference[..., axis].flatten().tolist()
        ]
        entries = torch.tensor(steps).view(difference.shape[:-1]) + term.reach
        total = total + table[:, entries]
    return total


def bias_of(spec: BiasSpec, parameters: Tensor, difference: Tensor) -> Tensor:
    total = torch.zeros(())
    sizes = [term.num_parameters for term in spec.terms]
    for term, columns in zip(spec.terms, parameters.split(sizes, 1), strict=True):
        if isinstance(term, RadialTable):
            total = total + radial_bias(term, columns, difference)
        elif isinstance(term, AxisTable):
            total = total + axis_bias(term, columns, difference)
        else:
            assert isinstance(term, Direction)
            total = total + torch.einsum("ha,ija->hij", columns, difference)
    return total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "spec",
    [
        BiasSpec(RADIAL),
        BiasSpec(AXIS),
        BiasSpec(AXIS, Direction(), RADIAL),
        BiasSpec(RadialTable(2, 1.0)),
        BiasSpec(RadialTable(64, 5.0), AxisTable(63, 0.03)),
    ],
)
def test_tables_are_those_of_their_docstrings(
    on_backend: OnBackend, spec: BiasSpec, dtype: torch.dtype
) -> None:
    x = draw(spec, dtype)
    leaves = [x[name].requires_grad_() for name in x if name != "bias"]
    expected = attend(x, bias_of(spec, x["bias_parameters"], difference_of(x)))
    expected_grads = torch.autograd.grad(expected.sin().sum(), leaves, materialize_grads=True)
    with on_backend():
        out = geometry_attention(**x)
        grads = torch.autograd.grad(out.sin().sum(), leaves)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype is torch.float32 else {}
    torch.testing.assert_close(out, expected, **tolerance)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, expected_grad, **tolerance)


def bias_at(
    spec: BiasSpec, parameters: Tensor, way: Tensor, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the bias of one pair, which is its score, and its gradients to parameters and key."""
    zero = torch.zeros(1, 1, 4, dtype=way.dtype)
    leaves = [parameters.clone().requires_grad_(), way[None].clone().requires_grad_()]
    lse = geometry_attention(
        zero,
        zero,
        zero,
        bias=spec,
        bias_parameters=leaves[0],
        q_position=torch.zeros(1, 3, dtype=way.dtype),
        k_position=leaves[1],
        return_lse=True,
        **options,
    ).lse
    grad_parameters, grad_way = torch.autograd.grad(lse.sum(), leaves)
    return lse[0, 0].detach(), grad_parameters[0], grad_way[0]


@pytest.mark.parametrize(
    ("eps", "x", "value", "slope", "shares"),
    [
        (3.0, 4.0, 7.0, -10.0, (0, 1, 0)),  # r = 5, at the knot in the middle
        (6.0, 8.0, -3.0, 0.0, (0, 0, 1)),  # r = 10, at the last knot
        (6.0, 1e6, -3.0, 0.0, (0, 0, 1)),
        (6.0, float("inf"), -3.0, 0.0, (0, 0, 1)),
        (1.5, 2.0, 4.5, 5.0, (0.5, 0.5, 0)),  # r = 2.5
        (2.5, 0.0, 4.5, 5.0, (0.5, 0.5, 0)),  # coincident points
    ],
)
def test_at_a_knot_the_interval_beyond_it_pulls(
    on_backend: OnBackend,
    eps: float,
    x: float,
    value: float,
    slope: float,
    shares: tuple[float, ...],
) -> None:
    values = torch.tensor([[2.0, 7.0, -3.0]], dtype=torch.float64)
    way = torch.tensor([0, -x, 0], dtype=torch.float64)
    with on_backend():
        bias, by_value, by_way = bias_at(BiasSpec(RadialTable(3, 10.0, eps)), values, way)
    assert bias == value
    assert by_value.tolist() == list(shares)
    cosine = 0 if x == 0 else -x / (x**2 + eps**2) ** 0.5
    assert by_way.tolist() == [0, 0 if slope == 0 else pytest.approx(slope / 5 * cosine), 0]


@pytest.mark.parametrize(
    ("steps", "entry"),
    [
        (0, 3),
        (0.49, 3),
        (0.5, 4),
        (-0.5, 3),
        (-0.51, 2),
        (3, 6),
        (99, 6),
        (-99, 0),
        (-torch.inf, 0),
    ],
)
def test_steps_are_rounded_and_stop_at_the_reach(
    on_backend: OnBackend, steps: float, entry: int
) -> None:
    values = torch.randn(1, 21, generator=torch.Generator().manual_seed(0)).double()
    for axis in range(3):
        way = torch.zeros(3, dtype=torch.float64)
        way[axis] = steps * 0.25
        with on_backend():
            bias, by_value, by_way = bias_at(BiasSpec(AxisTable(3, 0.25)), values, way)
        entries = [7 * a + (entry if a == axis else 3) for a in range(3)]
        torch.testing.assert_close(bias, values[0, entries].sum())
        assert by_value.nonzero().flatten().tolist() == entries
        assert (by_way == 0).all()


def test_a_table_of_distances_is_the_term_of_distances(on_backend: OnBackend) -> None:
    x = draw(BiasSpec(RadialTable(40, 20.0, 0.1)))
    slopes = torch.tensor([[0.7], [-1.3]], dtype=torch.float64)
    distance = {**x, "bias": BiasSpec(Distance(0.1)), "bias_parameters": slopes}
    x["bias_parameters"] = -slopes * torch.linspace(0, 20, 40, dtype=torch.float64)
    with on_backend():
        torch.testing.assert_close(geometry_attention(**x), geometry_attention(**distance))


def test_relative_positions_of_point_transformer_v3_are_flipped_tables(
    on_backend: OnBackend,
) -> None:
    """There, steps go from key to query, and heads are the last axis of the table."""
    generator = torch.Generator().manual_seed(3)
    reach, voxels = 4, torch.randint(0, 9, (KEYS, 3), generator=generator)
    published = torch.randn(3 * (2 * reach + 1), HEADS, generator=generator).double()
    steps = (voxels[:, None] - voxels[None]).clamp(-reach, reach)
    bias = published[steps + reach + torch.arange(3) * (2 * reach + 1)].sum(2).permute(2, 0, 1)
    x = draw(BiasSpec(AxisTable(reach)))
    x["q"] = x["k"].flip(0)
    x["q_position"] = x["k_position"] = voxels.double()
    x["bias_parameters"] = published.T.unflatten(1, (3, -1)).flip(-1).flatten(1)
    with on_backend():
        torch.testing.assert_close(geometry_attention(**x), attend(x, bias))


def test_the_order_of_terms_moves_columns_alone(on_backend: OnBackend) -> None:
    terms = (Direction(), RADIAL, GaussianPowers(2), AXIS)
    x = draw(BiasSpec(*terms))
    x["bias_parameters"].abs_()
    groups = dict(
        zip(terms, x["bias_parameters"].split([t.num_parameters for t in terms], 1), strict=True)
    )
    with on_backend():
        expected = geometry_attention(**x)
        for order in ((1, 3, 0, 2), (3, 0, 1, 2)):
            moved = [terms[i] for i in order]
            x["bias"] = BiasSpec(*moved)
            x["bias_parameters"] = torch.cat([groups[term] for term in moved], 1)
            torch.testing.assert_close(geometry_attention(**x), expected)


def test_a_spec_knows_its_tables() -> None:
    spec = BiasSpec(RadialTable(5, 2.0, 0.1), Distance(0.1), AxisTable(63, 0.02))
    assert spec.num_parameters == 5 + 1 + 3 * 127
    assert (spec.codes, spec.counts) == ((6, 0, 7), (5, 1, 381))
    assert (spec.eps, spec.maximum, spec.cell, spec.has_tables) == (0.1, 2.0, 0.02, True)
    assert not BiasSpec(Distance()).has_tables
    assert BiasSpec(AxisTable()) == BiasSpec(AxisTable(31, 1.0)) != BiasSpec(AxisTable(31, 2.0))
    with pytest.raises(ValueError, match="agree on eps"):
        BiasSpec(Distance(), RadialTable(5, 2.0, 0.1))
    with pytest.raises(ValueError, match="once"):
        BiasSpec(AxisTable(3), AxisTable(4))


@pytest.mark.parametrize(
    ("make", "error", "argument"),
    [
        (lambda: RadialTable(1), ValueError, "count"),
        (lambda: RadialTable(65), ValueError, "count"),
        (lambda: RadialTable(8.0), TypeError, "count"),
        (lambda: RadialTable(8, 0.0), ValueError, "maximum"),
        (lambda: RadialTable(8, float("inf")), ValueError, "maximum"),
        (lambda: RadialTable(8, 4.0, -1e-3), ValueError, "eps"),
        (lambda: AxisTable(0), ValueError, "reach"),
        (lambda: AxisTable(64), ValueError, "reach"),
        (lambda: AxisTable(True), TypeError, "reach"),
        (lambda: AxisTable(31, 0.0), ValueError, "cell"),
        (lambda: AxisTable(31, "1"), TypeError, "cell"),
    ],
)
def test_tables_refuse_sizes_by_name(make: Any, error: type[Exception], argument: str) -> None:
    with pytest.raises(error, match=rf"(RadialTable|AxisTable): {argument} must"):
        make()
