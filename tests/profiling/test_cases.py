"""Which cases are timed, and in which passes."""

from __future__ import annotations

import pytest

from g2vlm_fast.ops.specs import all_specs
from g2vlm_fast.profiling.cases import small_cases, timed_cases
from g2vlm_fast.profiling.providers import providers_of
from g2vlm_fast.profiling.runner import Job, Workbench, jobs_of, prepared


def test_cases_of_inference_are_timed_forward_only() -> None:
    passes = {case.name: case.passes for case in timed_cases("geometry_attention")}
    assert passes["decode_B8_Lk65536_D128_KV4_distance"] == ("fwd",)
    assert passes["M_D64_distance"] == ("fwd", "fwd_bwd")


def test_cases_that_are_timed_forward_only_exist() -> None:
    for spec in all_specs().values():
        assert set(spec.timed_forward_only) <= set(spec.timed)


@pytest.mark.parametrize(
    "job",
    list(jobs_of(small_cases("binding"), providers_of)),
    ids=lambda job: job.provider.name,
)
def test_every_road_into_native_code_leads_there(job: Job) -> None:
    with prepared(job, Workbench()) as bench:
        assert bench.error.largest < 1e-6


def test_only_what_has_another_implementation_is_held_against_a_reference() -> None:
    providers = {
        case.spec.op: {each.name for each in providers_of(case.spec, "cpu")}
        for case in timed_cases()
    }
    assert {op for op, names in providers.items() if "reference" not in names} == {"layout"}
