"""Tables of committed summaries, between their marks in a page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from g2vlm_fast.data.readers.safe_files import Fields
from g2vlm_fast.eval.protocol.record_files import read_summary
from g2vlm_fast.eval.protocol.records import Estimate, Summary
from g2vlm_fast.files import write_text

_ROOT = Path(__file__).parents[2]
RESULTS = _ROOT / "benchmarks" / "results" / "untrained"
PAGE = _ROOT / "docs" / "baselines.md"

COLUMNS: Mapping[str, Sequence[str]] = {
    "surface": (
        "chamfer_l1", "f_score_5cm", "completeness_hidden", "recall_5cm_hidden",
        "f_score_5cm_hidden", "occupancy_iou_10cm_hidden",
    ),
    "parts": (
        "accuracy", "completeness", "mesh_f_score_5cm", "mesh_iou", "mesh_normal_consistency",
        "depth_abs_rel", "depth_abs_rel_missing",
    ),
    "language": (
        "answer_score", "answer_exact_match", "number_mean_relative_accuracy",
        "grounding_acc_25", "grounding_f1_25", "caption_token_f1",
    ),
    "graph": (
        "object_f1_25", "spq_node_25", "spq", "spq_given_objects", "triplet_f1",
        "triplet_mean_recall_50",
    ),
}  # fmt: skip
"""Scores by kind of table."""

_TABLE = re.compile(
    r"(?P<open><!-- table (?P<kind>[\w-]+) (?P<key>[\w-]+) -->\n).*?(?P<close><!-- end -->)",
    re.DOTALL,
)
_METRES = frozenset(("chamfer_l1", "completeness_hidden", "accuracy", "completeness"))
_LEAST_QUESTIONS = 20


def renew_tables(page: Path, results: Path) -> None:
    """Write every table of a page anew; a mark says its kind and its benchmark."""
    text = page.read_text(encoding="utf-8")
    write_text(page, with_tables(text, results))


def with_tables(text: str, results: Path) -> str:
    """Return a page with its tables filled.

    Raises:
        ValueError: a mark asks for an unknown kind of table, or for a benchmark without results.
    """

    def table(mark: re.Match[str]) -> str:
        summaries = read_results(results / mark["key"])
        if mark["kind"] == "kinds":
            made = kinds_table(summaries)
        elif mark["kind"] in COLUMNS:
            made = scores_table(summaries, COLUMNS[mark["kind"]])
        else:
            raise ValueError(f"table {mark['kind']!r} must be one of {['kinds', *COLUMNS]}")
        return f"{mark['open']}{made}{mark['close']}"

    return _TABLE.sub(table, text)


def read_results(folder: Path) -> list[Summary]:
    """Read the summaries of a benchmark, in the order of their names.

    Raises:
        ValueError: there is none.
        ScanError: a file is damaged.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ValueError(f"{folder} holds no summary; run python -m g2vlm_fast.eval.untrained")
    return [read_summary(file, Fields.read(file).values.get("versions", {})) for file in files]


def scores_table(summaries: Sequence[Summary], scores: Sequence[str]) -> str:
    """A row for each system that has any of the scores; the best first by the first score."""
    rows = []
    for summary in summaries:
        found = {estimate.name: estimate for estimate in summary.estimates}
        if any(name in found for name in scores):
            rows.append((summary.system, [found.get(name) for name in scores]))
    shown = [n for n in range(len(scores)) if any(cells[n] is not None for _, cells in rows)]
    rows.sort(key=lambda row: _rank(row[1][shown[0]], scores[shown[0]]))
    header = [_title(scores[n]) for n in shown]
    lines = [
        f"| {system} | " + " | ".join(_cell(cells[n]) for n in shown) + " |"
        for system, cells in rows
    ]
    return "\n".join([_line("system", header), _rule(len(shown)), *lines]) + "\n"


def kinds_table(summaries: Sequence[Summary]) -> str:
    """A row for each kind of question that was asked often enough, a column for each system."""
    asked = [summary for summary in summaries if summary.by_kind]
    kinds = sorted(kind for kind, e in asked[0].by_kind.items() if e.count >= _LEAST_QUESTIONS)
    lines = [
        f"| {kind.replace('_', ' ')} | {asked[0].by_kind[kind].count:.0f} | "
        + " | ".join(_cell(summary.by_kind.get(kind), interval=False) for summary in asked)
        + " |"
        for kind in kinds
    ]
    header = ["questions", *(summary.system for summary in asked)]
    return "\n".join([_line("kind", header), _rule(len(header)), *lines]) + "\n"


def _line(first: str, others: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(others) + " |"


def _rule(columns: int) -> str:
    return "|---|" + "---:|" * columns


def _title(score: str) -> str:
    return score.replace("_", " ") + (", m" if score in _METRES else "")


def _rank(estimate: Estimate | None, score: str) -> float:
    if estimate is None:
        return float("inf")
    return estimate.value if score in _METRES else -estimate.value


def _cell(estimate: Estimate | None, *, interval: bool = True) -> str:
    if estimate is None or math.isnan(estimate.value):
        return ""
    if not interval:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
