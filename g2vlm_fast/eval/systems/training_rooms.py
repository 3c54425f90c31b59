"""What guessers know of how rooms are made: rooms of the training split with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from g2vlm_fast.data import Query, RoomTruth
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.eval.facts import is_caption, is_question

ROOMS = 256


@dataclass(frozen=True, eq=False)
class TrainingRoom:
    """A room, what is said of it, and a way to ask it anything."""

    truth: RoomTruth
    texts: tuple[Query, ...]
    executor: Executor


@dataclass(frozen=True)
class TrainingRooms:
    """The first rooms of the training split; they are made when they are first asked for.

    Args:
        count: how many.
    """

    count: int = ROOMS

    @cached_property
    def benchmark(self) -> RoomBenchmark:
        """The rooms, seeds of which start at 0."""
        return RoomBenchmark(split="train", count=self.count, surface_points=0, first_seed=0)

    @cached_property
    def rooms(self) -> Sequence[TrainingRoom]:
        """All rooms."""
        return tuple(map(self._made, range(self.count)))

    @cached_property
    def questions(self) -> Sequence[Query]:
        """All questions with their answers."""
        return tuple(text for room in self.rooms for text in room.texts if is_question(text))

    @cached_property
    def captions(self) -> Sequence[str]:
        """All descriptions that were asked for."""
        found = (text for room in self.rooms for text in room.texts if is_caption(text))
        return tuple(text.answer or "" for text in found)

    def _made(self, index: int) -> TrainingRoom:
        scene, texts = self.benchmark.room(index)
        assert scene.truth is not None
        facts = Facts(scene.truth, scene.poses, scene.gravity)
        return TrainingRoom(scene.truth, texts, Executor(facts))
