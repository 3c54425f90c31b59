"""Systems against each other on the same scenes: by how much, and whether that is luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from g2vlm_fast.eval.protocol.comparison import compare
from g2vlm_fast.eval.protocol.records import Difference
from g2vlm_fast.eval.scoring.score import Score
from g2vlm_fast.pipeline.evaluation_report.charts import difference_row, reach
from g2vlm_fast.pipeline.evaluation_report.material import Judged, Material, title_of
from g2vlm_fast.pipeline.evaluation_report.worth import power_sentence
from g2vlm_fast.report.charts import Axis
from g2vlm_fast.report.markup import Chapter, Markup, chapter, tag
from g2vlm_fast.report.numbers import counted, shown_p, shown_range, signed
from g2vlm_fast.report.whiskers import mark, whisker

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two systems and how they differ, score by score."""

    first: Judged
    second: Judged
    differences: tuple[Difference, ...]

    def winner(self, difference: Difference) -> Judged | None:
        """Which system is shown to be better, if one is."""
        if not difference.p_holm <= LEVEL or difference.value == 0:
            return None
        return self.first if difference.value > 0 else self.second


def compare_all(material: Material) -> tuple[Comparison, ...]:
    """Compare the first system with each other one that shares a score with it."""
    first, *others = material.judged
    return tuple(
        Comparison(first, other, tuple(compare(first.run, other.run, material.scores)))
        for other in others
        if first.estimates.keys() & other.estimates.keys()
    )


def comparisons(found: Sequence[Comparison], material: Material) -> Chapter | None:
    """Return the section of comparisons, the first one open."""
    if material.alone:
        return None
    scores = {score.name: score for score in material.scores}
    return chapter(
        "comparisons",
        "Paired comparisons",
        tag(
            "p",
            f"{material.judged[0].label} is compared with each other system on the same scenes. A "
            "difference is positive where it is the better one, whichever way the score points. p "
            "is that of a two-sided permutation test, which exchanges the systems in some scenes; "
            "Holm's p is adjusted for all scores of a table, and “better” means that it is at most "
            "0.05. d is the mean difference of single scenes in units of its spread.",
        ),
        tag("p", power_sentence(len(material.scenes)), class_="note"),
        *(_comparison(each, scores, opened=number == 0) for number, each in enumerate(found)),
        _uncompared(len(material.judged) - 1 - len(found)),
    )


def _uncompared(systems: int) -> Markup | None:
    if not systems:
        return None
    return tag("p", f"{counted(systems, 'system')} without a score in common.", class_="note")


def _comparison(found: Comparison, scores: dict[str, Score], *, opened: bool) -> Markup:
    winners = [found.winner(each) for each in found.differences]
    verdict = (
        f"better in {winners.count(found.first)}, worse in {winners.count(found.second)} of "
        f"{counted(len(winners), 'score')}"
    )
    heads = ("Score", "Difference", "95 % interval", "", "p", "Holm", "d", "Scenes", "Shown")
    numbers = {1, 2, 4, 5, 6, 7}
    head = tag(
        "tr",
        *(
            tag("th", name, scope="col", class_="number" if column in numbers else None)
            for column, name in enumerate(heads)
        ),
    )
    rows = (_row(each, scores[each.name], found) for each in found.differences)
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="differences")
    return tag(
        "details",
        tag(
            "summary",
            mark(found.first.number), f" {found.first.label} against ",
            mark(found.second.number), f" {found.second.label}: ", tag("b", verdict),
        ),
        tag("div", table, class_="scroll"),
        open=opened, class_="print",
    )  # fmt: skip


def _row(difference: Difference, score: Score, found: Comparison) -> Markup:
    winner = found.winner(difference)
    if winner is None:
        verdict = tag("td", "not shown", class_="soft")
    else:
        good = winner is found.first
        verdict = tag("td", "better" if good else "worse", class_="good" if good else "bad")
    span = reach(difference) or 1.0
    row = difference_row(difference, score, found.first.number)
    return tag(
        "tr",
        tag("th", title_of(score), scope="row"),
        tag("td", signed(difference.value, score.unit), class_="number value"),
        tag("td", shown_range(difference.low, difference.high), class_="number range"),
        tag("td", whisker(row, Axis(-span, span)), class_="drawn"),
        tag("td", shown_p(difference.p_value), class_="number"),
        tag("td", shown_p(difference.p_holm), class_="number"),
        tag("td", signed(difference.effect), class_="number"),
        tag("td", f"{difference.scenes:,}", class_="number count"),
        verdict,
    )
