"""The trainer: configuration, schedule, exact resumption, log."""

from g2vlm_fast.train.checkpoint import CheckpointError
from g2vlm_fast.train.config import (
    CheckpointConfig,
    DataConfig,
    OptimConfig,
    ScheduleConfig,
    StageConfig,
    TrainConfig,
)
from g2vlm_fast.train.trainer import Trainer, TrainingDiverged, TrainReport

__all__ = [
    "CheckpointConfig",
    "CheckpointError",
    "DataConfig",
    "OptimConfig",
    "ScheduleConfig",
    "StageConfig",
    "TrainConfig",
    "TrainReport",
    "Trainer",
    "TrainingDiverged",
]
