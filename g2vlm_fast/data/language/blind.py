"""Guessers that answer without seeing the room: what a score must beat to mean anything.

* The majority answers the most frequent answer of a kind of question (the median of numbers).
* The blind guesser reads the question: it gives the most frequent answer of the very same text,
  else the likeliest answer by its words (naive Bayes with add-one smoothing, within the kind).
* Shuffled geometry runs the question's program over another room, where it has an answer there.

Words are scored by exact match, numbers by the mean relative accuracy of VSI-Bench (Yang et al.,
CVPR 2025): the share of thresholds 0.5, 0.55, ... 0.95 such that the relative error is below one
minus the threshold.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set

from g2vlm_fast.data.language.answers import split_words
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.programs import Sort
from g2vlm_fast.data.scene import Query

Guess = str | float
_TOLERANCES = tuple(round(0.5 - 0.05 * step, 2) for step in range(10))


def true_answer(query: Query) -> Guess:
    """Return the answer of a question: its value where it is a number, else its words.

    Raises:
        ValueError: the query has no answer.
    """
    if query.answer is None:
        raise ValueError(f"true_answer: {query.text!r} has no answer")
    return query.answer if query.value is None else query.value


def score(query: Query, guess: Guess) -> float:
    """Return how good a guess is, from 0 to 1: exact match, or mean relative accuracy."""
    truth = true_answer(query)
    if isinstance(truth, str) or isinstance(guess, str):
        return float(truth == guess)
    if truth == 0:
        return float(guess == 0)
    error = abs(guess - truth) / abs(truth)
    return sum(error < tolerance for tolerance in _TOLERANCES) / len(_TOLERANCES)


def most_frequent(answers: Iterable[Guess]) -> Guess:
    """Return the most frequent answer, the first by name of several; the median of numbers.

    Raises:
        ValueError: no answers.
    """
    given = list(answers)
    if not given:
        raise ValueError("most_frequent: answers must not be empty")
    numbers = [answer for answer in given if not isinstance(answer, str)]
    if len(numbers) == len(given):
        return statistics.median_low(numbers)
    counts = Counter(str(answer) for answer in given)
    return min(counts, key=lambda answer: (-counts[answer], answer))


class Majority:
    """Answers the most frequent answer of the kind of a question."""

    def __init__(self, training: Iterable[Query]) -> None:
        answers: dict[str, list[Guess]] = defaultdict(list)
        for query in training:
            answers[query.kind].append(true_answer(query))
        self._answers = {kind: most_frequent(given) for kind, given in answers.items()}

    @property
    def kinds(self) -> Set[str]:
        """The kinds of questions that it has a guess for."""
        return self._answers.keys()

    def guess(self, query: Query) -> Guess:
        """Return the guess for a question.

        Raises:
            ValueError: no training question was of its kind.
        """
        if query.kind not in self._answers:
            raise ValueError(f"Majority: no training question is of the kind {query.kind!r}")
        return self._answers[query.kind]


class Blind:
    """Answers by the text of a question alone."""

    def __init__(self, training: Sequence[Query]) -> None:
        self._majority = Majority(training)
        by_text: dict[str, list[Guess]] = defaultdict(list)
        by_wording: dict[str, list[Guess]] = defaultdict(list)
        self._answers: dict[str, Counter[str]] = defaultdict(Counter)
        self._words: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._known: dict[str, set[str]] = defaultdict(set)
        for query in training:
            answer = true_answer(query)
            by_text[query.text].append(answer)
            by_wording[query.wording].append(answer)
            if isinstance(answer, str):
                words = set(split_words(query.text))
                self._answers[query.kind][answer] += 1
                self._words[query.kind, answer].update(words)
                self._known[query.kind] |= words
        self._by_text = {text: most_frequent(given) for text, given in by_text.items()}
        self._by_wording = {w: most_frequent(given) for w, given in by_wording.items()}

    def guess(self, query: Query) -> Guess:
        """Return the guess for a question."""
        if query.text in self._by_text:
            return self._by_text[query.text]
        if query.kind in self._answers:
            return self._likeliest(query)
        return self._by_wording.get(query.wording, self._majority.guess(query))

    def _likeliest(self, query: Query) -> str:
        answers = self._answers[query.kind]
        words = set(split_words(query.text)) & self._known[query.kind]

        def evidence(answer: str) -> float:
            seen = self._words[query.kind, answer]
            count = answers[answer]
            return math.log(count) + sum(math.log((seen[w] + 1) / (count + 2)) for w in words)

        return max(sorted(answers), key=evidence)


class ShuffledGeometry:
    """Answers a question about one room from the truth of another one.

    Args:
        rooms: executors of the rooms, in a fixed order.
        majority: answers where none of the next few rooms has an answer.
    """

    _ROOMS_TRIED = 8

    def __init__(self, rooms: Sequence[Executor], majority: Majority) -> None:
        self._rooms = rooms
        self._majority = majority

    def guess(self, query: Query, room: int) -> Guess:
        """Return the guess for a question about a room, by its place in the order.

        Raises:
            ValueError: the query has no program.
        """
        if query.program is None:
            raise ValueError(f"ShuffledGeometry: {query.text!r} has no program")
        for step in range(1, min(self._ROOMS_TRIED, len(self._rooms) - 1) + 1):
            result = self._rooms[(room + step) % len(self._rooms)].try_run(query.program)
            if result is not None:
                if query.program.gives == Sort.TRUTH:
                    return "yes" if result else "no"
                return float(result) if query.program.gives == Sort.NUMBER else str(result)
        return self._majority.guess(query)
