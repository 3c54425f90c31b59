"""How the numbers came about and what they are worth: the last section of the page."""

from __future__ import annotations

from g2vlm_fast.pipeline.evaluation_report.material import Material
from g2vlm_fast.pipeline.evaluation_report.worth import (
    coverage_table,
    power_sentence,
    worth_of_intervals,
)
from g2vlm_fast.report.markup import Chapter, chapter, tag


def method(material: Material) -> Chapter:
    """Return the section that says how to read the page."""
    return chapter(
        "method",
        "How to read this",
        tag("h3", "Scores"),
        tag(
            "p",
            "Every scene keeps sums (of distances, of right answers, of matched boxes), and a "
            "score is a function of their total over scenes, never a mean of scores. So a scene "
            "with more questions weighs more, and a score of many scenes need not lie amid those "
            "of single ones. A scene that a system fails on keeps its place in every denominator.",
        ),
        tag("h3", "Intervals"),
        tag(
            "p",
            "Scenes are the independent units: answers about one room resemble each other. "
            "Intervals resample whole scenes (BCa bootstrap; where it is undefined, the percentile "
            "interval or Wilson's, which the tooltip of an interval names). They say what other "
            "scenes of this kind would give, not what other training runs would. ",
            worth_of_intervals(len(material.scenes)),
        ),
        tag("h4", "How often a simulated 95 % interval holds the truth, by number of scenes"),
        coverage_table(),
        tag("h3", "Tests"),
        tag(
            "p",
            "Two systems are compared on the same scenes: the signs of the differences between "
            "them are flipped at random, and p says how often that gives a difference as large as "
            "the one seen. Of many tests some find what is not there; Holm's adjustment bounds the "
            "chance that any does. A difference that is not shown is not shown to be absent. ",
            power_sentence(len(material.scenes)),
        ),
        tag(
            "p",
            "The folder plots beside this page holds its charts as PNG and SVG.",
            class_="note",
        ),
    )
