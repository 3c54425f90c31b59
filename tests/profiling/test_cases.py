"""Which cases are timed, and in which passes."""

from __future__ import annotations

from g2vlm_fast.ops.specs import all_specs
from g2vlm_fast.profiling.cases import timed_cases


def test_cases_of_inference_are_timed_forward_only() -> None:
    passes = {case.name: case.passes for case in timed_cases("geometry_attention")}
    assert passes["decode_B8_Lk65536_D128_KV4_distance"] == ("fwd",)
    assert passes["M_D64_distance"] == ("fwd", "fwd_bwd")


def test_cases_that_are_timed_forward_only_exist() -> None:
    for spec in all_specs().values():
        assert set(spec.timed_forward_only) <= set(spec.timed)
