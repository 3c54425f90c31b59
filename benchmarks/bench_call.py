"""What a call costs before any arithmetic: tiny tensors on the CPU."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "call"


def bench_call(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
