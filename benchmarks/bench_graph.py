"""Graphs: building them, reducing and convolving over their edges, pooling voxels."""

from collections.abc import Callable

from g2vlm_fast.profiling.runner import Job

SUITE = "graph"


def bench_graph(job: Job, run_job: Callable[[Job], None]) -> None:
    run_job(job)
