"""Views of generated rooms, and rooms with all that is said of them."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "render"


def bench_render(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
