"""What an evaluation and a comparison are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from g2vlm_fast.pipeline.config import ConfigError

_ABOUT_ROOMS = ("split", "noise", "program")
_NOT_FOR_HEADS = (
    "out", *_ABOUT_ROOMS, "scan", "layouts", "shard", "overwrite", "pictures", "device",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Who is judged, on what, and where everything is kept."""

    system: str | None = None
    """Who is judged; None: the demo model."""
    out: Path = Path("evaluation")
    """Folder of the evaluation. One that was interrupted is gone on with."""
    split: str = "test"
    """Split of the generated rooms: train, validation, test, or one that changes them."""
    scenes: int | None = None
    """How many: generated rooms (else 50), stretches of a scan (else 8), layouts (else all)."""
    noise: Literal["none", "standard", "strong"] = "standard"
    """Noise of the cameras in generated rooms; strong where the split is "stronger noise"."""
    program: str = "any"
    """Program of the generated rooms: any, simple, bedroom, kitchen, office, flat, ..."""
    scan: Path | None = None
    """Folder of a scan: some of its frames are given, the others say what is true."""
    layouts: Path | None = None
    """Folder of layouts of real rooms: questions about boxes, nothing is given."""
    shard: str | None = None
    """I/N: do every N-th scene from scene I on, 0/N to N-1/N; the last one to end sums up.
    Under torchrun every process takes its own."""
    overwrite: bool = False
    """Delete the evaluation at --out and begin anew."""
    pictures: int = 12
    """How many scenes the page draws."""
    device: str | None = None
    """Where a model runs: cpu, cuda, cuda:0, cuda:1, ...; else on a GPU if there is one."""
    heads: bool = False
    """Show what each head of the model is worth beside chance, as training does; keep nothing."""

    def check(self) -> None:
        """Refuse values that no evaluation can have, and options that it would not look at.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        if self.scenes is not None and self.scenes < 1:
            raise ConfigError(f"--scenes must be at least 1, got {self.scenes}")
        if self.pictures < 0:
            raise ConfigError(f"--pictures must not be negative, got {self.pictures}")
        if self.out.resolve() == Path().resolve():
            raise ConfigError("--out must be a folder of its own, got the current folder")
        if self.scan is not None and self.layouts is not None:
            raise ConfigError("--scan and --layouts are different benchmarks: leave out one")
        if self.heads:
            self._refuse(
                _NOT_FOR_HEADS, "--heads judges a model on rooms like those of its training"
            )
        elif self.scan is not None or self.layouts is not None:
            option = "--scan" if self.scan is not None else "--layouts"
            self._refuse(_ABOUT_ROOMS, f"{option} names what is judged on instead of rooms")

    def shard_of(self, environment: Mapping[str, str] | None = None) -> tuple[int, int] | None:
        """Which part of the scenes this process does: (index, count); None for all.

        Args:
            environment: of the process; torchrun sets RANK and WORLD_SIZE there.

        Raises:
            ConfigError: a shard that does not exist, or one that would delete what others did.
        """
        environment = os.environ if environment is None else environment
        told, source = self.shard, "--shard"
        if told is None and environment.get("WORLD_SIZE", "1") != "1":
            told, source = (
                f"{environment.get('RANK')}/{environment['WORLD_SIZE']}",
                "RANK/WORLD_SIZE",
            )
        if told is None:
            return None
        index, slash, count = told.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise ConfigError(
                f"{source} must be 0/N, 1/N, ... or N-1/N for N processes, got {told!r}"
            )
        if self.overwrite:
            raise ConfigError(
                "--overwrite would delete what other processes have begun: delete the folder "
                f"{self.out} yourself before they start"
            )
        return int(index), int(count)

    def _refuse(self, names: tuple[str, ...], reason: str) -> None:
        for field in fields(EvaluateConfig):
            if field.name in names and getattr(self, field.name) != field.default:
                option = "--" + field.name.replace("_", "-")
                raise ConfigError(
                    f"{option} would not be looked at, because {reason}: leave it out"
                )


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which evaluations to compare."""

    runs: tuple[Path, ...]
    """Folders of evaluations on one benchmark; the first is compared with each of the others."""
    out: Path | None = None
    """Page to write, an .html file; its charts go to plots/ beside it."""

    def check(self) -> None:
        """Refuse what cannot be compared.

        Raises:
            ConfigError: says what was expected and what came.
        """
        if not self.runs or (len(self.runs) < 2 and self.out is None):
            raise ConfigError(
                "compare needs two or more evaluations, or one and --out for its page, got "
                f"{len(self.runs)}"
            )
        resolved = [run.resolve() for run in self.runs]
        twice = next((run for run in self.runs if resolved.count(run.resolve()) > 1), None)
        if twice is not None:
            raise ConfigError(f"{twice}: is named twice; no evaluation differs from itself")
        if self.out is not None:
            if self.out.suffix.lower() != ".html":
                raise ConfigError(f"--out must end in .html, got {self.out}")
            if not self.out.resolve().parent.is_dir():
                raise ConfigError(f"--out {self.out}: its folder does not exist; make it first")
