"""Scan in, everything out: the main job.

``RunConfig`` is at hand at once; the rest is imported when first used, because it needs torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from g2vlm_fast.pipeline.config import RunConfig

if TYPE_CHECKING:
    from g2vlm_fast.pipeline.checkpoint import ModelError, default_checkpoint, load_model
    from g2vlm_fast.pipeline.job import RunResult, run

_HOME = {
    "ModelError": "checkpoint",
    "RunResult": "job",
    "default_checkpoint": "checkpoint",
    "load_model": "checkpoint",
    "run": "job",
}

__all__ = ["ModelError", "RunConfig", "RunResult", "default_checkpoint", "load_model", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
