"""The closed vocabulary that answers and captions are spoken in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from g2vlm_fast.data.language.grammar import NUMBER_WORDS, plural
from g2vlm_fast.data.language.situations import SECTORS
from g2vlm_fast.ontology import CLASSES, COLORS, RELATIONS

PAD, START, END, NUMBER = range(4)
SPECIAL_WORDS = ("<pad>", "<start>", "<end>", "<number>")

LONGEST_ANSWER = 32
"""Words of the longest answer, with its ``<end>``."""

PLURALS: dict[str, str] = {name: plural(name) for name in CLASSES}
CAPTION_TEMPLATES = (
    "a {place} with {things}.",
    "the {place} has {things}.",
    "you see {things}.",
)
RELATION_SENTENCE = "{subject} is {relation} {object}."
SHORT_ANSWERS = ("yes", "no", "nothing", "room", "flat", "many", "a", "an", "the", "and", ",")

_WORD = re.compile(r"<\w+>|\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words and punctuation marks."""
    return _WORD.findall(text.lower())


def grammar_words() -> list[str]:
    """Every word that the grammar of answers and captions can say, sorted."""
    templates = " ".join((*CAPTION_TEMPLATES, RELATION_SENTENCE))
    spoken = [re.sub(r"\{\w+\}", " ", templates), *RELATIONS, *CLASSES, *PLURALS.values()]
    sectors = [name for named in SECTORS.values() for name, _, _ in named]
    texts = (*spoken, *COLORS, *NUMBER_WORDS, *sectors)
    words = {word for text in texts for word in split_words(text)}
    return sorted(words | set(SHORT_ANSWERS))


class AnswerVocabulary:
    """Words to ids and back. Ids 0 to 3 are ``<pad>``, ``<start>``, ``<end>``, ``<number>``.

    Args:
        words: all words, special ones first, as a model's configuration stores them; None for
            the words of the grammar.

    Raises:
        ValueError: the special words are not in their places, or a word comes twice.
    """

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = [*SPECIAL_WORDS, *grammar_words()] if words is None else list(words)
        if tuple(self.words[: len(SPECIAL_WORDS)]) != SPECIAL_WORDS:
            raise ValueError(
                f"AnswerVocabulary: words must begin with {SPECIAL_WORDS}, got {self.words[:4]}"
            )
        self._ids = {word: index for index, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            twice = sorted({word for word in self.words if self.words.count(word) > 1})
            raise ValueError(f"AnswerVocabulary: words must differ, {twice} come twice")

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with ``<end>`` behind and no ``<start>`` before.

        Raises:
            ValueError: the text has a word that the vocabulary lacks.
        """
        words = split_words(text)
        unknown = [word for word in words if word not in self._ids]
        if unknown:
            raise ValueError(f"AnswerVocabulary: {unknown} in {text!r} are not in the vocabulary")
        return [*(self._ids[word] for word in words), END]

    def decode(self, ids: Iterable[int], value: float | None = None) -> str:
        """Return the text of ids up to the first ``<end>``.

        Args:
            ids: word ids; ``<pad>`` and ``<start>`` are skipped.
            value: the number to print for ``<number>``; None leaves the word as it is.
        """
        text = ""
        for index in ids:
            if index == END:
                break
            if index in (PAD, START):
                continue
            word = self.words[index]
            if index == NUMBER and value is not None:
                word = f"{value:.2f}".rstrip("0").rstrip(".")
            text += word if not text or word in (",", ".") else f" {word}"
        return text
