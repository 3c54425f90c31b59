"""Turns the cases of a suite into benchmarks, and the benchmarks into records.

A module names its suite in ``SUITE``; every (case, provider, pass) of it becomes one benchmark.
With ``--benchmark-disable`` the providers are checked on the small test cases instead, and nothing
is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from g2vlm_fast.profiling.cases import small_cases, timed_cases
from g2vlm_fast.profiling.providers import OWN, REFERENCE, providers_of
from g2vlm_fast.profiling.records import commit_of
from g2vlm_fast.profiling.results import Results
from g2vlm_fast.profiling.runner import Job, Refused, Workbench, jobs_of, prepared
from g2vlm_fast.profiling.timing import Plan, clock_of

ROOT = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("records")
    group.addoption("--record", action="store_true", help="write results/ and reports/")
    group.addoption("--record-to", type=Path, default=ROOT, help="folder of results/ and reports/")
    group.addoption("--commit", help="commit of a source tree that is not a git work tree")
    group.addoption("--allow-dirty", action="store_true", help="record a changed tree, marked so")
    group.addoption("--limit", type=float, default=30.0, help="longest call that is waited for")


def pytest_configure(config: pytest.Config) -> None:
    options = config.option
    if options.record and not options.benchmark_disable:
        options.commit = commit_of(ROOT, allow_dirty=options.allow_dirty, given=options.commit)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "job" not in metafunc.fixturenames:
        return
    suite = metafunc.module.SUITE
    disabled = metafunc.config.option.benchmark_disable
    cases = small_cases(suite) if disabled else timed_cases(suite)
    metafunc.parametrize("job", [_parameter(job) for job in jobs_of(cases, providers_of)])


def _parameter(job: Job) -> object:
    marks = [pytest.mark.benchmark(group=f"{job.case.name} {job.direction}")]
    if job.case.device == "cuda":
        marks.append(pytest.mark.gpu)
        if not torch.cuda.is_available():
            marks.append(pytest.mark.skip(reason="needs a CUDA device"))
    return pytest.param(
        job,
        id=f"{job.case.spec.op}-{job.case.name}-{job.direction}-{job.provider.name}",
        marks=marks,
    )


@pytest.fixture(scope="session")
def workbench() -> Workbench:
    return Workbench()


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    found = Results()
    yield found
    options = request.config.option
    if options.record and found:
        for report in found.write(options.record_to):
            print(f"\nwrote {report}")


@pytest.fixture
def run_job(
    benchmark: Callable[..., object],
    workbench: Workbench,
    results: Results,
    request: pytest.FixtureRequest,
) -> Callable[[Job], None]:
    """Check a job, and time it where it is right."""
    options = request.config.option

    def run(job: Job) -> None:
        try:
            with prepared(job, workbench, options.limit) as bench:
                if options.benchmark_disable:
                    benchmark.pedantic(bench.calls[0])  # type: ignore[attr-defined]
                    return
                plan = Plan(limit=options.limit)
                timed = bench.round(plan)
                clock = clock_of(job.case.device)
                begin = clock()
                timed()
                rounds = plan.rounds(clock() - begin)
                benchmark._timer = clock  # type: ignore[attr-defined]
                benchmark.pedantic(timed, rounds=rounds)  # type: ignore[attr-defined]
                samples = benchmark.stats.stats.sorted_data  # type: ignore[attr-defined]
                seconds = job.statistic(samples) / timed.calls
                measurement = bench.record(seconds, options.commit or "unrecorded", timed)
                benchmark.extra_info.update(measurement.record.to_json())  # type: ignore[attr-defined]
                results.add(job, measurement)
        except Refused as reason:
            if not options.benchmark_disable:
                results.refuse(job, str(reason))
            ours = job.provider in (OWN, REFERENCE)
            (pytest.fail if ours else pytest.skip)(f"no time for {job.label}: {reason}")

    return run
