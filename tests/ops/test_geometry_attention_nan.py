"""What is not a number stays in its row and segment, as the docstring of the op promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import (
    AxisTable,
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    RadialTable,
    geometry_attention,
    use_backend,
)

FORMULAS = BiasSpec(Distance(), Direction(), NormalDot(), GaussianPowers(2), RadialBasis(2))
TABLES = BiasSpec(RadialTable(4, 1.0), AxisTable(2, 0.3), NormalDot(), Direction())
OF_KEYS = ("k", "v", "k_position", "k_normal")
Q_OFFSETS, K_OFFSETS = (
    torch.tensor(ends, dtype=torch.int32) for ends in ([0, 18, 40], [0, 21, 50])
)


def draw(spec: BiasSpec) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "q": (40, 2, 8),
        "k": (50, 2, 8),
        "v": (50, 2, 8),
        "bias_parameters": (40, 2, spec.num_parameters),
        "q_position": (40, 3),
        "k_position": (50, 3),
        "q_normal": (40, 3),
        "k_normal": (50, 3),
        "q_frame": (40, 3, 3),
        "q_gate": (40, 2),
    }
    return {name: torch.rand(*shape, generator=generator) for name, shape in shapes.items()}


def attend(
    inputs: dict[str, Tensor], spec: BiasSpec, causal: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    out = geometry_attention(
        **leaves, bias=spec, q_offsets=Q_OFFSETS, k_offsets=K_OFFSETS, causal=causal
    )
    return out, dict(
        zip(leaves, torch.autograd.grad(out.sin().sum(), leaves.values()), strict=True)
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", list(draw(FORMULAS)))
@pytest.mark.parametrize("spec", [FORMULAS, TABLES], ids=["formulas", "tables"])
def test_what_is_not_finite_stays_in_its_row_and_its_segment(
    backend: str, spec: BiasSpec, name: str, garbage: float, causal: bool
) -> None:
    broken = draw(spec)
    broken[name][2] = garbage
    with use_backend(backend):
        clean, clean_grads = attend(draw(spec), spec, causal)
        out, grads = attend(broken, spec, causal)
    assert garbage == torch.inf or out[:18].isnan().any()  # who is infinitely far is not seen
    touched = torch.arange(40) < 18 if name in OF_KEYS else torch.arange(40) == 2
    assert torch.equal(out[~touched], clean[~touched])
    for other, grad in grads.items():
        kept = torch.arange(50) >= 21 if other in OF_KEYS else ~touched
        assert torch.equal(grad[kept], clean_grads[other][kept]), other
