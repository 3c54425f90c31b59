"""Scores of answers to questions: matches in three senses that must not share a column, numbers.

Exact match proper is :func:`g2vlm_fast.eval.metrics.language.exact_match`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from g2vlm_fast.eval.metrics._arguments import Array, float_array
from g2vlm_fast.eval.metrics.language import exact_match, tokens

MRA_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.50, 0.55, ... 0.95 of the mean relative accuracy."""


def exact_match_any(predicted: str, truths: Sequence[str]) -> bool:
    """EM@1: whether an answer has the tokens of one of several right ones, in order.

    Source: Azuma et al., "ScanQA", CVPR 2022.
    """
    return any(exact_match(predicted, truth) for truth in _answers("exact_match_any", truths))


def refined_match(predicted: str, truths: Sequence[str]) -> bool:
    """``em_r``: whether the tokens of one are a run of tokens of the other.

    "the brown chair" matches "brown chair"; "no" does not match "piano", and an answer without
    tokens matches nothing but one without tokens. This is what :func:`refined_match_legacy` means
    to be.
    """
    ours = tokens(predicted)
    for truth in _answers("refined_match", truths):
        theirs = tokens(truth)
        if ours == theirs or _holds(ours, theirs) or _holds(theirs, ours):
            return True
    return False


def refined_match_legacy(predicted: str, truths: Sequence[str]) -> bool:
    """``em_r_legacy``: whether one text holds the other after spaces are removed.

    For comparison with published EM-R numbers alone: an empty answer matches everything, and
    "no" matches "piano". Source: Huang et al., "An embodied generalist agent in 3D world", ICML
    2024, as its code has it.
    """
    ours = "".join(predicted.lower().split())
    return any(
        ours in theirs or theirs in ours
        for theirs in (
            "".join(truth.lower().split()) for truth in _answers("refined_match_legacy", truths)
        )
    )


def mean_relative_accuracy(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """MRA ``[n]``: the mean over t of whether ``|p - q| / q <= 1 - t``, t = 0.50, 0.55, ... 0.95.

    An answer that is no number (NaN or infinite) scores 0 and is counted. The bound counts as
    within, up to rounding. The paper prints ``<``, its code has ``<=``.

    Args:
        predicted: ``[n]``.
        truth: ``[n]``, positive.

    Raises:
        ValueError: a shape is wrong, or a truth is not positive, for which no relative error is
            defined; ask for counts of 0 by exact match.

    Source: Yang et al., "Thinking in Space" (VSI-Bench), CVPR 2025.
    """
    function = "mean_relative_accuracy"
    known = float_array(function, "truth", truth, ("n",))
    said = float_array(function, "predicted", predicted, (len(known),), finite=False)
    if (known <= 0).any():
        raise ValueError(f"{function}: truth must be positive, got {known.min()}")
    error = np.where(np.isfinite(said), np.abs(said - known) / known, np.inf)
    tolerance = 1 - np.array(MRA_THRESHOLDS)
    return (error[:, None] <= tolerance + 1e-9).mean(1)


def _holds(text: list[str], run: list[str]) -> bool:
    count = len(run)
    return count > 0 and any(
        text[start : start + count] == run for start in range(len(text) - count + 1)
    )


def _answers(function: str, truths: Sequence[str]) -> Sequence[str]:
    if isinstance(truths, str) or not truths:
        raise ValueError(
            f"{function}: expected a list of right answers, at least one, got {truths!r}"
        )
    return truths
