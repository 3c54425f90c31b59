"""What the texts of many rooms ask, how their answers are spread, and what a blind guesser gets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from g2vlm_fast.data.language.blind import Blind, Majority, ShuffledGeometry, score
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.scene import Query, Scene
from g2vlm_fast.records import Task

Room = tuple[Scene, Sequence[Query]]
"""A room with truth, and texts about it."""


@dataclass(frozen=True)
class KindStatistics:
    """Questions of one kind about validation rooms, and how guessers score on them.

    Scores are means from 0 to 1: exact match of words, mean relative accuracy of numbers.
    """

    kind: str
    questions: int
    answers: dict[str, int]  # how often each answer is given; empty where answers are numbers
    majority: float
    blind: float
    shuffled: float

    @property
    def uniform(self) -> float:
        """Score of a guesser that draws among the answers; 0 where they are numbers."""
        return 1 / len(self.answers) if self.answers else 0.0

    @property
    def greatest_share(self) -> float:
        """Share of the most frequent answer; 0 where answers are numbers."""
        return max(self.answers.values()) / self.questions if self.answers else 0.0


def kind_statistics(
    training: Sequence[Room], validation: Sequence[Room]
) -> dict[str, KindStatistics]:
    """Count questions and answers of validation rooms, and score the guessers on them.

    Args:
        training: rooms and texts that the guessers are fitted to.
        validation: rooms and texts that are counted and guessed, at least two.

    Returns:
        The statistics by kind, of the kinds that both have questions of.

    Raises:
        ValueError: fewer than two validation rooms, or a room without truth.
    """
    if len(validation) < 2:
        raise ValueError(
            "kind_statistics: shuffled geometry needs at least 2 validation rooms, "
            f"got {len(validation)}"
        )
    fitted = [query for _, queries in training for query in queries if _is_question(query)]
    majority, blind = Majority(fitted), Blind(fitted)
    shuffled = ShuffledGeometry([_executor(scene) for scene, _ in validation], majority)
    known = {query.kind for query in fitted}
    asked: dict[str, list[tuple[int, Query]]] = defaultdict(list)
    for index, (_, queries) in enumerate(validation):
        for query in queries:
            if _is_question(query) and query.kind in known:
                asked[query.kind].append((index, query))
    found = {}
    for kind, entries in asked.items():
        count = len(entries)
        found[kind] = KindStatistics(
            kind=kind,
            questions=count,
            answers=dict(
                Counter(q.answer for _, q in entries if q.answer and q.value is None).most_common()
            ),
            majority=sum(score(q, majority.guess(q)) for _, q in entries) / count,
            blind=sum(score(q, blind.guess(q)) for _, q in entries) / count,
            shuffled=sum(score(q, shuffled.guess(q, room)) for room, q in entries) / count,
        )
    return found


def statistics_table(training: Sequence[Room], validation: Sequence[Room]) -> str:
    """Return the statistics of the texts of rooms as plain text for people.

    Arguments and errors are those of :func:`kind_statistics`.
    """
    found = kind_statistics(training, validation)
    texts = [query for _, queries in validation for query in queries]
    lines = [
        f"{len(validation)} rooms, {len(texts)} texts, "
        f"{sum(row.questions for row in found.values())} questions; "
        f"guessers fitted to {len(training)} rooms",
        _counts("SQA3D types", Counter(q.sqa3d_type for q in texts if q.sqa3d_type)),
        _counts("VSI-Bench tasks", Counter(q.vsi_type for q in texts if q.vsi_type)),
        "",
        f"{'kind':<26}{'asked':>6}{'answers':>8}{'uniform':>8}{'largest':>8}"
        f"{'majority':>9}{'blind':>7}{'shuffled':>9}  most frequent answers",
    ]
    for row in found.values():
        frequent = ", ".join(f"{answer} {n}" for answer, n in list(row.answers.items())[:4])
        lines.append(
            f"{row.kind:<26}{row.questions:>6}{len(row.answers) or 'numbers':>8}"
            f"{_share(row.uniform):>8}{_share(row.greatest_share):>8}"
            f"{_share(row.majority):>9}{_share(row.blind):>7}{_share(row.shuffled):>9}"
            f"  {frequent}"
        )
    lines.append("scores in %: exact match of words, mean relative accuracy of numbers")
    return "\n".join(lines)


def _counts(title: str, counts: Counter[str]) -> str:
    return f"{title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _share(value: float) -> str:
    return f"{100 * value:.1f}" if value else "-"


def _is_question(query: Query) -> bool:
    return query.task == Task.QUESTION and query.answer is not None


def _executor(scene: Scene) -> Executor:
    if scene.truth is None:
        raise ValueError(f"kind_statistics: scene {scene.name!r} has no truth")
    return Executor(Facts(scene.truth, scene.poses, scene.gravity))
