"""What texts about a scene are made from: its facts, random choice and wordings."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.programs import Facts
from g2vlm_fast.data.scene import RoomTruth
from g2vlm_fast.geometry.boxes import upright_box_gap

FRAME = "view 0"
"""The frame in which every direction is meant."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "caption": ("describe the room.", "what do you see?", "give a short description of this room."),
    "existence": ("is there {thing}?", "is there {thing} in the room?", "do you see {thing}?"),
    "count": ("how many {things} are there?", "how many {things} does the room have?"),
    "color": ("what color is {thing}?", "what is the color of {thing}?"),
    "direction": ("what is {relation} {thing}?", "which object is {relation} {thing}?"),
    "relation": (
        "is {thing} {relation} {other}?",
        "would you say that {thing} is {relation} {other}?",
    ),
    "distance": (
        "how far is {thing} from {other}?",
        "what is the distance between {thing} and {other}?",
    ),
    "height": ("how tall is {thing}?", "what is the height of {thing}?"),
    "width": ("how wide is {thing}?", "what is the width of {thing}?"),
    "room_size": ("how large is the room?", "what is the floor area of this room?"),
}


class Speaker:
    """Knows one scene and chooses at random what to say of it."""

    def __init__(self, truth: RoomTruth, draws: Draws) -> None:
        self.truth = truth
        self.draws = draws
        self.facts = Facts(truth)
        centers, sizes, rotations = truth.boxes()
        self.centers = centers.tolist()
        boxes = (centers, sizes, rotations)
        self.gaps = upright_box_gap(boxes, boxes).tolist()

    def template(self, kind: str, **parts: object) -> str:
        """Return one of the wordings of a kind of text, filled in."""
        return self.draws.choice(TEMPLATES[kind]).format(**parts)

    def any_object(self) -> int:
        """Return the index of an object, all equally likely."""
        return self.draws.integer(0, len(self.facts) - 1)

    def name(self, index: int) -> str:
        """Return colour and class of an object."""
        return f"{self.facts.colors[index]} {self.facts.classes[index]}"


def with_article(name: str) -> str:
    """Return a noun phrase with its indefinite article; no name here begins with a vowel."""
    return f"a {name}"
