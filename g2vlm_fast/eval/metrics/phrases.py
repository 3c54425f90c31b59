"""Phrase grounding: which objects the noun phrases of a caption or answer are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from g2vlm_fast.eval.metrics._arguments import same_keys
from g2vlm_fast.eval.metrics.graph import Counts

Span = tuple[int, int]
"""First character of a phrase and the one after its last."""


class GroundedPhrase(NamedTuple):
    """A phrase and the object that it is about."""

    span: Span
    object_id: int


def phrase_counts(
    predicted: Mapping[str, list[GroundedPhrase]], truth: Mapping[str, list[GroundedPhrase]]
) -> Counts:
    """Count (phrase, object) links; F1 is ``2 TP / (predicted + true)`` of ``Counts.f1_sums``.

    A predicted link is right if a true one has its object and an overlapping span; each true
    link is found once. Object ids are those of the truth, so predicted objects are matched by
    box before. Known variants ask for equal spans, or give the phrases and ask for recall of
    objects alone (Flickr30k Entities); F1 punishes whoever grounds everything everywhere.

    Args:
        predicted: links of each text.
        truth: the same texts; a text without phrases has an empty list.

    Raises:
        ValueError: texts that are missing, unknown, or an empty span.

    Source: Plummer et al., "Flickr30k Entities", ICCV 2015 (the task); F1 over links as in
    coreference and entity linking.
    """
    same_keys("phrase_counts", list(predicted), list(truth))
    hits = 0
    for side in (predicted, truth):
        for key, links in side.items():
            for (start, stop), _ in links:
                if not 0 <= start < stop:
                    raise ValueError(
                        f"phrase_counts: spans must be (first, after last) and not empty, got "
                        f"{(start, stop)} in {key!r}"
                    )
    for key, links in truth.items():
        hits += _matched(predicted[key], links)
    return Counts(hits, _size(predicted), _size(truth))


def _size(side: Mapping[str, list[GroundedPhrase]]) -> int:
    return sum(len(links) for links in side.values())


def _matched(ours: list[GroundedPhrase], theirs: list[GroundedPhrase]) -> int:
    """Return the size of the largest one-to-one matching of links."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    fits = np.array(
        [
            [
                one.object_id == other.object_id and _overlap(one.span, other.span)
                for other in theirs
            ]
            for one in ours
        ],
        dtype=float,
    ).reshape(len(ours), len(theirs))
    rows, columns = linear_sum_assignment(fits, maximize=True)
    return int(fits[rows, columns].sum())


def _overlap(first: Span, second: Span) -> bool:
    return max(first[0], second[0]) < min(first[1], second[1])
