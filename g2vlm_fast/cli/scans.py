"""Commands about scans in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from g2vlm_fast.pipeline.scan_config import CheckConfig, PreprocessConfig


@dataclass(frozen=True, kw_only=True)
class Check(CheckConfig):
    """Find out what the numbers of a scan mean: poses, axes, depth, camera matrix, clock."""

    scan: Annotated[Path, tyro.conf.Positional]
    """Folder of a scan."""


@dataclass(frozen=True, kw_only=True)
class Preprocess(PreprocessConfig):
    """Write scans of any layout as standard ones: metric, upright, calibrated, checked."""

    scans: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of scans."""


def check(command: Check) -> int:
    """Carry out ``g2vlm-fast check``."""
    from g2vlm_fast.pipeline import scans

    return scans.check(command, print)


def preprocess(command: Preprocess) -> int:
    """Carry out ``g2vlm-fast preprocess``."""
    from g2vlm_fast.pipeline import scans

    return scans.preprocess(command, print)
