"""The commands evaluate and compare on toys, which take no time to make and to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from toy_evaluation import FEW_TASKS, ToyBenchmark, ToySystem

from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.runs import Run
from g2vlm_fast.pipeline import evaluation


def use_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put three toy rooms in place of generated ones, and toys in place of systems."""
    systems = {
        "good": lambda: ToySystem(error=0.1, name="good", tasks=FEW_TASKS, looks_at_truth=False),
        "bad": lambda: ToySystem(
            error=0.9, name="bad", tasks=FEW_TASKS, fails_on=("toy-1",), looks_at_truth=False
        ),
    }

    def write_page(runs: Sequence[Run], out: Path, cases: Iterable[Case] = ()) -> None:
        """Charts take seconds; tests/test_evaluation_report.py looks at the page."""
        out.write_text(" ".join([*(run.summary.system for run in runs), *(c.name for c in cases)]))

    monkeypatch.setattr(evaluation, "write_report", write_page)
    monkeypatch.setattr(evaluation, "SYSTEMS", systems)
    monkeypatch.setattr(evaluation, "benchmark_of", lambda config: ToyBenchmark(config.scenes or 3))
    monkeypatch.setenv("COLUMNS", "100")
