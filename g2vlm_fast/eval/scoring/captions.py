"""Captions against the true description that was made of the same scene.

The reference is one of many true descriptions, so that no system comes near 1. What answers a
request is the caption that names it, else the first caption that names none.
"""

from __future__ import annotations

import numpy as np

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.facts import is_caption
from g2vlm_fast.eval.metrics.captioning import BleuSums, bleu_sums, cider, rouge_l
from g2vlm_fast.eval.metrics.language import token_f1, tokens
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Item
from g2vlm_fast.eval.scoring.caption_frequencies import caption_frequencies
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.statistics import Array

_ORDERS = 4


def bleu_of_rows(rows: Array) -> Array:
    """Return BLEU-4 ``[...]`` of summed rows: matched, possible n-grams, length, reference's."""
    matched, possible = rows[..., :_ORDERS], rows[..., _ORDERS : 2 * _ORDERS]
    length, reference = rows[..., -2], rows[..., -1]
    some = np.asarray((matched > 0).all(axis=-1, keepdims=True))
    precision = np.where(some, matched, 1.0) / np.where(some, possible, 1.0)
    brevity = np.minimum(0.0, 1 - reference / np.where(length > 0, length, 1.0))
    bleu = np.where(some[..., 0], np.exp(brevity + np.log(precision).mean(-1)), 0.0)
    return np.where(reference > 0, bleu, np.nan)


def _reference_words(rows: Array) -> Array:
    return rows[..., -1]


SCORES = (
    Score(
        "caption_bleu_4",
        "captions",
        "geometric mean of the precisions of 1- to 4-grams over all captions, times the brevity "
        "penalty",
        statistic=bleu_of_rows,
        items=_reference_words,
    ),
    Score(
        "caption_cider_d",
        "captions",
        "CIDEr-D, 0 to 10: similarity of 1- to 4-grams weighed by how few captions of training "
        "rooms have them",
    ),
    Score("caption_rouge_l", "captions", "F of the longest common subsequence, beta 1.2"),
    Score("caption_token_f1", "captions", "F1 of tokens in common, in any order", headline=True),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the captions of one scene."""
    requests = [query for query in case.queries if is_caption(query)]
    if not requests:
        return Judgement()
    by_request = {caption.request: caption.text for caption in reversed(prediction.captions)}
    bleu = BleuSums(np.zeros(_ORDERS), np.zeros(_ORDERS), 0.0, 0.0)
    rouge = consensus = overlap = 0.0
    items = []
    for query in requests:
        said = by_request.get(query.text, by_request.get("", ""))
        truth = query.answer or ""
        score = token_f1(said, truth)
        ours, theirs = tokens(said), [tokens(truth)]
        bleu = bleu + bleu_sums(ours, theirs)
        rouge += rouge_l(ours, theirs)
        consensus += float(cider([ours], [theirs], frequencies=caption_frequencies())[0])
        overlap += score
        items.append(Item("captions", query.kind, query.text, said, truth, score))
    count = float(len(requests))
    return Judgement(
        {
            "caption_bleu_4": (
                *bleu.matched.tolist(),
                *bleu.possible.tolist(),
                bleu.length,
                bleu.reference_length,
            ),
            "caption_cider_d": (consensus, count),
            "caption_rouge_l": (rouge, count),
            "caption_token_f1": (overlap, count),
        },
        tuple(items),
    )
