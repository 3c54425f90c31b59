"""The modules around geometry_attention."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from g2vlm_fast.nn import GeometryBias, GeometryCrossAttention, GeometrySelfAttention
from g2vlm_fast.ops import BiasSpec, Direction, Distance, NormalDot, geometry_attention

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


def test_positions_far_from_the_origin_are_exact_in_mixed_precision() -> None:
    """In bfloat16 three hundred metres and one are the same place."""
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 4, bias=BiasSpec(Distance()))
    nn.init.constant_(module.geometry_bias.parameters_per_head, 40.0)
    x, position = torch.randn(2, 16), torch.tensor([[300.0, 0, 0], [300.2, 0, 0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        looked = module(x, position=position, return_position_mean=True)
    half = copy.deepcopy(module).bfloat16()
    looked_half = half(x.bfloat16(), position=position, return_position_mean=True)
    for mean in (looked.position_mean, looked_half.position_mean):
        assert mean.dtype == torch.float32
        assert (mean - position[:, None]).abs().max() < 0.01  # each at itself, not between both


@pytest.fixture
def process_group() -> Iterator[None]:
    """A group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_mixed_precision_of_fsdp_is_honoured_or_refused() -> None:
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 4, bias=BiasSpec(Distance()))
    nn.init.constant_(module.geometry_bias.parameters_per_head, 40.0)
    x, position = torch.randn(2, 16), torch.tensor([[300.0, 0, 0], [300.2, 0, 0]])
    mesh = init_device_mesh("cpu", (1,))

    def shard(bias_alone: bool, cast_inputs: bool) -> nn.Module:
        sharded = copy.deepcopy(module)
        if bias_alone:
            fully_shard(sharded.geometry_bias, mesh=mesh)
        half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, cast_forward_inputs=cast_inputs)
        return fully_shard(sharded, mesh=mesh, mp_policy=half)

    with pytest.raises(TypeError, match=r"fully_shard\(bias\)"):
        shard(bias_alone=False, cast_inputs=True)(x, position=position)
    with pytest.raises(TypeError, match="q_position must be float32"):
        shard(bias_alone=True, cast_inputs=True)(x, position=position)
    sharded = shard(bias_alone=True, cast_inputs=False)
    looked = sharded(x.bfloat16(), position=position, return_position_mean=True)
    assert (looked.position_mean - position[:, None]).abs().max() < 0.01
    looked.position_mean.sum().backward()
    assert sharded.geometry_bias.parameters_per_head.grad.dtype == torch.float32


def test_half_precision_positions_are_refused() -> None:
    module = GeometrySelfAttention(16, 4, bias=SPEC).bfloat16()
    x, position = tokens(9)
    with pytest.raises(TypeError, match="q_position"):
        module(x.bfloat16(), position=position.bfloat16())


def test_segments_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    own = GeometrySelfAttention(16, 4, 2, bias=SPEC, causal=True)
    other = GeometryCrossAttention(16, 4, 2, bias=SPEC)
    x, position = tokens(9)
    context, context_position = tokens(7)
    pieces, context_pieces = [slice(0, 4), slice(4, 9)], [slice(0, 5), slice(5, 7)]
    ends, context_ends = (torch.tensor(e, dtype=torch.int32) for e in ([0, 4, 9], [0, 5, 7]))
    together = own(x, position=position, offsets=ends)
    apart = torch.cat([own(x[piece], position=position[piece]) for piece in pieces])
    torch.testing.assert_close(together, apart)
    together = other(
        x,
        context,
        position=position,
        context_position=context_position,
        offsets=ends,
        context_offsets=context_ends,
    )
    apart = torch.cat(
        [
            other(x[a], context[b], position=position[a], context_position=context_position[b])
            for a, b in zip(pieces, context_pieces, strict=True)
        ]
    )
    torch.testing.assert_close(together, apart)


def test_tokens_that_are_masked_are_seen_by_none() -> None:
    torch.manual_seed(0)
    own = GeometrySelfAttention(16, 4, bias=SPEC)
    other = GeometryCrossAttention(16, 4, bias=SPEC)
    x, position = tokens(9)
    mask = torch.arange(9) < 6
    cut, place = x[:6], position[:6]
    found = own(x, position=position, mask=mask)
    torch.testing.assert_close(found[:6], own(cut, position=place))
    found = other(x, x, position=position, context_position=position, context_mask=mask)
    expected = other(x, cut, position=position, context_position=place)
    torch.testing.assert_close(found, expected)


def test_rows_can_have_strengths_of_their_own() -> None:
    torch.manual_seed(0)
    module = GeometryCrossAttention(16, 4, bias=SPEC)
    nn.init.normal_(module.geometry_bias.parameters_per_head)
    x, position = tokens(6)
    context, context_position = tokens(10)
    given = {"position": position, "context_position": context_position}
    strength = torch.rand(6, 1, 1, requires_grad=True)
    own = module.geometry_bias.parameters_per_head * strength
    found = module(x, context, **given, bias_parameters=own)
    gate = strength.detach()[..., 0].expand(-1, 4).contiguous()
    torch.testing.assert_close(found, module(x, context, **given, gate=gate))
    found.square().sum().backward()
    assert (strength.grad != 0).all()
    with pytest.raises(ValueError, match="create the module with bias="):
        GeometryCrossAttention(16, 4)(x, context, bias_parameters=own)


def test_normals_and_frames_reach_the_op() -> None:
    torch.manual_seed(0)
    spec = BiasSpec(NormalDot(), Direction())
    own = GeometrySelfAttention(16, 4, bias=spec)
    other = GeometryCrossAttention(16, 4, bias=spec)
    for module in (own, other):
        nn.init.normal_(module.geometry_bias.parameters_per_head)
    other.load_state_dict(own.state_dict())
    x, position = tokens(9)
    normal = nn.functional.normalize(torch.randn(9, 3), dim=-1)
    frame, _ = torch.linalg.qr(torch.randn(9, 3, 3))
    geometry = {"position": position, "normal": normal, "frame": frame}
    found = own(x, **geometry)
    q, k, v = (each(x).unflatten(1, (4, 4)) for each in (own.query, own.key, own.value))
    attended = geometry_attention(
        q, k, v, bias=spec, bias_parameters=own.geometry_bias.parameters_per_head,
        q_position=position, k_position=position, q_normal=normal, k_normal=normal, q_frame=frame,
    )  # fmt: skip
    assert torch.equal(own.output(attended.flatten(1)), found)
    both = {"context_position": position, "context_normal": normal}
    assert torch.equal(other(x, x, **geometry, **both), found)
    torch.testing.assert_close(own(x, **(geometry | {"normal": -normal})), found)
    turned = own(x, **(geometry | {"frame": frame.mT.contiguous()}))
    assert (turned - found).abs().max() > 1e-3
    flipped = other(x, x, **geometry, context_position=position, context_normal=-normal)
    assert (flipped - found).abs().max() > 1e-3


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    module = GeometrySelfAttention(16, 4, bias=SPEC, dropout=0.5)
    x, position = tokens(9)

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return module(x, position=position)

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    module.eval()
    assert torch.equal(draw(0), draw(1))


@pytest.mark.parametrize("crossing", [False, True], ids=["self", "cross"])
def test_compiles_as_one_graph(crossing: bool) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    x, position = tokens(9)
    ends = torch.tensor([0, 5, 9], dtype=torch.int32)
    given = {"position": position, "offsets": ends, "return_position_mean": True}
    if crossing:
        module: nn.Module = GeometryCrossAttention(16, 4, 2, bias=SPEC)
        given |= {"context": x + 1, "context_position": -position, "context_offsets": ends.clone()}
    else:
        module = GeometrySelfAttention(16, 4, 2, bias=SPEC, causal=True)
    nn.init.normal_(module.geometry_bias.parameters_per_head)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    expected, gradients = module(x, **given), []
    found = compiled(x, **given)
    torch.testing.assert_close(found.out, expected.out)
    for result in (found, expected):
        module.zero_grad()
        (result.out.sum() + result.position_mean.square().sum()).backward()
        gradients.append([parameter.grad for parameter in module.parameters()])
    for compiled_gradient, gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled_gradient, gradient)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 16, "num_heads": 3}, "head_dim"),
        ({"dim": 16, "num_heads": 4, "num_kv_heads": 3}, "num_kv_heads"),
        ({"dim": 16, "num_heads": 4, "dropout": 1.0}, "dropout"),
        ({"dim": 16, "num_heads": 4, "dropout": "0.1"}, "dropout must be a number"),
        ({"dim": 0, "num_heads": 4}, "dim must be from 1"),
        ({"dim": 16, "num_heads": 0}, "num_heads must be from 1"),
        ({"dim": 16, "num_heads": 4.0}, "num_heads must be an int"),
        ({"dim": 16, "num_heads": 4, "num_kv_heads": -2}, "num_kv_heads must be from 1"),
        ({"dim": 16, "num_heads": 4, "head_dim": 257}, "head_dim must be from 1 to 256"),
        ({"dim": 1028, "num_heads": 4}, "head_dim must be from 1 to 256"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        GeometrySelfAttention(**arguments)
    with pytest.raises((TypeError, ValueError), match=message):
        GeometryCrossAttention(**arguments)
    with pytest.raises(ValueError, match="num_heads"):
        GeometryBias(SPEC, 0)
    with pytest.raises(TypeError, match="num_heads must be an int"):
        GeometryBias(SPEC, 4.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="BiasSpec"):
        GeometryBias(Distance(), 4)  # type: ignore[arg-type]
