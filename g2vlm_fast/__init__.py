"""Kernels, model, trainer and evaluator for geometry-grounded vision-language models."""

from g2vlm_fast._info import __version__, backend_report

__all__ = ["__version__", "backend_report"]
