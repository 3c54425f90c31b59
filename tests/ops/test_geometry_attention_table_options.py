"""The tables of the bias under every option: rows of their own, gates, far origins, compilation."""

from __future__ import annotations

import pytest
import torch
from attention_inputs import HEADS, KEYS, QUERIES, OnBackend, assert_shut_gates_keep_nan_in, draw
from torch import Tensor
from torch.nn.functional import normalize

from g2vlm_fast.ops import (
    AxisTable,
    BackendError,
    BiasSpec,
    Direction,
    Distance,
    NormalDot,
    RadialTable,
    geometry_attention,
    use_backend,
)

RADIAL, AXIS = RadialTable(6, 2.0, 0.1), AxisTable(3, 0.5)


@pytest.fixture(params=["reference", "cpu"])
def on_backend(request: pytest.FixtureRequest) -> OnBackend:
    return lambda: use_backend(request.param)


def test_each_query_may_bring_its_own_tables(on_backend: OnBackend) -> None:
    spec = BiasSpec(AXIS, Direction(), RADIAL)
    x = draw(spec)
    shared = x["bias_parameters"]
    x["bias_parameters"] = shared * torch.linspace(-1, 2, QUERIES).double()[:, None, None]
    x["bias_parameters"].requires_grad_()
    with on_backend():
        together = geometry_attention(**x)
        (gradient,) = torch.autograd.grad(together.sin().sum(), x["bias_parameters"])
        for i in range(QUERIES):
            own = x["bias_parameters"][i].detach().requires_grad_()
            alone = {**x, "bias_parameters": own}
            alone |= {name: x[name][i : i + 1] for name in ("q", "q_position")}
            expected = geometry_attention(**alone)[0]
            torch.testing.assert_close(together[i], expected)
            (expected_gradient,) = torch.autograd.grad(expected.sin().sum(), own)
            torch.testing.assert_close(gradient[i], expected_gradient)


@pytest.mark.parametrize("broken", ["q_position", "bias_parameters"])
def test_rows_with_a_shut_gate_leak_nothing_of_what_is_not_a_number(
    on_backend: OnBackend, broken: str
) -> None:
    assert_shut_gates_keep_nan_in(draw(BiasSpec(RADIAL, AXIS)), broken, on_backend)


def test_a_table_entry_that_is_not_a_number_reaches_those_alone_who_look_there() -> None:
    x = draw(BiasSpec(RadialTable(3, 2.0)))
    x["k_position"] = torch.zeros(KEYS, 3, dtype=torch.float64)
    x["q_position"] = torch.linspace(0.1, 3, QUERIES).double()[:, None] * torch.eye(3).double()[:1]
    x["bias_parameters"][1, 2] = torch.nan
    near = x["q_position"][:, 0] < 1
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            out = geometry_attention(**x)
        assert out[near].isfinite().all()
        assert out[~near, 0].isfinite().all()
        assert out[~near, 1].isnan().all()


@pytest.mark.parametrize("given", [torch.float64, torch.int32])
def test_voxels_far_from_the_origin_keep_their_steps(
    on_backend: OnBackend, given: torch.dtype
) -> None:
    """Float32 holds coordinates of a map to decimetres; voxels are of 2 cm."""
    cell, x = 0.02, draw(BiasSpec(AxisTable(31, 0.02), RadialTable(8, 0.5)), torch.float32)
    generator = torch.Generator().manual_seed(5)
    for name in ("q_position", "k_position"):
        x[name] = torch.randint(-20, 20, x[name].shape, generator=generator).double() * cell
    with on_backend():
        near = geometry_attention(
            **{n: v.float() if n[1:] == "_position" else v for n, v in x.items()}
        )
        for name in ("q_position", "k_position"):
            metres = x[name] + torch.tensor([4000.0, -3000.0, 20.0])
            x[name] = metres if given is torch.float64 else (metres / 1e-4).round().int()
        far = geometry_attention(**x, return_position_mean=True)
    torch.testing.assert_close(far.out, near, rtol=1e-4, atol=1e-5)
    assert far.position_mean.dtype == torch.float64


def test_gradients_are_right_away_from_knots_and_steps() -> None:
    """Distances and differences are integers and a quarter, cells and intervals one."""
    spec = BiasSpec(AxisTable(2), NormalDot(), RadialTable(5, 4.0, 0.25))
    x = draw(spec)
    generator = torch.Generator().manual_seed(2)
    along = [torch.randint(-5, 6, (n, 1), generator=generator) for n in (QUERIES, KEYS)]
    sideways = torch.tensor([0.0, 0.2, 0.0], dtype=torch.float64)
    x["q_position"] = along[0] * torch.eye(3, dtype=torch.float64)[0]
    x["k_position"] = (along[1] + 0.25) * torch.eye(3, dtype=torch.float64)[0] + sideways
    x["q_normal"], x["k_normal"] = (
        normalize(torch.randn(n, 3, generator=generator).double(), dim=-1) for n in (QUERIES, KEYS)
    )
    x["q_gate"] = torch.rand(QUERIES, HEADS, generator=generator).double()
    names = [name for name in x if name != "bias"]
    options = {
        "dropout": 0.2,
        "dropout_seed": torch.tensor([3]),
        "k_mask": torch.arange(KEYS) != 4,
        "causal": True,
    }

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, values, strict=True))
        result = geometry_attention(
            **given, bias=spec, **options, return_lse=True, return_position_mean=True
        )
        return tuple(each for each in result if each is not None)

    leaves = [x[name].requires_grad_() for name in names]
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            assert torch.autograd.gradcheck(outputs, leaves, fast_mode=True)


def test_positions_get_nothing_of_piecewise_constant_tables(on_backend: OnBackend) -> None:
    x = draw(BiasSpec(AXIS))
    leaves = [x[name].requires_grad_() for name in ("q_position", "k_position", "bias_parameters")]
    with on_backend():
        *positions, tables = torch.autograd.grad(geometry_attention(**x).sin().sum(), leaves)
    assert all((each == 0).all() for each in positions)
    assert (tables != 0).any()


def test_compiles_as_one_graph_with_gradients() -> None:
    torch._dynamo.reset()
    x = draw(BiasSpec(RADIAL, Direction(), AXIS), torch.float32)
    compiled = torch.compile(geometry_attention, fullgraph=True, backend="aot_eager")
    leaves = [x[name].requires_grad_() for name in x if name != "bias"]
    answers = []
    for function in (geometry_attention, compiled):
        out = function(**x)
        answers.append([out, *torch.autograd.grad(out.sin().sum(), leaves)])
    for eager, traced in zip(*answers, strict=True):
        torch.testing.assert_close(traced, eager)


def test_the_triton_backend_refuses_tables_of_each_query_by_name() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    x = draw(BiasSpec(RADIAL, Distance(0.1), AXIS), torch.float32)
    x["bias_parameters"] = x["bias_parameters"].expand(x["q"].shape[0], -1, -1)
    for kind in (NotImplementedError, BackendError):
        with (
            use_backend("triton"),
            pytest.raises(kind, match=r"triton .* tables of each query.*use_backend\('cpu'"),
        ):
            geometry_attention(**x)
