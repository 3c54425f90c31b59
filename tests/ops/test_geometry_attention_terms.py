"""The terms of the bias: their formulas, what queries bring of their own, what does not leak."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from g2vlm_fast.ops import (
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    SquaredDistance,
    geometry_attention,
    use_backend,
)
from g2vlm_fast.ops.specs import draw_case
from g2vlm_fast.ops.specs.geometry_attention import SPEC

QUERIES, KEYS, HEADS, DIM = 9, 12, 2, 8
OnBackend = Callable[[], AbstractContextManager[None]]


def draw(spec: BiasSpec, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "q": normal(QUERIES, HEADS, DIM),
        "k": normal(KEYS, HEADS, DIM),
        "v": normal(KEYS, HEADS, DIM),
        "bias": spec,
        "bias_parameters": normal(HEADS, spec.num_parameters).abs(),
        "q_position": normal(QUERIES, 3),
        "k_position": normal(KEYS, 3),
        "q_normal": normalize(normal(QUERIES, 3), dim=-1),
        "k_normal": normalize(normal(KEYS, 3), dim=-1),
        "q_frame": torch.linalg.qr(normal(QUERIES, 3, 3)).Q,
    }


def attend(x: dict[str, Any], bias: Tensor) -> Tensor:
    """Plain softmax attention with a bias ``[H, Lq, Lk]``."""
    scores = torch.einsum("ihd,jhd->hij", x["q"], x["k"]) / DIM**0.5 + bias
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), x["v"])


def square_of(x: dict[str, Any]) -> Tensor:
    return (x["k_position"][None] - x["q_position"][:, None]).square().sum(-1)


def test_gaussian_powers_are_gaussians_whose_precisions_are_multiples(
    on_backend: OnBackend,
) -> None:
    x = draw(BiasSpec(GaussianPowers(3)))
    precision, *weights = x["bias_parameters"].T[..., None, None]
    terms = [w * (-m * precision * square_of(x)).exp() for m, w in enumerate(weights, 1)]
    with on_backend():
        out = geometry_attention(**x)
    torch.testing.assert_close(out, attend(x, sum(terms)), rtol=1e-4, atol=1e-5)


def test_radial_basis_functions_are_gaussians_of_the_distance(on_backend: OnBackend) -> None:
    x = draw(BiasSpec(RadialBasis(2, eps=0.1)))
    w1, w2, c1, c2, p1, p2 = x["bias_parameters"].T[..., None, None]
    r = (square_of(x) + 0.01).sqrt()
    bias = w1 * (-p1 * (r - c1) ** 2).exp() + w2 * (-p2 * (r - c2) ** 2).exp()
    with on_backend():
        out = geometry_attention(**x)
    torch.testing.assert_close(out, attend(x, bias), rtol=1e-4, atol=1e-5)


def test_normal_dot_weighs_the_cosine_between_normals(on_backend: OnBackend) -> None:
    x = draw(BiasSpec(NormalDot()))
    bias = x["bias_parameters"].view(HEADS, 1, 1) * (x["q_normal"] @ x["k_normal"].T)
    with on_backend():
        out = geometry_attention(**x)
    torch.testing.assert_close(out, attend(x, bias), rtol=1e-4, atol=1e-5)


def test_a_frame_turns_directions_into_those_of_the_query(on_backend: OnBackend) -> None:
    x = draw(BiasSpec(Direction()))
    difference = x["k_position"][None] - x["q_position"][:, None]
    seen = torch.einsum("iac,ijc->ija", x["q_frame"], difference)
    with on_backend():
        out = geometry_attention(**x)
    bias = torch.einsum("ha,ija->hij", x["bias_parameters"], seen)
    torch.testing.assert_close(out, attend(x, bias), rtol=1e-4, atol=1e-5)
    x["q_frame"] = torch.eye(3).expand(QUERIES, 3, 3)
    with on_backend():
        aligned, world = geometry_attention(**x), geometry_attention(**{**x, "q_frame": None})
    torch.testing.assert_close(aligned, world, rtol=1e-5, atol=1e-6)


def test_each_query_may_bring_its_own_parameters(on_backend: OnBackend) -> None:
    spec = BiasSpec(SquaredDistance(), GaussianPowers(2), Distance())
    x = draw(spec)
    shared = x["bias_parameters"]
    x["bias_parameters"] = shared * torch.linspace(0.2, 2, QUERIES)[:, None, None]
    with on_backend():
        together = geometry_attention(**x)
        for i in range(QUERIES):
            alone = {**x, "bias_parameters": x["bias_parameters"][i]}
            alone |= {name: x[name][i : i + 1] for name in x if name.startswith("q")}
            expected = geometry_attention(**alone)[0]
            torch.testing.assert_close(together[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("broken", ["q_position", "q_normal", "q_frame", "bias_parameters"])
def test_rows_with_a_shut_gate_leak_nothing_of_what_is_not_a_number(
    on_backend: OnBackend, broken: str
) -> None:
    x = draw(BiasSpec(Distance(), Direction(), NormalDot(), GaussianPowers(2)))
    x["bias_parameters"] = x["bias_parameters"].repeat(QUERIES, 1, 1)
    x["q_gate"] = torch.ones(QUERIES, HEADS)
    x["q_gate"][3:5] = x["q_gate"][6, 1] = 0
    whole = {**x, broken: x[broken].clone()}
    if broken == "bias_parameters":
        x[broken][3] = x[broken][6, 1] = torch.nan
    else:
        x[broken][3] = torch.nan
    runs = []
    for inputs in (x, whole):
        leaves = {n: v.requires_grad_() for n, v in inputs.items() if isinstance(v, Tensor)}
        with on_backend():
            out = geometry_attention(**inputs)
        grads = torch.autograd.grad(out.square().sum(), list(leaves.values()))
        runs.append((out, dict(zip(leaves, grads, strict=True))))
    (out, grads), (expected_out, expected_grads) = runs
    torch.testing.assert_close(out, expected_out, rtol=0, atol=0)
    assert (grads["q_gate"][3] == 0).all()
    for name, grad in grads.items():
        if name == "q_gate":
            grad, expected_grads[name] = grad[4:6], expected_grads[name][4:6]
            assert (grad != 0).all()  # what stands somewhere can still open
        torch.testing.assert_close(grad, expected_grads[name], rtol=0, atol=0, msg=name)


def test_gradients_of_every_term_and_option_are_right() -> None:
    inputs = draw_case(SPEC, "everything", torch.float64)
    names = [name for name in SPEC.grad_inputs if isinstance(inputs.get(name), Tensor)]
    assert set(names) == set(SPEC.grad_inputs)

    def finite_outputs(*values: Tensor) -> tuple[Tensor, ...]:
        result = geometry_attention(**{**inputs, **dict(zip(names, values, strict=True))})
        seen = result.lse != -torch.inf
        shown = (torch.where(seen, x, 0) for x in (result.lse, result.position_spread))
        return (result.out, *shown, result.position_mean)

    leaves = [inputs[name].clone().requires_grad_() for name in names]
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            assert torch.autograd.gradcheck(finite_outputs, leaves, fast_mode=True)


def test_coincident_points_have_finite_gradients_in_every_term(on_backend: OnBackend) -> None:
    spec = BiasSpec(Distance(), GaussianPowers(8), RadialBasis(16))
    x = draw(spec)
    x["q_position"][:] = x["k_position"][:] = 1.5
    leaves = [x[name].requires_grad_() for name in ("bias_parameters", "q_position", "k_position")]
    with on_backend():
        gradients = torch.autograd.grad(geometry_attention(**x).sum(), leaves)
    assert all(each.isfinite().all() for each in gradients)


def test_a_gaussian_that_grows_without_bound_says_so_on_every_path() -> None:
    x = draw(BiasSpec(GaussianPowers(1)))
    x["bias_parameters"] = torch.tensor([[-1e3, 1.0], [1.0, 1.0]])
    outs = []
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            outs.append(geometry_attention(**x))
    assert outs[0][:, 0].isnan().all()
    torch.testing.assert_close(*outs, equal_nan=True)


def test_a_spec_counts_what_users_and_what_kernels_see() -> None:
    spec = BiasSpec(NormalDot(), GaussianPowers(3), RadialBasis(2, 0.1), Distance(0.1))
    assert spec.num_parameters == 1 + 4 + 6 + 1
    assert spec.counts == (3, 4, 6, 1)
    assert spec.codes == (3, 4, 5, 0)
    assert spec.eps == 0.1
    assert BiasSpec(NormalDot()).eps == 0
    with pytest.raises(ValueError, match="agree on eps"):
        BiasSpec(Distance(), RadialBasis(2, 0.1))
    with pytest.raises(ValueError, match="once"):
        BiasSpec(GaussianPowers(2), GaussianPowers(3))


@pytest.mark.parametrize(
    ("make", "error", "argument"),
    [
        (lambda: GaussianPowers(0), ValueError, "count"),
        (lambda: GaussianPowers(9), ValueError, "count"),
        (lambda: GaussianPowers(2.0), TypeError, "count"),
        (lambda: RadialBasis(17), ValueError, "count"),
        (lambda: RadialBasis(5, 0.0), ValueError, "eps"),
        (lambda: RadialBasis(5, float("inf")), ValueError, "eps"),
        (lambda: RadialBasis(5, "1"), TypeError, "eps"),
    ],
)
def test_terms_refuse_sizes_by_name(make: Any, error: type[Exception], argument: str) -> None:
    with pytest.raises(error, match=rf"(GaussianPowers|RadialBasis): {argument} must"):
        make()


def test_autocast_leaves_frames_and_normals_alone() -> None:
    x = draw(BiasSpec(Direction(), NormalDot()))
    for name in "qkv":
        x[name] = x[name].bfloat16()
    outside = geometry_attention(**x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = geometry_attention(**x)
    assert torch.equal(inside, outside)


def test_what_no_term_uses_changes_nothing() -> None:
    x = draw(BiasSpec(Distance()))
    plain = {name: x[name] for name in x if name not in ("q_normal", "k_normal", "q_frame")}
    assert torch.equal(geometry_attention(**x), geometry_attention(**plain))


def test_every_term_and_option_compile_as_one_graph() -> None:
    torch._dynamo.reset()
    inputs = draw_case(SPEC, "everything", torch.float32)
    inputs["k_position"] = inputs["k_normal"]  # one tensor in two places
    compiled = torch.compile(geometry_attention, fullgraph=True, backend="aot_eager")
    names = [name for name in SPEC.grad_inputs if name != "k_position"]
    answers = []
    for function in (geometry_attention, compiled):
        leaves = {name: inputs[name].clone().requires_grad_() for name in names}
        result = function(**{**inputs, **leaves, "k_position": leaves["k_normal"]})
        loss = result.out.square().sum() + result.position_mean.sum()
        answers.append([result.out, *torch.autograd.grad(loss, list(leaves.values()))])
    for eager, traced in zip(*answers, strict=True):
        torch.testing.assert_close(traced, eager)


def test_keys_that_hardly_count_leave_the_mean_alone(on_backend: OnBackend) -> None:
    """A whole tile of them weighs less than float32 can divide by."""
    k_position = torch.zeros(192, 3)
    k_position[:64] = torch.tensor([1.0, 2.0, 3.0])
    k_position[64:, 0] = 10.165
    zeros = torch.zeros(192, 1, 16)
    with on_backend():
        result = geometry_attention(
            zeros[:8],
            zeros,
            zeros,
            bias=BiasSpec(SquaredDistance()),
            bias_parameters=torch.ones(1, 1),
            q_position=k_position[:8],
            k_position=k_position,
            return_position_mean=True,
        )
    torch.testing.assert_close(result.position_mean[:, 0], k_position[:8])
    torch.testing.assert_close(result.position_spread[:, 0], torch.full((8,), 1e-3))
