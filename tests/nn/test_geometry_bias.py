"""The learned parameters of the bias: where they start, and what they say of pairs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from g2vlm_fast.nn import GeometryBias, GeometrySelfAttention
from g2vlm_fast.ops import (
    AxisTable,
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    RadialTable,
    SquaredDistance,
    geometry_attention,
)
from g2vlm_fast.ops.bias import Term

EVERY_TERM = BiasSpec(
    Distance(0.1),
    SquaredDistance(),
    Direction(),
    NormalDot(),
    GaussianPowers(3),
    RadialBasis(5, 0.1),
    RadialTable(7, 3.0, 0.1),
    AxisTable(4, 0.5),
)


def test_gaussians_start_spread_and_weights_at_zero() -> None:
    parameters = GeometryBias(EVERY_TERM, 5).parameters_per_head
    slopes, powers, basis, tables = parameters.split([6, 4, 15, 34], 1)
    assert not slopes.any()
    assert not tables.any()
    assert not powers[:, 1:].any()
    sigma = (0.5 / powers[:, 0]).sqrt()
    torch.testing.assert_close(sigma, torch.tensor([0.25, 0.5, 1, 2, 4]))
    weights, centers, precisions = basis.split(5, 1)
    assert not weights.any()
    torch.testing.assert_close(centers, torch.arange(5.0).expand(5, 5))
    torch.testing.assert_close((0.5 / precisions).sqrt(), sigma.expand(5, 5))


@pytest.mark.parametrize(
    "term",
    [GaussianPowers(5), RadialBasis(5), Distance(), Direction(), RadialTable(), AxisTable(31, 0.1)],
)
def test_attention_starts_plain_and_learns_at_once(term: Term) -> None:
    torch.manual_seed(0)
    biased = GeometrySelfAttention(16, 4, bias=BiasSpec(term))
    plain = GeometrySelfAttention(16, 4)
    plain.load_state_dict(biased.state_dict(), strict=False)
    x, position = torch.randn(9, 16), torch.randn(9, 3)
    out = biased(x, position=position)
    assert torch.equal(out, plain(x))
    out.square().sum().backward()
    gradient = biased.geometry_bias.parameters_per_head.grad
    assert (gradient != 0).any(1).all()


def test_evaluate_says_what_attention_adds_to_its_scores() -> None:
    """With one key and no product, the log-sum-exp of a row is its bias."""
    torch.manual_seed(0)
    module = GeometryBias(EVERY_TERM, 3).double()
    nn.init.uniform_(module.parameters_per_head, 0.1, 1)
    q_position, k_position = torch.randn(2, 7, 3, dtype=torch.float64)
    q_normal, k_normal = normalize(torch.randn(2, 7, 3, dtype=torch.float64), dim=-1)
    zeros, ends = torch.zeros(7, 3, 4, dtype=torch.float64), torch.arange(8, dtype=torch.int32)
    found = geometry_attention(
        zeros,
        zeros,
        zeros,
        bias=EVERY_TERM,
        bias_parameters=module.parameters_per_head,
        q_position=q_position,
        k_position=k_position,
        q_normal=q_normal,
        k_normal=k_normal,
        q_offsets=ends,
        k_offsets=ends,
        return_lse=True,
    ).lse
    given = {"q_normal": q_normal, "k_normal": k_normal}
    torch.testing.assert_close(module.evaluate(k_position - q_position, **given), found)


def test_evaluate_keeps_the_shape_of_a_grid_and_passes_gradients() -> None:
    module = GeometryBias(BiasSpec(RadialBasis(2), Direction()), 3)
    nn.init.normal_(module.parameters_per_head)
    difference = torch.randn(4, 5, 3, requires_grad=True)
    bias = module.evaluate(difference)
    assert bias.shape == (4, 5, 3)
    bias.sum().backward()
    assert difference.grad is not None
    assert (difference.grad != 0).all()
    assert (module.parameters_per_head.grad != 0).all()
    assert GeometryBias(BiasSpec(), 3).evaluate(difference).shape == (4, 5, 3)


def test_evaluate_refuses_by_name() -> None:
    module = GeometryBias(BiasSpec(NormalDot()), 3)
    x = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="NormalDot needs q_normal"):
        module.evaluate(x)
    with pytest.raises(ValueError, match="k_normal must have the shape"):
        module.evaluate(x, q_normal=x, k_normal=x[:1])
    with pytest.raises(ValueError, match="difference must have the shape"):
        module.evaluate(torch.zeros(4, 2))


def test_parameters_start_the_same_on_every_device() -> None:
    with torch.device("meta"):
        module = GeometryBias(EVERY_TERM, 2)
    module = module.to_empty(device="cpu")
    module.reset_parameters()
    assert torch.equal(module.parameters_per_head, GeometryBias(EVERY_TERM, 2).parameters_per_head)
