"""Batches of whole scenes that fill a budget of tokens, from any endless order of scenes.

Scenes differ in views, vertices and words, so equal numbers of them make unequal batches. Here a
batch takes scenes in their order until the next one would go beyond the budget. It is a function
of where it begins alone, so that a run that was killed goes on exactly from that one number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from g2vlm_fast.data.scene import Query, Scene

SceneAt = Callable[[int], tuple[Scene, list[Query]]]
"""Scene and texts at a place of an endless order; a function of the place alone."""


@dataclass(frozen=True)
class TokenCost:
    """How many tokens a scene becomes: patches of its views, its vertices, words of its texts."""

    image_size: tuple[int, int]  # (height, width) that images are resized to
    patch_size: int = 8
    vertex_budget: int = 4096  # a model reads no more vertices of a scene
    word_tokens: float = 1.4  # tokens of a text encoder for each word

    def __call__(self, scene: Scene, texts: Sequence[Query]) -> int:
        """Return the tokens of a scene with its texts."""
        height, width = self.image_size
        patches = scene.num_views * (height // self.patch_size) * (width // self.patch_size)
        vertices = 0 if scene.vertices is None else min(len(scene.vertices), self.vertex_budget)
        words = sum(len(text.text.split()) for text in texts)
        return patches + vertices + round(words * self.word_tokens)


@dataclass(frozen=True)
class Packed:
    """The scenes of a batch, and where the next one begins."""

    scenes: list[Scene]
    texts: list[list[Query]]
    tokens: int
    next_place: int


def packed_batches(
    scene_at: SceneAt,
    cost: Callable[[Scene, Sequence[Query]], int],
    budget: int,
    *,
    place: int = 0,
    workers: int = 0,
    ahead: int = 4,
) -> Iterator[Packed]:
    """Return the endless batches from a place on.

    Args:
        scene_at: the order of scenes.
        cost: tokens of a scene with its texts.
        budget: most tokens of a batch.
        place: where the first batch begins: 0, or ``next_place`` of the batch before.
        workers: processes that make scenes ahead of time; the batches are the same for any number.
        ahead: scenes that each of them makes ahead.

    Raises:
        ValueError: a budget that is not positive, a negative place, or a scene that alone is
            beyond the budget; names it.
    """
    if not isinstance(budget, int) or budget < 1 or place < 0:
        raise ValueError(
            "packed_batches: budget must be a positive whole number and place 0 or larger, got "
            f"{budget}, {place}"
        )
    return _packed(_scenes_from(scene_at, place, workers, ahead), cost, budget)


def _packed(
    numbered: Iterable[tuple[int, tuple[Scene, list[Query]]]],
    cost: Callable[[Scene, Sequence[Query]], int],
    budget: int,
) -> Iterator[Packed]:
    scenes: list[Scene] = []
    texts: list[list[Query]] = []
    tokens = 0
    for number, (scene, said) in numbered:
        own = cost(scene, said)
        if own > budget:
            raise ValueError(
                f"packed_batches: scene {scene.name!r} alone has {own} tokens, the budget is "
                f"{budget}; raise it, or give the scene fewer views"
            )
        if tokens + own > budget:
            yield Packed(scenes, texts, tokens, number)
            scenes, texts, tokens = [], [], 0
        scenes.append(scene)
        texts.append(said)
        tokens += own


class EveryPlaceFrom(Sampler[int]):
    """All places from one on, without end."""

    def __init__(self, place: int) -> None:
        self.place = place

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.place)


class _Order(Dataset[tuple[Scene, list[Query]]]):
    def __init__(self, scene_at: SceneAt) -> None:
        self.scene_at = scene_at

    def __getitem__(self, place: int) -> tuple[Scene, list[Query]]:
        return self.scene_at(place)


def _scenes_from(
    scene_at: SceneAt, place: int, workers: int, ahead: int
) -> Iterable[tuple[int, tuple[Scene, list[Query]]]]:
    order = _Order(scene_at)
    if workers == 0:
        return ((number, order[number]) for number in EveryPlaceFrom(place))
    loader: DataLoader[Any] = DataLoader(
        order,
        batch_size=None,
        sampler=EveryPlaceFrom(place),
        num_workers=workers,
        prefetch_factor=ahead,
    )
    return enumerate(loader, place)
