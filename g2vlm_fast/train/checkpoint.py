"""Saving and loading the state of a run so that a kill at any moment loses no save.

A save is one file, ``step_<n>.pt``, written under a temporary name, flushed to the disk and
renamed: a file with that name is complete. Files hold tensors and plain values alone and are
read with ``weights_only=True``. They belong to their own run; weights for others are exported
as safetensors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.files import replacing

_NAME = re.compile(r"step_(\d{8})\.pt")


class CheckpointError(RuntimeError):
    """A saved state cannot be read or does not fit the run."""


def save_state(folder: Path, step: int, state: dict[str, Any], *, keep: int) -> Path:
    """Write ``state`` as the save of ``step`` and delete all but the newest ``keep`` saves."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{step:08d}.pt"
    with replacing(final) as draft:
        torch.save(state, draft)
    for old in saved_states(folder)[:-keep]:
        old.unlink()
    return final


def saved_states(folder: Path) -> list[Path]:
    """Return the complete saves of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def load_latest_state(folder: Path) -> dict[str, Any] | None:
    """Return the newest save, or None where there is none; leftovers of a kill are removed.

    Raises:
        CheckpointError: the newest save cannot be read. It is not passed over: an older one
            would silently repeat steps.
    """
    for leftover in folder.glob(".step_*.partial.pt") if folder.is_dir() else ():
        leftover.unlink()
    saves = saved_states(folder)
    if not saves:
        return None
    try:
        state = torch.load(saves[-1], map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{saves[-1]}: cannot be read ({type(error).__name__}: {error}); the file is damaged. "
            "Delete it to resume from the save before it"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{saves[-1]}: expected a saved run, got {type(state).__name__}")
    return state


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return trained parameters and buffers; frozen parameters are found again by the model."""
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def load_trained_tensors(model: nn.Module, saved: dict[str, Tensor], folder: Path) -> None:
    """Load what :func:`trained_tensors` returned.

    Raises:
        CheckpointError: names or shapes differ from those of the model.
    """
    expected = trained_tensors(model)
    shapes = {name: tuple(value.shape) for name, value in expected.items()}
    found = {name: tuple(value.shape) for name, value in saved.items()}
    if shapes != found:
        differing = sorted(dict(shapes.items() ^ found.items()))
        raise CheckpointError(
            f"{folder}: the saved weights do not fit the model; they differ in {differing[:5]} "
            f"({len(differing)} in all)"
        )
    model.load_state_dict(saved, strict=False)
