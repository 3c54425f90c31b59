"""Scan in, everything out: the main job."""

from g2vlm_fast.pipeline.checkpoint import ModelError, default_checkpoint, load_model
from g2vlm_fast.pipeline.config import RunConfig
from g2vlm_fast.pipeline.run import RunResult, run

__all__ = ["ModelError", "RunConfig", "RunResult", "default_checkpoint", "load_model", "run"]
