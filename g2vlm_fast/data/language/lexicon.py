"""The words of texts: questions, relations and nouns, each in several wordings.

The style says which are used: "simple" the plainest ones, which a tiny model learns; "training"
all but those held out; "held out" those, where a word has one. A fixed hash says which wording of
several is held out, so that a model can be tested on paraphrases it has never read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.phrasebook import (
    HOLDER_WORDS,
    NOUNS,
    PLAIN_WORDINGS,
    RELATION_WORDS,
    SIDE_WORDS,
    WORDINGS,
)

Style = Literal["simple", "training", "held out"]


def held_out(words: Sequence[str], plain: int = 1) -> str | None:
    """Return the one of several wordings that training never sees, or None.

    Args:
        words: all wordings.
        plain: how many of the first are never held out.
    """
    others = words[plain:]
    chosen = min(others, key=_digest) if others else None
    if len(others) == 1 and chosen is not None and _digest(chosen)[0] % 2:
        return None
    return chosen


def _digest(text: str) -> bytes:
    return hashlib.sha256(f"g2vlm-fast wording {text}".encode()).digest()


class Lexicon:
    """Chooses words at random among those of a style.

    Raises:
        ValueError: an unknown style.
    """

    def __init__(self, style: Style, draws: Draws) -> None:
        if style not in get_args(Style):
            raise ValueError(f"Lexicon: style must be one of {get_args(Style)}, got {style!r}")
        self.style = style
        self._draws = draws

    def wording(self, kind: str) -> str:
        """Return a template of a kind of text."""
        return self._choose(WORDINGS[kind], PLAIN_WORDINGS)

    def relation(self, relation: str) -> str:
        """Return words for a relation."""
        return self._choose(RELATION_WORDS[relation])

    def holder(self, holder: str) -> str:
        """Return words for being held by a part of the building."""
        return self._choose(HOLDER_WORDS[holder])

    def side(self, side: str) -> str:
        """Return words for a side of the speaker."""
        return self._choose(SIDE_WORDS[side])

    def noun(self, class_name: str) -> str:
        """Return a singular noun for a class."""
        return self._choose(NOUNS.get(class_name, (class_name,)))

    def _choose(self, words: tuple[str, ...], plain: int = 1) -> str:
        unseen = held_out(words, plain)
        if self.style == "simple":
            return self._draws.choice(words[:plain])
        if self.style == "held out":
            return self._draws.choice(words[:plain]) if unseen is None else unseen
        return self._draws.choice([word for word in words if word != unseen])
