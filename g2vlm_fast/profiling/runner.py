"""Correctness, then time: one (case, provider, pass) at a time."""

from __future__ import annotations

import contextlib
import math
import statistics
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling import hardware
from g2vlm_fast.profiling.calls import BoundCall, tensors
from g2vlm_fast.profiling.cases import Case
from g2vlm_fast.profiling.providers import NotOffered, Provider
from g2vlm_fast.profiling.records import Record, now
from g2vlm_fast.profiling.timing import (
    Plan,
    Round,
    build_round,
    kernel_launches,
    peak_mebibytes,
    seconds_a_call,
    time_limit,
)
from g2vlm_fast.profiling.truth import Errors, Truth, find_truth


class Refused(Exception):
    """No time is given: the output is wrong, or the provider cannot run the case."""


@dataclass(frozen=True)
class Job:
    """What is timed by one record."""

    case: Case
    provider: Provider
    direction: str

    @property
    def label(self) -> str:
        return f"{self.case.name} {self.direction} {self.provider.name}"

    @property
    def statistic(self) -> Callable[[Sequence[float]], float]:
        """How the times of the rounds become one: their best for eager cost, else their median."""
        return min if self.direction == "call" else statistics.median


@dataclass(frozen=True)
class Measurement:
    """A record, and what the schema has no room for."""

    record: Record
    launches: int | None
    method: str
    sets: int


class Workbench:
    """Holds the inputs and the truth of the case at hand, so that its providers share them."""

    def __init__(self) -> None:
        self._case: Case | None = None
        self._sets: list[Inputs] = []
        self._truths: dict[tuple[int, bool], Truth] = {}
        self._too_large: set[int] = set()
        self._hopeless: dict[tuple[str, str], str] = {}

    def sets(self, case: Case) -> list[Inputs]:
        if case is not self._case:
            self._truths.clear()
            self._too_large.clear()
            self._sets = []  # freed before the next case draws its own
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._sets = case.input_sets()
            self._case = case
        return self._sets

    def truth(self, case: Case, position: int, gradients: bool) -> Truth:
        """Return the truth of one set; with gradients wherever some pass will want them."""
        inputs = self.sets(case)[position]
        known = self._truths.get((position, True)) or self._truths.get((position, gradients))
        if known is None:
            wanted = gradients or ("fwd_bwd" in case.passes and position not in self._too_large)
            try:
                known = find_truth(case.spec, inputs, gradients=wanted)
            except torch.OutOfMemoryError as error:
                if wanted and not gradients:
                    self._too_large.add(position)
                    return self.truth(case, position, gradients)
                raise Refused("its float64 reference does not fit in memory") from error
            self._truths[position, wanted] = known
        return known

    def give_up(self, case: Case, provider: Provider, reason: str) -> None:
        """Remember that a provider cannot run a case, so that no other pass tries again."""
        self._hopeless[case.name, provider.name] = reason

    def check_hope(self, case: Case, provider: Provider) -> None:
        """Raise :class:`Refused` where the provider has failed on another pass of the case."""
        reason = self._hopeless.get((case.name, provider.name))
        if reason is not None:
            raise Refused(reason)


class Bench:
    """A checked job, ready to be timed; :func:`prepared` makes it."""

    def __init__(
        self, job: Job, calls: list[Callable[[], Any]], error: Errors, floor_ms: float | None
    ) -> None:
        self.job = job
        self.calls = calls
        self.error = error
        self.floor_ms = floor_ms

    def round(self, plan: Plan) -> Round:
        """Return what a timer calls; see :class:`~g2vlm_fast.profiling.timing.Round`."""
        if self.job.direction == "call":
            number = max(1, int(plan.round_seconds / timeit.timeit(self.calls[0], number=20) * 20))
            call = self.calls[0]
            return Round(lambda: _repeat(call, number), number, "host")
        return build_round(self.calls, self.job.case.device, plan)

    def record(self, seconds: float, commit: str, timed: Round) -> Measurement:
        """Return the record of a job that took ``seconds`` a call."""
        case = self.job.case
        called = self.job.direction == "call"
        on_gpu = case.device == "cuda"
        record = Record(
            suite=case.suite,
            case=case.name,
            provider=self.job.provider.name,
            direction=self.job.direction,
            ms=_rounded(1e3 * seconds),
            floor_ms=None if self.floor_ms is None else _rounded(self.floor_ms),
            peak_mib=None if called else _rounded(peak_mebibytes(self.calls[0], case.device)),
            error=_rounded(self.error.largest),
            device=hardware.device_name(case.device),
            torch=torch.__version__,
            commit=commit,
            date=now(),
        )
        launches = kernel_launches(self.calls[0]) if on_gpu else None
        return Measurement(record, launches, timed.method, len(self.calls))


@contextlib.contextmanager
def prepared(job: Job, workbench: Workbench, limit: float = math.inf) -> Iterator[Bench]:
    """Check a job on every input set that it will be timed on, and yield it ready to be timed.

    Args:
        job: what to check.
        workbench: where its inputs and their truth are.
        limit: seconds that the first call on a set may take.

    Raises:
        Refused: with the reason why there will be no time.
    """
    threads = torch.get_num_threads()
    if job.direction == "call":
        torch.set_num_threads(1)  # sixteen rows want no second one, which might be busy elsewhere
    try:
        with job.provider.context(job.case.spec):
            yield _checked(job, workbench, limit)
    finally:
        torch.set_num_threads(threads)


def _checked(job: Job, workbench: Workbench, limit: float) -> Bench:
    case, gradients = job.case, job.direction == "fwd_bwd"
    if (gradients or _with_grad(job)) and not job.provider.differentiable:
        raise Refused("it has no gradient")
    workbench.check_hope(case, job.provider)
    calls: list[Callable[[], Any]] = []
    errors: list[Errors] = []
    floor = None
    for position, inputs in enumerate(workbench.sets(case)):
        truth = workbench.truth(case, position, gradients)
        try:
            with time_limit(limit):
                function = job.provider.function(case.spec, inputs)
                bound = BoundCall(function, inputs, case.spec.grad_inputs, truth.upstream)
                call, outputs, found = _first_result(bound, job)
        except NotOffered as error:
            raise Refused(str(error)) from error
        except torch.OutOfMemoryError as error:
            raise Refused("it runs out of memory") from error
        except TimeoutError as error:
            reason = f"one call takes longer than {limit:g} s"
            workbench.give_up(case, job.provider, reason)
            raise Refused(reason) from error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise Refused(f"it raises {reason}") from error
        partial = job.provider.partial
        errors.append(truth.errors(case.spec, inputs, outputs, found, partial=partial))
        floor = case.floor_ms(inputs, job.direction, outputs)
        calls.append(call)
    worst = Errors(
        max(each.forward for each in errors),
        max(each.gradient or 0.0 for each in errors) if gradients else None,
    )
    _demand(worst, case)
    return Bench(job, calls, worst, floor)


def _with_grad(job: Job) -> bool:
    return job.direction == "call" and job.case.name.endswith("_grad")


def _first_result(
    bound: BoundCall, job: Job
) -> tuple[Callable[[], Any], list[torch.Tensor], dict[str, torch.Tensor] | None]:
    """Return the call that will be timed, and what it gave."""
    if job.direction == "fwd_bwd":
        outputs, gradients = bound.forward_backward()
        hardware.synchronize(job.case.device)
        return bound.forward_backward, [each.detach() for each in outputs], gradients
    called = job.direction == "call"
    call = bound.bare(with_grad=_with_grad(job)) if called else bound.forward
    outputs = [each.detach() for each in tensors(call())]
    hardware.synchronize(job.case.device)
    return call, outputs, None


def _demand(errors: Errors, case: Case) -> None:
    """Raise :class:`Refused` where an error is beyond the op's tolerance, or not a number."""
    tolerance = case.spec.tolerance[case.dtype]
    if not errors.forward <= tolerance.forward:
        raise Refused(f"its output is wrong: error {errors.forward:.1e} > {tolerance.forward:.1e}")
    if errors.gradient is not None and not errors.gradient <= tolerance.gradient:
        raise Refused(
            f"its gradient is wrong: error {errors.gradient:.1e} > {tolerance.gradient:.1e}"
        )


def measure(job: Job, workbench: Workbench, plan: Plan, commit: str) -> Measurement:
    """Check and time a job.

    Raises:
        Refused: with the reason why there is no time.
    """
    with prepared(job, workbench, plan.limit) as bench:
        timed = bench.round(plan)
        seconds = seconds_a_call(timed, job.case.device, plan, job.statistic)
        return bench.record(seconds, commit, timed)


def jobs_of(cases: list[Case], providers: Callable[..., Any]) -> Iterator[Job]:
    """Return the jobs of ``cases``, all those of one case together."""
    for case in cases:
        for direction in case.passes:
            for provider in providers(case.spec, case.device):
                yield Job(case, provider, direction)


def _repeat(call: Callable[[], Any], number: int) -> None:
    for _ in range(number):
        call()


def _rounded(value: float | None) -> Any:
    return None if value is None else float(f"{value:.4g}")
