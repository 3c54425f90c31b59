"""Nearest neighbours, and the Chamfer distance built on them."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "nearest"


def bench_nearest(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
