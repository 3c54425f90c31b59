"""All metrics of a predicted and a true scene."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "metrics"


def bench_metrics(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
