"""Find the model: where it was asked for, or where the default one is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2vlm_fast._info import __version__
from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.train import TrainConfig

VARIABLE = "G2VLM_CHECKPOINT"
_WRONG_WEIGHTS = ("missing", "unexpected", "mismatched")


class ModelError(ValueError):
    """A checkpoint cannot be loaded; says which and what to do."""


@dataclass(frozen=True)
class TrainedModel:
    """A model, and what is known of how it was trained."""

    model: G2VLM
    folder: Path
    training: dict[str, Any]  # what training.json says, empty where there is none

    def train_config(self) -> TrainConfig:
        """The run that made it.

        Raises:
            ModelError: training.json does not say.
        """
        notes = self.folder / "training.json"
        try:
            return TrainConfig.from_json(json.dumps(self.training["config"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{notes}: does not hold the configuration that the model was trained with "
                f"({error}), so its image size is not known; train with g2vlm-fast train"
            ) from error

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) that it was trained on."""
        return self.train_config().data.image_size


def default_checkpoint() -> Path:
    """Where the demo checkpoint is kept: ``$G2VLM_CHECKPOINT``, else in the user's cache.

    Each release keeps its own in the cache, as those of others may not fit its model.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return _cached_checkpoint()


def _cached_checkpoint() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    release = __version__.partition("+")[0]
    return cache / "g2vlm-fast" / release / "demo" / "checkpoint"


def is_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` holds a configuration and weights."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def load_config(folder: Path) -> G2VLMConfig:
    """Load the configuration of a checkpoint.

    Raises:
        ModelError: missing or damaged; names the file.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise _missing(path)
    try:
        with _quiet():
            return G2VLMConfig.from_pretrained(folder)
    except Exception as error:
        raise _unusable(folder, f"{type(error).__name__}: {error}") from error


def load_model(folder: Path) -> TrainedModel:
    """Load a checkpoint for inference.

    Raises:
        ModelError: missing, incomplete or damaged; names the file.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise _missing(folder / name)
    try:
        with _quiet():
            model, loading = G2VLM.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except Exception as error:
        raise _unusable(folder, f"{type(error).__name__}: {error}") from error
    counts = {kind: len(loading[f"{kind}_keys"]) for kind in _WRONG_WEIGHTS}
    if any(counts.values()):  # transformers would go on, with random weights for those missing
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        raise _unusable(folder, f"its weights are not those of the model: {told}")
    notes = folder / "training.json"
    try:
        training = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{notes}: is no JSON ({error}); train again") from error
    return TrainedModel(model.eval(), folder, training)


def _missing(path: Path) -> ModelError:
    if path.parent == _cached_checkpoint():
        return ModelError(
            f"{path}: is missing; g2vlm-fast run trains the demo model there. Or name the folder "
            "of another checkpoint with --checkpoint"
        )
    return ModelError(f"{path}: is missing; name the folder of a checkpoint with --checkpoint")


def _unusable(folder: Path, reason: str) -> ModelError:
    remedy = "name another with --checkpoint, or train one with g2vlm-fast train"
    if folder == _cached_checkpoint():  # the state of its run would be resumed, so it must go too
        remedy = f"delete the folder {folder.parent} to have the demo model trained anew"
    return ModelError(
        f"{folder}: the checkpoint cannot be loaded ({reason}); it may "
        f"be damaged or of another version: {remedy}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing progress bars and reports among ours."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
