"""Attention with a geometric bias."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "geometry_attention"


def bench_geometry_attention(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
