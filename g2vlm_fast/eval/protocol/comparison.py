"""Two systems on the same scenes: which is better, by how much, and whether that is luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from g2vlm_fast.eval.protocol.records import Difference
from g2vlm_fast.eval.protocol.runs import Run, RunError
from g2vlm_fast.eval.scoring.score import Score
from g2vlm_fast.eval.statistics import Array, cluster_bootstrap, holm, paired_d, swap_test


def compare(first: Run, second: Run, scores: Sequence[Score], *, seed: int = 0) -> list[Difference]:
    """Compare two systems, score by score, paired by scene.

    The difference is that of the scores over all scenes, its interval from resampling scenes with
    the rows of both systems together, and its test from exchanging these rows scene by scene.
    Cohen's d is of the differences of the scores of single scenes, which weigh each scene alike; a
    scene on which a system has no such score is no part of it.

    Args:
        first: positive differences say that it is better.
        second: of the same benchmark, scored by the same version.
        scores: in their order; those of tasks that a system does not attempt are left out.
        seed: of resampling and of random signs.

    Raises:
        RunError: the runs are of different benchmarks or versions of the scores, or have no score
            in common.
    """
    _check_comparable(first, second)
    tasks = set(first.summary.tasks) & set(second.summary.tasks)
    shared = [score for score in scores if score.task in tasks]
    differences = []
    for score in shared:
        pairs = [
            (ours.rows[score.name], theirs.rows[score.name])
            for ours, theirs in zip(first.records, second.records, strict=True)
            if score.name in ours.rows and score.name in theirs.rows
        ]
        if pairs:
            differences.append(_difference(score, np.array(pairs, dtype=np.float64), seed))
    if not differences:
        raise RunError(
            f"{first.folder} and {second.folder}: have no score in common; the first attempts "
            f"{', '.join(first.summary.tasks)}, the second {', '.join(second.summary.tasks)}"
        )
    adjusted = holm([difference.p_value for difference in differences])
    return [
        replace(difference, p_holm=float(p))
        for difference, p in zip(differences, adjusted, strict=True)
    ]


def _difference(score: Score, pairs: Array, seed: int) -> Difference:
    """Compare the rows ``[scenes, 2, columns]`` of two systems."""
    pairs = pairs[(pairs != 0).any((1, 2))]
    columns = pairs.shape[2]
    sign = 1.0 if score.higher_is_better else -1.0

    def gain(sums: Array) -> Array:
        """How much better the first system is, from the sums of both ``[..., 2 * columns]``."""
        return sign * (score.statistic(sums[..., :columns]) - score.statistic(sums[..., columns:]))

    table = pairs.reshape(len(pairs), 2 * columns)
    interval = cluster_bootstrap(table, gain, seed=seed)
    by_scene = gain(table)
    by_scene = by_scene[np.isfinite(by_scene)]
    return Difference(
        name=score.name,
        value=float(gain(table.sum(0))),
        low=interval.low,
        high=interval.high,
        p_value=swap_test(pairs, gain, seed=seed),
        p_holm=float("nan"),
        effect=paired_d(by_scene) if len(by_scene) > 1 else float("nan"),
        scenes=len(by_scene),
    )


def _check_comparable(first: Run, second: Run) -> None:
    ours, theirs = first.identity, second.identity
    for name in ("benchmark", "benchmark_fingerprint", "scenes", "scoring"):
        if getattr(ours, name) != getattr(theirs, name):
            what = name.replace("_", " ")
            raise RunError(
                f"{first.folder} and {second.folder}: cannot be compared, their {what} differs "
                f"({_short(getattr(ours, name))} and {_short(getattr(theirs, name))}); evaluate "
                "both on the same benchmark with the same version"
            )


def _short(value: str | tuple[str, ...]) -> str:
    return f"{len(value)} scenes" if isinstance(value, tuple) else value
