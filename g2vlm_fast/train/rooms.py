"""The stream of training batches: rooms that are introduced bit by bit, made ahead of time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from g2vlm_fast.data import (
    AnswerVocabulary,
    Query,
    RoomBatches,
    collate,
    queries,
    seeds_of,
)
from g2vlm_fast.data.collate import Tokenize
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.packing import EveryPlaceFrom
from g2vlm_fast.data.recent import Recent
from g2vlm_fast.data.stored_rooms import StoredRooms
from g2vlm_fast.ontology import EVERYTHING, Ontology
from g2vlm_fast.records import SceneBatch, Targets
from g2vlm_fast.train.beside import made_beside
from g2vlm_fast.train.config import DataConfig

_REPLAY_STREAM, _TEXT_STREAM = 5, 6


EncodeTexts = Callable[[Tensor, Tensor], Tensor]
"""Packed token ids ``[L]`` and offsets ``[U + 1]`` to features ``[L, width]``."""


class Example(NamedTuple):
    """What a step trains on."""

    batch: SceneBatch
    targets: Targets
    text_features: Tensor | None  # [L, width] of the texts, where a frozen encoder was given

    def pin_memory(self) -> Example:
        """Return it in page-locked memory, from which copies to a GPU need not wait."""
        features = self.text_features
        return Example(
            self.batch.pin_memory(),
            self.targets.pin_memory(),
            None if features is None else features.pin_memory(),
        )


class GrowingRooms(RoomBatches, Dataset[Example]):
    """Batches of some new rooms and some that were seen before.

    Making a room costs more than a step of a small model. So that training never waits for long
    and never sees few rooms for long, every batch brings ``fresh`` rooms until all are known; the
    others are replayed at random. Batch ``index`` stays a function of the arguments alone.

    A room has the same texts whenever it comes, and a frozen language encoder reads all of them
    when the room is made: its features are a function of the room alone, down to their bits.

    Args:
        data: sizes of the stream.
        seed: of order, texts and samples.
        tokenize: the tokenizer of the language encoder.
        answer_vocabulary: the words of answers.
        ontology: the classes and relations of the model.
        encode_texts: the frozen language encoder, which must not remember texts; None where it is
            trained with the model.
        device: where rooms are rendered.

    Raises:
        ValueError: more fresh rooms than scenes, or fewer stored rooms than ``data`` asks for.
        ScanError: ``data.shards`` cannot be read, or holds others than rooms of training.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        seed: int,
        tokenize: Tokenize,
        answer_vocabulary: AnswerVocabulary,
        ontology: Ontology = EVERYTHING,
        encode_texts: EncodeTexts | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        stored = None if data.shards is None else StoredRooms(Path(data.shards))
        super().__init__(
            seeds_of("train", data.rooms) if stored is None else _some_seeds(stored, data),
            data.scenes_per_step,
            seed=seed,
            tokenize=tokenize,
            answer_vocabulary=answer_vocabulary,
            ontology=ontology,
            config=data.room_config(),
            texts_per_scene=data.texts_per_scene,
            num_surface_points=data.surface_points,
            num_query_points=data.query_points,
            device=device,
            stored=stored,
            memory=round(data.room_memory * 2**30),
        )
        if not 0 <= data.fresh_per_step <= data.scenes_per_step:
            raise ValueError(
                f"DataConfig: fresh_per_step must be 0 to scenes_per_step "
                f"({data.scenes_per_step}), got {data.fresh_per_step}"
            )
        self.data = data
        self.encode_texts = encode_texts
        self._texts: dict[int, list[Query]] = {}
        self._features = Recent(self._read_texts, round(data.text_memory * 2**30))

    def seeds_of_batch(self, index: int) -> list[int]:
        """Return the rooms of batch ``index``: the new ones, then replayed ones."""
        known = self.known_after(self.data, index)
        new = self.seeds[known : self.known_after(self.data, index + 1)]
        draws = Draws(self.seed, _REPLAY_STREAM, index)
        replayed = draws.shuffled(self.seeds[:known])[: self.scenes_per_batch - len(new)]
        return [*new, *replayed]

    def __getitem__(self, index: int) -> Example:
        """Return batch ``index``: of the texts of each room, some, drawn anew in every batch."""
        draws = Draws(self.seed, _TEXT_STREAM, index)
        chosen = self.seeds_of_batch(index)
        texts = [self._some_texts(seed, draws) for seed in chosen]
        batch, targets = self._collate(chosen, texts, seed=draws.integer(0, 2**31 - 1))
        if self.encode_texts is None:
            return Example(batch, targets, None)
        features = [
            self._features[seed][text.text]
            for seed, of_room in zip(chosen, texts, strict=True)
            for text in of_room
        ]
        return Example(batch, targets, torch.cat(features))

    def _texts_of(self, seed: int) -> list[Query]:
        if seed not in self._texts:
            self._texts[seed] = queries(self.room(seed), seed)
        return self._texts[seed]

    def _some_texts(self, seed: int, draws: Draws) -> list[Query]:
        """Draw texts of a room: its statement and caption always, others at random."""
        statement, caption, *others = self._texts_of(seed)
        return [statement, caption, *draws.shuffled(others)][: self.texts_per_scene]

    def _read_texts(self, seed: int) -> dict[str, Tensor]:
        """Return the features of every text of a room."""
        assert self.encode_texts is not None
        texts = self._texts_of(seed)
        batch, _ = self._collate([seed], [texts], samples=False)
        assert batch.text_ids is not None
        assert batch.text_offsets is not None
        features = self.encode_texts(batch.text_ids, batch.text_offsets)
        sizes = batch.text_offsets.diff().tolist()
        named = zip(texts, features.split(sizes), strict=True)
        return {text.text: feature for text, feature in named}

    def _collate(
        self, seeds: list[int], texts: list[list[Query]], *, samples: bool = True, seed: int = 0
    ) -> tuple[SceneBatch, Targets]:
        return collate(
            [self.room(seed) for seed in seeds],
            texts,
            image_size=self.config.image_size,
            tokenize=self.tokenize,
            answer_vocabulary=self.answer_vocabulary,
            ontology=self.ontology,
            num_surface_points=self.num_surface_points if samples else 0,
            num_query_points=self.num_query_points if samples else 0,
            seed=seed,
        )

    @staticmethod
    def known_after(data: DataConfig, batches: int) -> int:
        """Return how many rooms the first batches hold."""
        if batches == 0:
            return 0
        return min(data.scenes_per_step + data.fresh_per_step * (batches - 1), data.rooms)


def _some_seeds(stored: StoredRooms, data: DataConfig) -> list[int]:
    if len(stored.seeds) < data.rooms:
        raise ValueError(
            f"DataConfig: rooms must be at most {len(stored.seeds)}, which are in the shards "
            f"{data.shards}, got {data.rooms}"
        )
    return stored.seeds[: data.rooms]


def rendering_device(data: DataConfig, model_device: str) -> torch.device:
    """Return where rooms are rendered: where the model is, unless the configuration says it.

    Raises:
        ValueError: no device, or one that is not here.
    """
    name = model_device if data.render_device is None else data.render_device
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"DataConfig: render_device must be a device such as 'cpu' or 'cuda', got {name!r}"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"DataConfig: rooms are to be rendered on {name!r}, but no GPU is here; "
            "let render_device be 'cpu'"
        )
    return device


def prefetched(
    batches: Dataset[Example],
    index: int,
    *,
    workers: int,
    ahead: int = 4,
    device: torch.device | str = "cpu",
) -> Iterator[Example]:
    """Return the endless stream of batches from ``index`` on, made beside the step.

    The stream is the same for every number of workers. Processes share the work; every one of them
    keeps rooms of its own, so more of them repeat work until all rooms are made. Without workers,
    batches are made in this process: on the CPU when they are asked for, on a GPU by a thread with
    a stream of its own (:func:`~g2vlm_fast.train.beside.made_beside`).

    Where there is a GPU, batches come in page-locked memory. A process that was forked cannot use
    one, so workers that render on it are started anew, which takes seconds; a script that trains
    with them needs the usual ``if __name__ == "__main__"``.

    Args:
        batches: makes them.
        index: of the first.
        workers: processes.
        ahead: batches that each of them, or the thread, makes before they are asked for.
        device: where ``batches`` renders rooms.
    """
    device = torch.device(device)
    if workers == 0:
        if device.type == "cpu":
            return (batches[number] for number in itertools.count(index))
        return made_beside(
            lambda number: batches[number].pin_memory(), index, device=device, ahead=ahead
        )
    loader: DataLoader[Any] = DataLoader(
        batches,
        batch_size=None,
        sampler=EveryPlaceFrom(index),
        num_workers=workers,
        prefetch_factor=ahead,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=None if device.type == "cpu" else "spawn",
    )
    return iter(loader)
