"""Scores of answers and captions."""

from __future__ import annotations

import re
from collections import Counter

_TOKEN = re.compile(r"<\w+>|[^\W_]+(?:['.][^\W_]+)*")


def tokens(text: str) -> list[str]:
    """Return the lower-case words and numbers of a text; punctuation is left out."""
    return _TOKEN.findall(text.lower())


def exact_match(predicted: str, truth: str) -> bool:
    """Whether both texts have the same tokens in the same order (EM@1 of ScanQA, CVPR 2022).

    Case and punctuation do not count. A substring is no match, and an empty answer matches
    only an empty truth.
    """
    return tokens(predicted) == tokens(truth)


def token_f1(predicted: str, truth: str) -> float:
    """Harmonic mean of token precision and recall as multisets (Rajpurkar et al., EMNLP 2016)."""
    ours, theirs = Counter(tokens(predicted)), Counter(tokens(truth))
    shared = (ours & theirs).total()
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * shared / (ours.total() + theirs.total())


def within_tolerance(predicted: float, truth: float, relative: float = 0.2) -> bool:
    """Whether a number lies within ``relative`` of the truth; NaN never does.

    A truth of 0 asks for exactness up to 1e-9.
    """
    return abs(predicted - truth) <= max(relative * abs(truth), 1e-9)
