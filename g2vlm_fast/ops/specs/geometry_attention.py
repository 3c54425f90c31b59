"""Specification of :func:`g2vlm_fast.ops.geometry_attention`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.bias import (
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    RadialTable,
    SquaredDistance,
)
from g2vlm_fast.ops.geometry_attention import geometry_attention
from g2vlm_fast.ops.specs.attention_rooms import room_attention, skipping
from g2vlm_fast.ops.specs.attention_tables import TABLES
from g2vlm_fast.ops.specs.attention_tokens import SMALL, scenes
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import sizes_of
from g2vlm_fast.ops.specs.points import offsets

_BIASES = {
    "distance": BiasSpec(Distance()),
    "squared": BiasSpec(SquaredDistance()),
    "direction": BiasSpec(Direction()),
    "gauss_powers": BiasSpec(GaussianPowers(5)),
    "rbf": BiasSpec(RadialBasis(5)),
    "none": BiasSpec(),
}

_DECODE = "decode_B8_Lk65536_D128_KV4_distance"


def _shaped(given: Mapping[str, Any]) -> InputFactory:
    heads = given.get("heads", 16)
    optional = {"batch": 1, "heads": 16, "kv_heads": heads, "head_dim": 64, "bias": "distance"}
    sizes = sizes_of(given, ("queries", "keys"), optional)
    if sizes["bias"] not in _BIASES:
        raise ValueError(f"bias must be one of {sorted(_BIASES)}, got {sizes['bias']!r}")
    return scenes(
        sizes["batch"],
        sizes["heads"],
        sizes["queries"],
        sizes["keys"],
        sizes["head_dim"],
        _BIASES[sizes["bias"]],
        sizes["kv_heads"],
    )


def _cost(inputs: Inputs) -> Cost:
    """Two products a pair and head, 2 D operations each; segments taken as equally long."""
    q, k = inputs["q"], inputs["k"]
    tensors = [each for each in inputs.values() if isinstance(each, Tensor)]
    segments = inputs["q_offsets"].shape[0] - 1 if "q_offsets" in inputs else 1
    read = sum(each.nbytes for each in tensors)
    written = q.nbytes + q.shape[0] * q.shape[1] * 4
    return Cost(read + written, 4 * q.numel() * k.shape[0] // segments)


def _change(**changes: Any) -> Any:
    return lambda inputs: {**inputs, **changes}


SPEC = OpSpec(
    op="geometry_attention",
    kernels=("geometry_attention", "geometry_attention_backward"),
    function=geometry_attention,
    small={**SMALL, **TABLES, "skipping": skipping},
    timed={
        "M_D64_distance": scenes(4, 16, 4096, 4096, 64, _BIASES["distance"]),
        "M_D128_distance": scenes(4, 16, 4096, 4096, 128, _BIASES["distance"]),
        "M_D64_squared": scenes(4, 16, 4096, 4096, 64, _BIASES["squared"]),
        "M_D128_squared": scenes(4, 16, 4096, 4096, 128, _BIASES["squared"]),
        "M_D64_gauss_powers": scenes(4, 16, 4096, 4096, 64, _BIASES["gauss_powers"]),
        "M_D64_rbf": scenes(4, 16, 4096, 4096, 64, _BIASES["rbf"]),
        "cross_B8_H16_Lq512_Lk4096_D64_distance": scenes(8, 16, 512, 4096, 64, _BIASES["distance"]),
        "self_16k_D64_skip": room_attention(16384),
        "self_64k_D64_skip": room_attention(65536),
        _DECODE: scenes(8, 16, 1, 65536, 128, _BIASES["distance"], 4),
    },
    timed_forward_only=(_DECODE,),
    timed_dtype=torch.bfloat16,
    called={
        "geometry_attention_L16": scenes(1, 4, 16, 16, 16, _BIASES["distance"]),
        "geometry_attention_L16_grad": scenes(1, 4, 16, 16, 16, _BIASES["distance"]),
    },
    shaped=_shaped,
    cost=_cost,
    suite="geometry_attention",
    grad_inputs=(
        "q",
        "k",
        "v",
        "bias_parameters",
        "q_position",
        "k_position",
        "q_normal",
        "k_normal",
        "q_frame",
        "q_gate",
    ),
    float32_inputs=(
        "bias_parameters",
        "q_position",
        "k_position",
        "q_normal",
        "k_normal",
        "q_frame",
        "q_gate",
    ),
    tolerance={
        torch.float64: Tolerance(1e-12, 1e-11),
        # The rounding of a score of 300 alone changes its probability by 2e-5.
        torch.float32: Tolerance(2e-6, 5e-5),
        torch.float16: Tolerance(1e-3, 5e-3),
        torch.bfloat16: Tolerance(5e-3, 1e-2),
    },
    smooth=(
        "distance",
        "every_term",
        "plain",
        "sharp",
        "gaussian_powers",
        "radial_basis",
        "frames",
        "normal_dot",
        "dropout",
        "radial_table",
        "axis_table",
    ),
    refused={"triton": ("own_tables",)},
    hostile=(
        Hostile(
            "bias without parameters", _change(bias_parameters=None), ValueError, "bias_parameters"
        ),
        Hostile("bias without positions", _change(q_position=None), ValueError, "q_position"),
        Hostile("a term that is no spec", _change(bias=Distance()), TypeError, "bias"),
        Hostile(
            "mean without positions",
            _change(bias=None, bias_parameters=None, k_position=None, return_position_mean=True),
            ValueError,
            "k_position",
        ),
        Hostile("infinite scale", _change(scale=float("inf")), ValueError, "scale"),
        Hostile(
            "positions in half precision",
            lambda i: {**i, "k_position": i["k_position"].bfloat16()},
            TypeError,
            "k_position",
        ),
        Hostile(
            "parameters of another spec",
            lambda i: {**i, "bias_parameters": i["bias_parameters"].repeat(1, 2)},
            ValueError,
            "bias_parameters",
        ),
        Hostile(
            "a slope for a table",
            _change(bias=BiasSpec(RadialTable())),
            ValueError,
            "bias_parameters",
        ),
        Hostile(
            "parameters of other queries",
            lambda i: {**i, "bias_parameters": i["bias_parameters"].repeat(20, 1, 1)},
            ValueError,
            "bias_parameters",
        ),
        Hostile(
            "a term of normals without normals",
            _change(bias=BiasSpec(NormalDot())),
            ValueError,
            "q_normal",
        ),
        Hostile(
            "a term of normals without those of keys",
            lambda i: {**i, "bias": BiasSpec(NormalDot()), "q_normal": i["q_position"]},
            ValueError,
            "k_normal",
        ),
        Hostile(
            "normals in half precision",
            lambda i: {**i, "k_normal": i["k_position"].half()},
            TypeError,
            "k_normal",
        ),
        Hostile(
            "one axis for a frame",
            lambda i: {**i, "q_frame": i["q_position"]},
            ValueError,
            "q_frame",
        ),
        Hostile(
            "a mask of the queries",
            lambda i: {**i, "k_mask": i["q_position"][:, 0] > 0},
            ValueError,
            "k_mask",
        ),
        Hostile(
            "a mask of numbers",
            lambda i: {**i, "k_mask": i["k_position"][:, 0]},
            TypeError,
            "k_mask",
        ),
        Hostile("dropout of everything", _change(dropout=1.0), ValueError, "dropout"),
        Hostile("negative dropout", _change(dropout=-0.1), ValueError, "dropout"),
        Hostile("dropout that is no number", _change(dropout=float("nan")), TypeError, "dropout"),
        Hostile("a seed that is no tensor", _change(dropout_seed=3), TypeError, "dropout_seed"),
        Hostile(
            "a seed of 32 bits",
            _change(dropout=0.5, dropout_seed=torch.zeros(1, dtype=torch.int32)),
            TypeError,
            "dropout_seed",
        ),
        Hostile(
            "two seeds",
            _change(dropout=0.5, dropout_seed=torch.zeros(2, dtype=torch.int64)),
            ValueError,
            "dropout_seed",
        ),
        Hostile("skipping everything", _change(skip_eps=1.0), ValueError, "skip_eps"),
        Hostile("skipping less than nothing", _change(skip_eps=-1e-9), ValueError, "skip_eps"),
        Hostile("a tensor to skip", _change(skip_eps=torch.ones(1)), TypeError, "skip_eps"),
        Hostile(
            "heads that do not divide",
            lambda i: {**i, "k": i["k"].repeat(1, 2, 1)[:, :3], "v": i["v"].repeat(1, 2, 1)[:, :3]},
            ValueError,
            "heads of q",
        ),
        Hostile(
            "offsets that end early",
            _change(q_offsets=offsets(3), k_offsets=offsets(37)),
            ValueError,
            "q_offsets",
        ),
        Hostile(
            "offsets of one segmentation",
            _change(q_offsets=offsets(11, 10)),
            ValueError,
            "k_offsets",
        ),
    ),
)
