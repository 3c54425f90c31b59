"""Where a run stands in its budget, and what follows from it: learning rate and stage."""

from __future__ import annotations

import math

from g2vlm_fast.train.config import ScheduleConfig, StageConfig, TrainConfig


def progress(config: TrainConfig, step: int, seconds: float) -> float:
    """Return the share of the budget that is used, in [0, 1]."""
    if config.max_steps is not None:
        return min(step / config.max_steps, 1.0)
    assert config.max_seconds is not None
    return min(seconds / config.max_seconds, 1.0)


def learning_rate_factor(schedule: ScheduleConfig, used: float) -> float:
    """Return the share of the peak learning rate after a share ``used`` of the budget.

    Linear from ``1 %`` of the peak to the peak over ``warmup``, then half a cosine down to
    ``final`` (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts).
    """
    if used < schedule.warmup:
        return max(used / schedule.warmup, 0.01)
    rest = (used - schedule.warmup) / max(1 - schedule.warmup, 1e-12)
    cosine = (1 + math.cos(math.pi * min(rest, 1.0))) / 2
    return schedule.final + (1 - schedule.final) * cosine


def stage_at(stages: tuple[StageConfig, ...], used: float) -> StageConfig:
    """Return the stage that a share ``used`` of the budget lies in."""
    end = 0.0
    for stage in stages:
        end += stage.share
        if used < end:
            return stage
    return stages[-1]
