"""What tensors cost on their way into native code."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "binding"


def bench_binding(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
