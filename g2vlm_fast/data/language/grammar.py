"""English noun phrases: articles, plurals and numbers."""

from __future__ import annotations

from collections.abc import Sequence

NUMBER_WORDS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip

_HISSING = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"
_IRREGULAR = {"shelf": "shelves", "bookshelf": "bookshelves", "knife": "knives", "loaf": "loaves"}


def plural(noun: str) -> str:
    """Return the plural of a noun phrase: of its last word, or of the one before "of"."""
    head, of, rest = noun.partition(" of ")
    if of:
        return f"{plural(head)} of {rest}"
    *before, last = noun.split(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(_HISSING):
        last = f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in _VOWELS:
        last = f"{last[:-1]}ies"
    else:
        last = f"{last}s"
    return " ".join([*before, last])


def with_article(phrase: str) -> str:
    """Return a noun phrase with its indefinite article."""
    return f"{'an' if phrase[:1] in _VOWELS else 'a'} {phrase}"


def numbered(count: int, noun: str) -> str:
    """Return so many of a noun: "a chair", "two red boxes"; "many" from 21 on.

    Raises:
        ValueError: none of them.
    """
    if count < 1:
        raise ValueError(f"numbered: count must be at least 1, got {count}")
    if count == 1:
        return with_article(noun)
    return f"{NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else 'many'} {plural(noun)}"


def listed(phrases: Sequence[str], word: str = "and") -> str:
    """Return phrases as a list: "a, b and c"."""
    *before, last = phrases
    return f"{', '.join(before)} {word} {last}" if before else last


def negated(words: str) -> str:
    """Say the opposite of words for a relation: "not far from" becomes "far from"."""
    return words.removeprefix("not ") if words.startswith("not ") else f"not {words}"
