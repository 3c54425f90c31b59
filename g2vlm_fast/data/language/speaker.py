"""What texts about a scene are made from: its facts, random choice and words."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.language.lexicon import Lexicon, Style
from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.data.language.references import References
from g2vlm_fast.data.language.situations import Situation
from g2vlm_fast.data.language.standing import FreeFloor
from g2vlm_fast.data.language.wording import Wording
from g2vlm_fast.data.scene import RoomTruth, Scene

FRAME = "view 0"
"""The frame in which every direction is meant that names no other."""


class Speaker:
    """Knows one scene and chooses at random what to say of it.

    Args:
        scene: a scene with truth.
        truth: the truth of the scene.
        draws: source of randomness.
        style: which words are used; "simple" also keeps to the relations of simple rooms.
    """

    def __init__(self, scene: Scene, truth: RoomTruth, draws: Draws, style: Style) -> None:
        self.draws = draws
        self.simple = style == "simple"
        self.facts = Facts(truth, scene.poses, scene.gravity)
        self.executor = Executor(self.facts)
        self.lexicon = Lexicon(style, draws)
        self.wording = Wording(self.lexicon)
        self.plain_wording = Wording(Lexicon("simple", draws))  # of answers: a closed vocabulary
        self.references = References(self.executor, draws, simple=self.simple)
        self.floor = FreeFloor(truth)
        self.spots: list[tuple[int, int, tuple[Situation, ...]]] = []  # places found so far

    def any_object(self) -> int:
        """Return the index of an object, all equally likely."""
        return self.draws.integer(0, len(self.facts) - 1)

    def name(self, index: int) -> str:
        """Return colour and class of an object."""
        return f"{self.facts.colors[index]} {self.facts.classes[index]}"

    def the(self, reference: Program) -> str:
        """Return a definite noun phrase for a reference."""
        return self.wording.the(reference)
