"""The modules around geometry_attention."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from g2vlm_fast.nn import GeometryBias, GeometryCrossAttention, GeometrySelfAttention
from g2vlm_fast.ops import BiasSpec, Direction, Distance, geometry_attention

SPEC = BiasSpec(Distance(), Direction())


def tokens(count: int, dim: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    return (
        torch.randn(count, dim, generator=generator),
        torch.randn(count, 3, generator=generator),
    )


@pytest.mark.parametrize("cast", ["bfloat16", "half"])
def test_bias_parameters_stay_float32_when_the_model_is_cast(cast: str) -> None:
    model = nn.Sequential(GeometryBias(SPEC, 4))
    numbers = torch.full((4, 4), 1.0001)  # not a number in half precision
    model[0].parameters_per_head.data.copy_(numbers)
    before = model[0].parameters_per_head
    getattr(model, cast)()
    assert model[0].parameters_per_head is before
    assert torch.equal(model[0].parameters_per_head, numbers)
    assert model.to(torch.float64)[0].parameters_per_head.dtype == torch.float64


def test_attention_starts_as_plain_attention() -> None:
    torch.manual_seed(0)
    biased = GeometrySelfAttention(16, 4, 2, bias=SPEC)
    plain = GeometrySelfAttention(16, 4, 2)
    plain.load_state_dict(
        {name: value for name, value in biased.state_dict().items() if "bias.p" not in name}
    )
    x, position = tokens(9)
    assert torch.equal(biased(x, position=position), plain(x))


def test_self_attention_is_the_op_between_the_projections() -> None:
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 4, 2, bias=SPEC)
    nn.init.normal_(module.geometry_bias.parameters_per_head)
    x, position = tokens(9)
    ends = torch.tensor([0, 4, 9], dtype=torch.int32)
    expected = module.output(
        geometry_attention(
            module.query(x).view(9, 4, 4),
            module.key(x).view(9, 2, 4),
            module.value(x).view(9, 2, 4),
            bias=SPEC,
            bias_parameters=module.geometry_bias.parameters_per_head,
            q_position=position,
            k_position=position,
            q_offsets=ends,
            k_offsets=ends,
        ).flatten(1)
    )
    assert torch.equal(module(x, position=position, offsets=ends), expected)


def test_cross_attention_says_where_it_looks_and_trains_every_parameter() -> None:
    torch.manual_seed(0)
    module = GeometryCrossAttention(16, 4, 2, bias=SPEC, context_dim=12, qk_norm=True, head_dim=8)
    x, position = tokens(6)
    context, context_position = tokens(10, 12)
    result = module(
        x,
        context,
        position=position,
        context_position=context_position,
        gate=torch.rand(6, 4),
        offsets=torch.tensor([0, 6], dtype=torch.int32),
        context_offsets=torch.tensor([0, 10], dtype=torch.int32),
        return_position_mean=True,
    )
    assert result.out.shape == (6, 16)
    assert result.position_mean.shape == (6, 4, 3)
    assert result.position_spread.shape == (6, 4)
    (result.out.sum() + result.position_mean.square().sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        if name != "key.bias":
            assert parameter.grad.abs().max() > 0, name


def test_a_causal_module_sees_nothing_of_the_future() -> None:
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 2, causal=True)
    x, _ = tokens(7)
    changed = x.clone()
    changed[5:] += 1
    before, after = module(x), module(changed)
    assert torch.equal(before[:5], after[:5])
    assert not torch.equal(before[5:], after[5:])


def test_half_precision_model_runs_with_float32_positions() -> None:
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 4, bias=SPEC, qk_norm=True)
    nn.init.normal_(module.geometry_bias.parameters_per_head)
    half = copy.deepcopy(module).bfloat16()
    x, position = tokens(9)
    out = half(x.bfloat16(), position=position)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), module(x, position=position), rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module(x, position=position)
    torch.testing.assert_close(mixed.float(), module(x, position=position), rtol=0.05, atol=0.05)


def test_compiles_as_one_graph() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 4, 2, bias=SPEC)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x, position = tokens(9)
    given = {"position": position, "offsets": torch.tensor([0, 5, 9], dtype=torch.int32)}
    torch.testing.assert_close(compiled(x, **given), module(x, **given))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 16, "num_heads": 3}, "head_dim"),
        ({"dim": 16, "num_heads": 4, "num_kv_heads": 3}, "num_kv_heads"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeometrySelfAttention(**arguments)
    with pytest.raises(ValueError, match="num_heads"):
        GeometryBias(SPEC, 0)
    with pytest.raises(TypeError, match="BiasSpec"):
        GeometryBias(Distance(), 4)  # type: ignore[arg-type]
