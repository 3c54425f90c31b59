"""What is said about a scene, from what the model answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from g2vlm_fast.data import AnswerVocabulary
from g2vlm_fast.pipeline import understanding


@pytest.mark.parametrize(
    ("question", "number", "said"),
    [
        ("How many tables are there?", 1.06, "1"),
        ("how many chairs does the room have?", -0.4, "0"),
        ("how far is the sofa from the lamp?", 1.06, "1.06"),
    ],
)
def test_counts_are_whole_numbers(question: str, number: float, said: str) -> None:
    vocabulary = AnswerVocabulary()
    prediction: Any = SimpleNamespace(
        answer_offsets=torch.tensor([0, 1]),
        answer_ids=torch.tensor([vocabulary.words.index("<number>")]),
        answer_value=torch.tensor([number]),
    )
    text, value = understanding._answer_text(
        prediction, vocabulary, 0, whole=understanding._counts(question)
    )
    assert text == said
    assert value == pytest.approx(float(said), abs=1e-6)


def test_nouns_of_two_words_are_linked_as_one() -> None:
    caption = understanding._caption(
        "a room with a ceiling light, two washing machines and lamps.", []
    )
    assert [noun for noun, _ in caption.phrases] == ["ceiling light", "washing machines", "lamps"]
