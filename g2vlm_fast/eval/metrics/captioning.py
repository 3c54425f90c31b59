"""Scores of captions against reference texts: BLEU, ROUGE-L and CIDEr over a corpus.

Texts are compared as tokens of :func:`g2vlm_fast.eval.metrics.language.tokens`, not those of the
Stanford tokenizer that ``pycocoevalcap`` runs, so numbers agree with it where both cut a text
alike. Give texts or lists of tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.eval.metrics._arguments import Array, same_keys
from g2vlm_fast.eval.metrics.language import tokens

Text = str | Sequence[str]
Corpus = tuple[list[list[str]], list[list[list[str]]]]
Gram = tuple[str, ...]
_ORDERS = 4
_CIDER_SIGMA = 6.0


def corpus_of(predicted: Mapping[str, Text], references: Mapping[str, Sequence[Text]]) -> Corpus:
    """Return tokens of predictions and references, in the order of ``references``.

    Raises:
        ValueError: an item without a prediction (give ``""``, which scores 0), a prediction of an
            unknown item, or an item without references.
    """
    same_keys("corpus_of", list(predicted), list(references))
    for key, texts in references.items():
        if isinstance(texts, str) or not texts:
            raise ValueError(
                f"corpus_of: references of {key!r} must be a list of texts, at least one, got "
                f"{texts!r}"
            )
    said = [_cut(predicted[key]) for key in references]
    known = [[_cut(text) for text in texts] for texts in references.values()]
    return said, known


@dataclass(frozen=True)
class BleuSums:
    """Sums of one or more texts, which add over scenes: BLEU is a function of their total.

    Attributes:
        matched, possible: ``[4]`` n-grams that match a reference, and n-grams there are.
        length, reference_length: tokens; of references, the closest length (the shorter of two).
    """

    matched: Array
    possible: Array
    length: float
    reference_length: float

    def __add__(self, other: BleuSums) -> BleuSums:
        return BleuSums(
            self.matched + other.matched,
            self.possible + other.possible,
            self.length + other.length,
            self.reference_length + other.reference_length,
        )

    def bleu(self, order: int = 4) -> float:
        """BLEU-n in [0, 1]: the geometric mean of precisions to n, times the brevity penalty.

        0 where an order has no match; nothing is smoothed.
        """
        if not 1 <= order <= _ORDERS:
            raise ValueError(f"BleuSums.bleu: order must be 1 to {_ORDERS}, got {order}")
        matched, possible = self.matched[:order], self.possible[:order]
        if (matched == 0).any():
            return 0.0
        penalty = min(0.0, 1 - self.reference_length / self.length)
        return float(math.exp(penalty + np.log(matched / possible).mean()))


def bleu_sums(said: Sequence[str], references: Sequence[Sequence[str]]) -> BleuSums:
    """Return the sums of one tokenised text against its references.

    Source: Papineni et al., "BLEU", ACL 2002. Clipped counts; the corpus score sums them over
    texts before anything is divided, so a mean of sentence scores is another number.
    """
    matched, possible = np.zeros(_ORDERS), np.zeros(_ORDERS)
    for order in range(1, _ORDERS + 1):
        ours, most = _grams(said, order), Counter[Gram]()
        for reference in references:
            most |= _grams(reference, order)
        matched[order - 1] = (ours & most).total()
        possible[order - 1] = ours.total()
    closest = min((abs(len(each) - len(said)), len(each)) for each in references)[1]
    return BleuSums(matched, possible, float(len(said)), float(closest))


def rouge_l(
    said: Sequence[str], references: Sequence[Sequence[str]], *, beta: float = 1.2
) -> float:
    """ROUGE-L of one tokenised text in [0, 1], from longest common subsequences.

    ``F = (1 + beta^2) P R / (R + beta^2 P)`` with the best precision P and the best recall R over
    the references, as ``pycocoevalcap`` has it; beta = 1.2 there and 1 in most summarisation work.
    The score of a corpus is the mean over texts. Source: Lin, "ROUGE", 2004.
    """
    common = [(_common_subsequence(said, each), len(each)) for each in references]
    precision = max(length for length, _ in common) / len(said) if said else 0.0
    recall = max(length / count if count else 0.0 for length, count in common)
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


@dataclass(frozen=True)
class DocumentFrequencies:
    """How many documents of a corpus hold each n-gram of 1 to 4 tokens.

    Attributes:
        documents: how many there are; each is the references of one item.
        counts: of n-grams; one that is not listed counts as held by one document.
    """

    documents: int
    counts: Mapping[Gram, int]

    @classmethod
    def of(
        cls,
        references: Sequence[Sequence[Sequence[str]]],
        copies: NDArray[np.int64] | None = None,
    ) -> DocumentFrequencies:
        """Count tokenised references, each item as often as ``copies`` says."""
        times = [1] * len(references) if copies is None else copies.tolist()
        counts: Counter[Gram] = Counter()
        for texts, number in zip(references, times, strict=True):
            for gram in set().union(*(_all_grams(each) for each in texts)):
                counts[gram] += number
        return cls(sum(times), counts)


def cider(
    said: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
    *,
    copies: NDArray[np.int64] | None = None,
    frequencies: DocumentFrequencies | None = None,
) -> Array:
    """CIDEr-D ``[n]`` of every text of a corpus, each in [0, 10]; report the mean.

    For n of 1 to 4, the cosine of tf-idf vectors of n-grams, with counts clipped to those of the
    reference and a Gaussian penalty of the difference in length (sigma 6), averaged over
    references and n, times 10. Document frequencies are those of the references of the corpus
    at hand, so that the score of a text depends on the other texts: resample it with
    ``weighted_bootstrap`` and ``copies``, and never compare corpora. A corpus of one text scores
    0, as no word tells anything there.

    Args:
        said: n tokenised texts.
        references: n lists of tokenised references.
        copies: ``[n]`` how often each text is in the corpus; None for once. Texts with 0 copies
            do not add to document frequencies, and score NaN.

    Source: Vedantam, Zitnick and Parikh, "CIDEr", CVPR 2015.
    """
    number = np.ones(len(said), dtype=np.int64) if copies is None else np.asarray(copies)
    if len(said) != len(references) or number.shape != (len(said),):
        raise ValueError(
            f"cider: expected as many references and copies as texts, got {len(said)} texts, "
            f"{len(references)} references and copies {list(number.shape)}"
        )
    known = frequencies or DocumentFrequencies.of(references, number)
    total = math.log(max(known.documents, 1))
    scores = np.full(len(said), np.nan)
    for row in np.flatnonzero(number).tolist():
        ours = _vectors(_all_grams(said[row]), known.counts, total)
        each = [
            _similarity(
                ours, len(said[row]), _vectors(_all_grams(text), known.counts, total), len(text)
            )
            for text in references[row]
        ]
        scores[row] = 10 * float(np.mean(each))
    return scores


def _cut(text: Text) -> list[str]:
    return tokens(text) if isinstance(text, str) else list(text)


def _grams(words: Sequence[str], order: int) -> Counter[Gram]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def _all_grams(words: Sequence[str]) -> Counter[Gram]:
    grams: Counter[Gram] = Counter()
    for order in range(1, _ORDERS + 1):
        grams.update(_grams(words, order))
    return grams


def _vectors(
    grams: Counter[Gram], documents: Mapping[Gram, int], total: float
) -> list[dict[Gram, float]]:
    """Return tf-idf vectors, one for each order."""
    vectors: list[dict[Gram, float]] = [{} for _ in range(_ORDERS)]
    for gram, count in grams.items():
        weight = count * (total - math.log(max(1, documents.get(gram, 0))))
        vectors[len(gram) - 1][gram] = weight
    return vectors


def _similarity(
    ours: list[dict[Gram, float]], length: int, theirs: list[dict[Gram, float]], other: int
) -> float:
    penalty = math.exp(-((length - other) ** 2) / (2 * _CIDER_SIGMA**2))
    cosines = []
    for said, known in zip(ours, theirs, strict=True):
        dot = sum(
            min(weight, known.get(gram, 0.0)) * known.get(gram, 0.0)
            for gram, weight in said.items()
        )
        norm = math.hypot(*said.values()) * math.hypot(*known.values())
        cosines.append(dot / norm if norm > 0 else 0.0)
    return penalty * sum(cosines) / _ORDERS


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]
