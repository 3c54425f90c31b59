"""What geometry_attention promises beyond what its specification drives."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from g2vlm_fast.ops import (
    AxisTable,
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    RadialBasis,
    RadialTable,
    SquaredDistance,
    geometry_attention,
    register_flop_formulas,
    use_backend,
)
from g2vlm_fast.ops.specs.geometry_attention import SPEC

EVERY_TERM = BiasSpec(Distance(0.1), SquaredDistance(), Direction())
MIXTURES = BiasSpec(RadialBasis(2), SquaredDistance(), GaussianPowers(3))
TABLES = BiasSpec(RadialTable(12, 2.0), SquaredDistance(), AxisTable(5, 0.3))
CPU_BACKENDS = ("reference", "cpu", "triton")
every_backend = pytest.mark.parametrize("backend", CPU_BACKENDS)


def draw(
    queries: int = 9,
    keys: int = 11,
    *,
    heads: int = 2,
    kv_heads: int = 2,
    dim: int = 8,
    spec: BiasSpec = EVERY_TERM,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "q": normal(queries, heads, dim),
        "k": normal(keys, kv_heads, dim),
        "v": normal(keys, kv_heads, dim),
        "bias": spec,
        "bias_parameters": normal(heads, spec.num_parameters),
        "q_position": normal(queries, 3),
        "k_position": normal(keys, 3),
    }


def offsets(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


@every_backend
def test_plain_attention_is_that_of_torch(backend: str) -> None:
    x = draw(heads=4, kv_heads=2)
    with use_backend(backend):
        out = geometry_attention(x["q"], x["k"], x["v"])
    q, k, v = (x[name].transpose(0, 1)[None] for name in "qkv")
    expected = scaled_dot_product_attention(q, k, v, enable_gqa=True)[0].transpose(0, 1)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


@every_backend
def test_the_bias_is_the_formula_of_its_docstring(backend: str) -> None:
    x = draw()
    difference = x["k_position"][None] - x["q_position"][:, None]
    square = difference.square().sum(-1)
    slope, square_slope, *direction = x["bias_parameters"].T[..., None, None]
    scores = torch.einsum("ihd,jhd->hij", x["q"], x["k"]) / 8**0.5
    scores = scores - slope * (square + 0.01).sqrt() - square_slope * square
    for axis, weight in enumerate(direction):
        scores = scores + weight * difference[..., axis]
    expected = torch.einsum("hij,jhd->ihd", scores.softmax(-1), x["v"])
    with use_backend(backend):
        result = geometry_attention(**x, return_lse=True)
    torch.testing.assert_close(result.out, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.lse, scores.logsumexp(-1).T, rtol=1e-5, atol=1e-5)


@every_backend
def test_position_mean_and_spread_are_moments_under_the_attention(backend: str) -> None:
    x = draw()
    identity = torch.eye(11).unsqueeze(1).expand(11, 2, 11).contiguous()
    with use_backend(backend):
        result = geometry_attention(**x, return_position_mean=True)
        wide = {**x, "q": torch.cat([x["q"], torch.zeros(9, 2, 3)], -1), "v": identity}
        wide["k"] = torch.cat([x["k"], torch.zeros(11, 2, 3)], -1)
        probability = geometry_attention(**wide, scale=8**-0.5)
    mean = probability @ x["k_position"]
    apart = (x["k_position"] - mean[..., None, :]).square().sum(-1)
    spread = ((probability * apart).sum(-1) + 1e-6).sqrt()
    torch.testing.assert_close(result.position_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.position_spread, spread, rtol=1e-4, atol=1e-5)


@every_backend
def test_rows_without_keys_answer_nothing_and_pull_on_nothing(backend: str) -> None:
    x = draw(6, 4)
    leaves = {name: x[name].requires_grad_() for name in x if name != "bias"}
    with use_backend(backend):
        result = geometry_attention(
            **x,
            q_offsets=offsets(0, 2, 6),
            k_offsets=offsets(0, 0, 4),
            return_lse=True,
            return_position_mean=True,
        )
        blind = (result.out[:2].sum(), result.position_mean[:2].sum())
        gradients = torch.autograd.grad(
            sum(blind), list(leaves.values()), retain_graph=True, allow_unused=True
        )
    assert (result.out[:2] == 0).all()
    assert (result.lse[:2] == -torch.inf).all()
    assert (result.position_mean[:2] == 0).all()
    assert (result.position_spread[:2] == torch.inf).all()
    assert result.position_spread[2:].isfinite().all()
    for gradient in gradients:
        assert (gradient == 0).all()


@every_backend
def test_a_hundred_metres_from_the_origin_the_answer_is_the_same(backend: str) -> None:
    x = draw(13, 17)
    shift = torch.tensor([100.0, -100.0, 50.0])
    with use_backend(backend):
        near = geometry_attention(**x, return_position_mean=True)
        far = geometry_attention(
            **{**x, **{name: x[name] + shift for name in ("q_position", "k_position")}},
            return_position_mean=True,
        )
    torch.testing.assert_close(far.out, near.out, rtol=0, atol=1e-3)
    torch.testing.assert_close(far.position_mean - shift, near.position_mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(far.position_spread, near.position_spread, rtol=0, atol=1e-3)


@every_backend
def test_shut_gates_give_plain_attention_wherever_the_token_stands(backend: str) -> None:
    x = draw()
    x["q_gate"] = torch.zeros(9, 2)
    x["q_position"][::2] = torch.nan
    x["q_position"][1] = torch.inf
    leaves = {name: x[name].requires_grad_() for name in x if name != "bias"}
    with use_backend(backend):
        out = geometry_attention(**x)
        plain = geometry_attention(x["q"], x["k"], x["v"])
        gradients = dict(
            zip(leaves, torch.autograd.grad(out.square().sum(), leaves.values()), strict=True)
        )
    torch.testing.assert_close(out, plain, rtol=0, atol=0)
    for name in ("bias_parameters", "q_position", "k_position"):
        assert (gradients[name] == 0).all(), name
    for name in ("q", "k", "v", "q_gate"):
        assert gradients[name].isfinite().all(), name
    assert (gradients["q_gate"][3] != 0).all()  # finite positions: the gate can still open
    assert (gradients["q_gate"][:2] == 0).all()


@every_backend
def test_coincident_points_have_finite_gradients(backend: str) -> None:
    x = draw(5, 5, spec=BiasSpec(Distance()))
    x["k_position"][:] = x["q_position"][:] = 1.5
    x["bias_parameters"].fill_(1000.0)
    leaves = [x[name].requires_grad_() for name in ("bias_parameters", "q_position", "k_position")]
    with use_backend(backend):
        out = geometry_attention(**x)
        gradients = torch.autograd.grad(out.sum(), leaves)
    assert all(each.isfinite().all() for each in gradients)


@every_backend
def test_causal_attention_lines_up_the_last_query_with_the_last_key(backend: str) -> None:
    x = draw(3, 5)
    with use_backend(backend):
        causal = geometry_attention(**x, causal=True)
        for query, visible in enumerate((3, 4, 5)):
            alone = {**x, "q": x["q"][query : query + 1]}
            alone["q_position"] = x["q_position"][query : query + 1]
            alone |= {name: x[name][:visible] for name in ("k", "v", "k_position")}
            torch.testing.assert_close(causal[query], geometry_attention(**alone)[0])


@every_backend
def test_a_broken_scene_stays_alone(backend: str) -> None:
    x = draw(8, 10)
    segments = {"q_offsets": offsets(0, 3, 8), "k_offsets": offsets(0, 4, 10)}
    with use_backend(backend):
        whole = geometry_attention(**x, **segments)
        for name in ("k", "v", "k_position"):
            x[name][:4] = torch.nan
        broken = geometry_attention(**x, **segments)
    torch.testing.assert_close(broken[3:], whole[3:], rtol=0, atol=0)
    assert broken[:3].isnan().all()


def test_gradients_of_every_output_are_right_with_blind_rows() -> None:
    x = draw(7, 6, heads=4, kv_heads=2, dim=3, dtype=torch.float64)
    x["q_gate"] = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    names = [name for name in x if name != "bias"]
    segments = {"q_offsets": offsets(0, 3, 5, 7), "k_offsets": offsets(0, 4, 6, 6)}

    def finite_outputs(*values: Tensor) -> tuple[Tensor, ...]:
        result = geometry_attention(
            **dict(zip(names, values, strict=True)),
            bias=EVERY_TERM,
            **segments,
            causal=True,
            return_lse=True,
            return_position_mean=True,
        )
        seen = result.lse != -torch.inf
        return (
            result.out,
            torch.where(seen, result.lse, 0),
            result.position_mean,
            torch.where(seen, result.position_spread, 0),
        )

    leaves = [x[name].clone().requires_grad_() for name in names]
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            assert torch.autograd.gradcheck(finite_outputs, leaves, fast_mode=True)


@pytest.mark.parametrize("spec", [EVERY_TERM, MIXTURES, TABLES])
def test_threads_do_not_change_a_bit(spec: BiasSpec) -> None:
    x = draw(300, 280, dim=32, spec=spec)
    x["bias_parameters"].abs_()  # a precision below 0 would grow without bound
    options = {"dropout": 0.2, "dropout_seed": torch.tensor([1])}
    leaves = [x[name].requires_grad_() for name in x if name != "bias"]
    before, runs = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            out = geometry_attention(**x, **options)
            runs.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*runs, strict=True):
        assert torch.equal(one, two)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_the_cpu_kernel_agrees_with_the_reference_on_any_shape(data: st.DataObject) -> None:
    sizes = st.integers(0, 40)
    q_lengths = data.draw(st.lists(sizes, min_size=1, max_size=4))
    k_lengths = [data.draw(sizes) for _ in q_lengths]
    kv_heads, group, dim = (data.draw(st.integers(1, top)) for top in (3, 3, 20))
    x = draw(
        sum(q_lengths),
        sum(k_lengths),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        dim=dim,
        spec=data.draw(
            st.sampled_from([EVERY_TERM, MIXTURES, TABLES, BiasSpec(Direction()), BiasSpec()])
        ),
        dtype=torch.float64,
        seed=data.draw(st.integers(0, 9)),
    )
    x["bias_parameters"].abs_()
    leaves = [x[name].requires_grad_() for name in x if name != "bias"]
    options = {
        "q_offsets": offsets(0, *torch.tensor(q_lengths).cumsum(0)),
        "k_offsets": offsets(0, *torch.tensor(k_lengths).cumsum(0)),
        "causal": data.draw(st.booleans()),
        "dropout": data.draw(st.sampled_from([0.0, 0.4])),
        "dropout_seed": torch.tensor([7]),
        "return_position_mean": True,
    }
    if data.draw(st.booleans()):
        options["k_mask"] = torch.tensor(
            data.draw(st.lists(st.booleans(), min_size=len(x["k"]), max_size=len(x["k"]))),
            dtype=torch.bool,
        )
    answers = []
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            result = geometry_attention(**x, **options)
            seen = result.position_spread.isfinite()
            loss = result.out.sum() + torch.where(seen, result.position_spread, 0).sum()
            loss = loss + result.position_mean.square().sum()
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
            answers.append([*result[:1], *result[2:], *gradients])
    for actual, expected in zip(*answers, strict=True):
        assert (actual is None) == (expected is None)
        if actual is not None:
            torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


def test_positions_in_half_precision_are_refused() -> None:
    x = draw()
    x |= {name: x[name].bfloat16() for name in ("q", "k", "v")}
    with pytest.raises(
        TypeError, match="q_position must be float32 or float64 or int32, got bfloat16"
    ):
        geometry_attention(**{**x, "q_position": x["q_position"].bfloat16()})
    assert geometry_attention(**x).dtype == torch.bfloat16


def test_autocast_leaves_positions_alone() -> None:
    x = draw()
    for name in "qkv":
        x[name] = x[name].bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = geometry_attention(**x, return_position_mean=True)
    outside = geometry_attention(**x, return_position_mean=True)
    assert inside.position_mean.dtype == torch.float32
    assert torch.equal(inside.position_mean, outside.position_mean)


def test_head_dims_that_the_triton_kernels_do_not_take_are_refused() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    x = draw(2, 2, dim=160)
    with use_backend("triton"), pytest.raises(RuntimeError, match="head dims up to 128, got 160"):
        geometry_attention(**x)


def test_a_bias_spec_counts_its_parameters_and_refuses_repetition() -> None:
    assert EVERY_TERM.num_parameters == 5
    assert BiasSpec(Distance()) == BiasSpec(Distance(1e-3)) != BiasSpec(Distance(1e-2))
    assert len({BiasSpec(), BiasSpec(), EVERY_TERM}) == 2
    with pytest.raises(ValueError, match="once"):
        BiasSpec(Distance(), Distance(0.1))
    with pytest.raises(TypeError, match="BiasSpec"):
        BiasSpec("distance")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eps"):
        Distance(0.0)


def test_flops_count_equal_segments() -> None:
    register_flop_formulas()
    x = draw(8, 12, heads=4, kv_heads=2, dim=16)
    x["q"].requires_grad_()
    for options, segments in (
        ({}, 1),
        ({"q_offsets": offsets(0, 4, 8), "k_offsets": offsets(0, 6, 12)}, 2),
    ):
        with FlopCounterMode(display=False) as counter:
            out = geometry_attention(**x, **options)
            forward = counter.get_total_flops()
            out.sum().backward()
        assert forward == 4 * 8 * 12 * 4 * 16 // segments
        assert counter.get_total_flops() - forward == 10 * 8 * 12 * 4 * 16 // segments


def test_a_scale_that_changes_from_call_to_call_compiles() -> None:
    torch._dynamo.reset()
    tokens = torch.rand(6, 2, 8)

    def attend(scale: float) -> torch.Tensor:
        return geometry_attention(tokens, tokens, tokens, scale=scale)

    compiled = torch.compile(attend, fullgraph=True, dynamic=True, backend="aot_eager")
    for scale in (0.1, 0.2, 0.3):
        torch.testing.assert_close(compiled(scale), attend(scale))


@pytest.mark.parametrize("bias_name", ["none", "distance", "direction", "gauss_powers", "rbf"])
def test_sizes_that_a_user_writes_make_a_case(bias_name: str) -> None:
    assert SPEC.shaped is not None
    given = {"queries": 6, "keys": 8, "heads": 4, "bias": bias_name}
    for sizes, kv_heads in ((given, 4), ({**given, "kv_heads": 2, "batch": 3}, 2)):
        inputs = SPEC.shaped(sizes)(torch.Generator().manual_seed(0))
        assert inputs["k"].shape == (8 * sizes.get("batch", 1), kv_heads, 64)
        assert geometry_attention(**inputs).isfinite().all()
    with pytest.raises(ValueError, match="kv_heads must be a positive whole number"):
        SPEC.shaped({**given, "kv_heads": 0})
