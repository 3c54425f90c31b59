"""The configuration of a training run: nested dataclasses, saved beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from g2vlm_fast.data import RoomConfig


@dataclass(frozen=True)
class DataConfig:
    """Where the batches come from: generated rooms of the training split, and recorded scans.

    A batch holds ``scenes_per_step`` rooms with ``texts_per_scene`` texts each; ``fresh_per_step``
    of them are new until ``rooms`` are known. ``workers`` processes make batches ahead of the
    step that uses them; what is in a batch depends neither on how many there are nor on how much
    they remember. Rooms from shards have the programs and views that they were written with;
    pixels of rooms that a GPU renders differ from those of a CPU within float32.
    """

    rooms: int = 256
    scenes_per_step: int = 4
    fresh_per_step: int = 1
    texts_per_scene: int = 8
    programs: tuple[str, ...] = ("simple",)  # of the rooms; see RoomConfig
    views: tuple[int, int] = (2, 4)  # fewest and most of a room
    image_size: tuple[int, int] = (48, 64)  # (height, width) in pixels
    surface_points: int = 1024  # a room
    query_points: int = 512  # a room
    workers: int = 1
    render_device: str | None = None  # where rooms are rendered; None: where the model is trained
    shards: str | None = None  # folder of ``g2vlm-fast data write``, read instead of making rooms
    room_memory: float = 4.0  # GiB of rooms that a process keeps; others are made or read anew
    text_memory: float = 1.0  # GiB of features of texts that a process keeps
    scans: tuple[str, ...] = ()  # folders of preprocessed scans that are mixed in
    room_weight: int = 3  # batches of rooms for every ``scan_weight`` of scans, if there are scans
    scan_weight: int = 1

    def room_config(self) -> RoomConfig:
        """Return what the rooms are drawn from."""
        return RoomConfig(programs=self.programs, image_size=self.image_size, views=self.views)


@dataclass(frozen=True)
class OptimConfig:
    """AdamW (Loshchilov and Hutter, ICLR 2019); matrices decay, vectors do not."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    accumulate: int = 1  # batches a step
    max_skipped_steps: int = 10  # steps in a row without a finite gradient before giving up


@dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up, then a cosine down to ``final`` of the peak, over the whole budget."""

    warmup: float = 0.05  # share of the budget
    final: float = 0.05  # share of the peak learning rate


@dataclass(frozen=True)
class StageConfig:
    """A stretch of the run with its own loss weights."""

    name: str
    share: float  # of the budget
    weights: dict[str, float] = field(default_factory=dict)  # of loss terms; others keep defaults
    lr_scale: float = 1.0


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state of the run is saved, and how many saves are kept."""

    every_steps: int = 200
    keep: int = 2


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    The budget is ``max_steps`` or ``max_seconds`` (of training time, saved over resumption),
    exactly one of them. Under ``max_steps`` a run is a function of the configuration: the same
    machine gives the same bits, interrupted and resumed or not. Under ``max_seconds`` the
    learning rate and the stages follow the elapsed share of the time, so that two runs differ.
    """

    name: str
    model: dict[str, Any] = field(default_factory=lambda: {"preset": "tiny"})
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    stages: tuple[StageConfig, ...] = (StageConfig("joint", 1.0),)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    max_steps: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    device: str = "cpu"
    log_every: int = 1

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.max_seconds is None):
            raise ValueError(
                "TrainConfig: give exactly one of max_steps and max_seconds, got "
                f"max_steps={self.max_steps} and max_seconds={self.max_seconds}"
            )
        for name, budget in (("max_steps", self.max_steps), ("max_seconds", self.max_seconds)):
            if budget is not None and not budget > 0:
                raise ValueError(f"TrainConfig: {name} must be positive, got {budget}")
        shares = [stage.share for stage in self.stages]
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(
                f"TrainConfig: the shares of the stages must be positive and sum to 1, got {shares}"
            )
        for name, least in (("accumulate", 1), ("max_skipped_steps", 1)):
            value = getattr(self.optim, name)
            if value < least:
                raise ValueError(f"TrainConfig: optim.{name} must be at least {least}, got {value}")
        if self.checkpoint.every_steps < 1 or self.checkpoint.keep < 1:
            raise ValueError(
                "TrainConfig: checkpoint.every_steps and checkpoint.keep must be at least 1, got "
                f"{self.checkpoint.every_steps} and {self.checkpoint.keep}"
            )

    def to_json(self) -> str:
        """Return the resolved configuration as JSON text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: the text is no JSON object, or a key is unknown.
        """
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"TrainConfig: not JSON: {error}") from error
        built: TrainConfig = _build(cls, value, "TrainConfig")
        return built

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read a saved configuration; errors name the file."""
        try:
            return cls.from_json(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _build(kind: Any, value: Any, where: str) -> Any:
    """Rebuild nested dataclasses and tuples from JSON values."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected an object, got {type(value).__name__}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"{where}: unknown {unknown}; known are {sorted(hints)}")
        return typing.cast(Any, kind)(
            **{name: _build(hints[name], entry, f"{where}.{name}") for name, entry in value.items()}
        )
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_build(inner, entry, where) for entry in value)
    if isinstance(kind, types.UnionType) and value is not None:
        return _build(typing.get_args(kind)[0], value, where)
    return value
