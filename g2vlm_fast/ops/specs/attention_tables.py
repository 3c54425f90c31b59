"""Small cases of ``geometry_attention`` whose bias has tables.

Positions are drawn, so that none falls on a knot or halfway between two cells, where tables have
kinks and steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from g2vlm_fast.ops.bias import (
    AxisTable,
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialTable,
)
from g2vlm_fast.ops.specs.attention_tokens import normal, parameters_of, tokens_of, units
from g2vlm_fast.ops.specs.base import InputFactory, Inputs
from g2vlm_fast.ops.specs.points import offsets


def _radial_table(generator: torch.Generator) -> Inputs:
    """Pairs before and beyond the last knot."""
    return tokens_of(generator, 19, 35, BiasSpec(RadialTable(9, 2.5, 0.05)), return_lse=True)


def _axis_table(generator: torch.Generator) -> Inputs:
    """Steps within the reach and beyond it."""
    return tokens_of(generator, 19, 35, BiasSpec(AxisTable(3, 0.4)), kv_heads=1, return_lse=True)


def _grid(generator: torch.Generator) -> Inputs:
    """Patches of a voxel grid, as Point Transformer V3 has them; many tokens share a voxel."""
    cell = 0.02
    bias = BiasSpec(NormalDot(), AxisTable(31, cell))
    inputs = tokens_of(generator, 40, 40, bias, return_lse=True, return_position_mean=True)
    voxels = torch.randint(-25, 25, (40, 3), generator=generator)
    voxels[10:14] = voxels[:4]
    inputs["k_position"] = voxels * torch.tensor(cell, dtype=torch.float64)
    inputs["q_position"] = inputs["k_position"].clone()
    inputs["q_normal"] = inputs["k_normal"] = units(generator, 40)
    return {**inputs, "q_offsets": offsets(16, 0, 24), "k_offsets": offsets(16, 0, 24)}


def _one_point(generator: torch.Generator) -> Inputs:
    """Self-attention between tokens of which many stand at one point.

    The knots are far apart: a table that changes by 1 in 5 cm turns the rounding of a distance of
    3 m in float32 into an error of 4e-6.
    """
    bias = BiasSpec(AxisTable(2, 0.7), RadialTable(12, 3.0))
    inputs = tokens_of(generator, 20, 20, bias, return_position_mean=True)
    inputs["k_position"][4:15] = inputs["k_position"][0]
    inputs["q_position"] = inputs["k_position"].clone()
    return inputs


def _own_tables(generator: torch.Generator) -> Inputs:
    """Each query brings its tables and its gate; some stand nowhere."""
    bias = BiasSpec(RadialTable(5, 2.0), AxisTable(2, 0.5))
    inputs = tokens_of(generator, 21, 34, bias, heads=4, return_lse=True)
    inputs["bias_parameters"] = torch.stack([parameters_of(generator, 4, bias) for _ in range(21)])
    inputs["q_gate"] = torch.rand(21, 4, generator=generator, dtype=torch.float64)
    inputs["q_gate"][5:9] = inputs["q_gate"][10, 1] = 0
    inputs["bias_parameters"][6:8] = torch.nan
    inputs["bias_parameters"][10, 1, 2] = torch.nan
    inputs["q_position"][5:7] = torch.nan
    return inputs


def _everything(generator: torch.Generator) -> Inputs:
    """Tables between other terms and at their largest, with every option."""
    bias = BiasSpec(
        AxisTable(63, 0.05),
        Distance(0.05),
        NormalDot(),
        RadialTable(64, 3.0, 0.05),
        GaussianPowers(2),
        Direction(),
    )
    inputs = tokens_of(
        generator,
        25,
        43,
        bias,
        heads=4,
        dim=7,
        causal=True,
        scale=0.3,
        dropout=0.15,
        dropout_seed=torch.tensor([2**40 + 5]),
        return_lse=True,
        return_position_mean=True,
        q_normal=units(generator, 25),
        k_normal=units(generator, 43),
        q_frame=torch.linalg.qr(normal(generator, 25, 3, 3)).Q,
        q_offsets=offsets(8, 0, 17),
        k_offsets=offsets(20, 2, 21),
    )
    inputs["q_position"] = normal(generator, 25, 4, 3)
    gate = torch.rand(25, 4, generator=generator, dtype=torch.float64)
    inputs["q_gate"] = torch.where(gate < 0.3, 0, gate)
    mask = torch.rand(43, generator=generator) < 0.8
    inputs["k_mask"] = mask
    for name in ("k", "v", "k_position", "k_normal"):
        inputs[name][~mask] = torch.nan
    return inputs


TABLES: Mapping[str, InputFactory] = {
    "radial_table": _radial_table,
    "axis_table": _axis_table,
    "tables_on_a_grid": _grid,
    "tables_at_one_point": _one_point,
    "own_tables": _own_tables,
    "tables_and_everything": _everything,
}
