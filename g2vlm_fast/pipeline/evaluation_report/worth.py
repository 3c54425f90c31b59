"""What intervals and tests are worth at how many scenes."""

from __future__ import annotations

from g2vlm_fast.eval.statistics import smallest_effect
from g2vlm_fast.report.markup import Markup, tag
from g2vlm_fast.report.numbers import counted

SIMULATED_SCENES = (10, 20, 50, 100)
COVERAGE: dict[str, tuple[float, ...]] = {
    "normal": (89.9, 92.0, 93.7, 94.1),
    "skewed (exponential)": (88.1, 91.3, 93.2, 94.0),
    "binary, one a scene (a third)": (97.0, 95.9, 95.6, 95.0),
    "binary, 5 to 15 a scene (67 %)": (91.1, 93.4, 94.7, 94.2),
    "heavy tail (log-normal)": (83.0, 87.6, 90.5, 92.5),
}
"""Percent of 4000 simulated draws whose 95 % BCa interval holds the truth: docs/statistics.md."""


def worth_of_intervals(scenes: int) -> str:
    """Say in a sentence what a 95 % interval over so many scenes is worth."""
    if scenes < SIMULATED_SCENES[0]:
        return (
            f"{counted(scenes, 'scene')}: too few for any interval over scenes to be trusted, and "
            "fewer than were ever simulated. Read these numbers as single observations."
        )
    column = max(i for i, count in enumerate(SIMULATED_SCENES) if count <= scenes)
    held = [shares[column] for name, shares in COVERAGE.items() if not name.startswith("heavy")]
    return (
        f"{counted(scenes, 'scene')}: in simulations with {SIMULATED_SCENES[column]} scenes a 95 % "
        f"interval held the truth {min(held):.0f} to {max(held):.0f} % of the time, and less with "
        "heavy tails. From 50 scenes on it holds what it says."
    )


def power_sentence(scenes: int) -> str:
    """Say how small a difference so many scenes can show."""
    if scenes < 3:
        return "So few scenes can show no difference at all."
    effect = smallest_effect(scenes)
    return (
        f"With {scenes} scenes, 80 % power and a two-sided test at 5 %, the smallest difference "
        f"that is likely to be found is {effect:.2f} times its spread between scenes (d); what is "
        "smaller may be there without being shown, and the adjustment for many scores asks for "
        "more still."
    )


def coverage_table() -> Markup:
    """Return how often simulated intervals hold the truth, by population and number of scenes."""
    heads = [tag("th", "Scores over scenes are", scope="col")]
    heads += [tag("th", f"{count}", scope="col", class_="number") for count in SIMULATED_SCENES]
    rows = (
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag("td", f"{share:.1f} %", class_="number") for share in shares),
        )
        for name, shares in COVERAGE.items()
    )
    return tag(
        "div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="scroll"
    )
