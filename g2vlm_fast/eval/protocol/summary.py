"""From the sums of scenes to numbers with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from g2vlm_fast.eval.protocol.identity import RunIdentity
from g2vlm_fast.eval.protocol.records import Estimate, Row, SceneRecord, Summary
from g2vlm_fast.eval.protocol.systems import Task
from g2vlm_fast.eval.scoring.score import Score
from g2vlm_fast.eval.statistics import Array, cluster_bootstrap, wilson_interval

ANSWERS: Task = "answers"
"""The task whose items are also counted by kind."""


def summarise(
    records: Sequence[SceneRecord],
    scores: Sequence[Score],
    identity: RunIdentity,
    *,
    seed: int = 0,
) -> Summary:
    """Sum records up, score by score, with intervals by resampling scenes.

    Args:
        records: of every scene of the benchmark, in any order.
        scores: what to compute; scores of tasks that the system does not attempt, and those that
            no record has because the benchmark does not ask for them, are left out.
        identity: of the run.
        seed: of the resampling.

    Returns:
        The same, bit by bit, for the same records in whatever order; without ``versions``.

    Raises:
        ValueError: a record is missing, comes twice or is of another benchmark; rows of a score
            have different lengths.
    """
    by_name = {record.name: record for record in records}
    if len(by_name) != len(records) or by_name.keys() != set(identity.scenes):
        odd = sorted(set(identity.scenes) ^ by_name.keys()) or [r.name for r in records]
        raise ValueError(
            f"summarise: expected one record of each of the {len(identity.scenes)} scenes of "
            f"{identity.benchmark}, got {len(records)}; look at {odd[0]!r}"
        )
    ordered = [by_name[name] for name in identity.scenes]
    asked = [score for score in scores if score.task in identity.tasks]
    estimates = []
    for score in asked:
        rows = [record.rows[score.name] for record in ordered if score.name in record.rows]
        if rows:
            estimates.append(estimate(score, rows, seed=seed))
    return Summary(
        system=identity.system,
        benchmark=identity.benchmark,
        fingerprint=identity.benchmark_fingerprint,
        looks_at_truth=identity.looks_at_truth,
        tasks=identity.tasks,
        scenes=len(ordered),
        failures={record.name: record.failure for record in ordered if record.failure},
        estimates=tuple(estimates),
        by_kind=_by_kind(ordered, seed),
        unasked={record.name: record.unasked for record in ordered if record.unasked},
    )


def estimate(score: Score, rows: Sequence[Row], *, seed: int = 0) -> Estimate:
    """Compute a score over scenes.

    A scene whose sums are all 0 has nothing that the score counts, and is left out. Where all
    scenes agree on a rate, resampling sees no spread: the interval is then Wilson's, each scene
    counted once.

    Raises:
        ValueError: rows of different lengths.
    """
    table = table_of(score, rows)
    total = table.sum(0)
    value = float(score.statistic(total))
    interval = cluster_bootstrap(table, score.statistic, seed=seed)
    if score.rate and len(table) > 1 and interval.low == interval.high:
        interval = wilson_interval(len(table) * value, len(table))
    return Estimate(
        name=score.name,
        value=value,
        low=interval.low,
        high=interval.high,
        interval=interval.method,
        scenes=len(table),
        count=float(score.items(total)),
        chance=float("nan") if score.chance is None else float(score.chance(total)),
    )


def table_of(score: Score, rows: Iterable[Row]) -> Array:
    """The rows of the scenes that have a score, ``[scenes, columns]``."""
    rows = list(rows)
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"score {score.name!r}: rows must be of one length, got {sorted(lengths)}")
    table = np.array(rows, dtype=np.float64)
    return table[(table != 0).any(1)]


def _by_kind(records: Sequence[SceneRecord], seed: int) -> dict[str, Estimate]:
    sums: dict[str, dict[str, list[float]]] = {}
    for record in records:
        for item in record.items:
            if item.task == ANSWERS:
                row = sums.setdefault(item.kind, {}).setdefault(record.name, [0.0, 0.0])
                row[0] += item.score
                row[1] += 1.0
    return {
        kind: estimate(
            Score(kind, ANSWERS, "mean score of the answers of this kind", rate=True),
            [tuple(row) for row in sums[kind].values()],
            seed=seed,
        )
        for kind in sorted(sums)
    }
