"""Systems that are not models: rules, guessers, fusion, and folders of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from g2vlm_fast.eval.protocol.systems import System

SYSTEMS: Mapping[str, Callable[[], System]] = {}
"""Systems that need no training, by name."""
