"""The training loop: build, resume, step, save."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from g2vlm_fast.files import write_text
from g2vlm_fast.train.checkpoint import (
    CheckpointError,
    load_latest_state,
    load_trained_tensors,
    save_state,
    trained_tensors,
)
from g2vlm_fast.train.config import StageConfig, TrainConfig
from g2vlm_fast.train.log import ProgressBar, StepLog
from g2vlm_fast.train.optimizer import build_optimizer
from g2vlm_fast.train.schedule import learning_rate_factor, progress, stage_at


class Losses(Protocol):
    """What a loss returns: the weighted total, its terms by name, and the parts of the terms."""

    @property
    def total(self) -> Tensor: ...
    @property
    def terms(self) -> Mapping[str, Tensor]: ...
    @property
    def parts(self) -> Mapping[str, Tensor]: ...


ComputeLoss = Callable[[nn.Module, Any, Mapping[str, float]], Losses]
BatchesFrom = Callable[[int], Iterator[Any]]


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had no finite loss or gradient."""


@dataclass(frozen=True)
class TrainReport:
    """What a finished run did."""

    steps: int
    seconds: float
    skipped_steps: int
    last_losses: dict[str, float]


class Trainer:
    """Trains a module on a stream of batches within a budget, and can be killed at any moment.

    Args:
        config: the run; saved as ``train_config.json`` in the folder.
        model: the module; parameters that require a gradient are trained and saved.
        batches_from: gives the batches from a place on, 0 at first. A batch must be a function of
            its place alone, which is what makes resumption exact; it says the ``next_place``, or
            has none and is followed by the next number.
        compute_loss: ``(model, batch, weights) -> losses``; ``weights`` are those of the stage.
        folder: where ``log.jsonl`` and ``checkpoints/`` go. A folder that holds saves of the same
            configuration is resumed; a finished one is not trained further.
        show_progress: whether to draw a progress bar.

    Raises:
        CheckpointError: the folder holds a run of another configuration, or a damaged save.
        NotImplementedError: started as one of several distributed processes.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        batches_from: BatchesFrom,
        compute_loss: ComputeLoss,
        folder: Path | str,
        *,
        show_progress: bool = False,
    ) -> None:
        _require_single_process()
        self.config = config
        self.model = model.to(config.device)
        self.batches_from = batches_from
        self.compute_loss = compute_loss
        self.folder = Path(folder)
        self.show_progress = show_progress
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError("Trainer: model has no parameter that requires a gradient")
        self.optimizer = build_optimizer(self.parameters, config.optim)
        self.step = 0
        self.place = 0
        self.seconds = 0.0
        self.skipped_steps = 0
        self._skipped_in_a_row = 0
        torch.manual_seed(config.seed)
        self._save_config()
        self._resume()

    @property
    def used(self) -> float:
        """Share of the budget that is used, in [0, 1]."""
        return progress(self.config, self.step, self.seconds)

    def run(self) -> TrainReport:
        """Train until the budget is used; save on the way and at the end."""
        self.model.train()
        log = StepLog(self.folder / "log.jsonl", resume_step=self.step)
        losses: dict[str, float] = {}
        batches: Iterator[Any] = iter(())
        if self.used < 1.0:
            batches = iter(self.batches_from(self.place))
        try:
            with ProgressBar(enabled=self.show_progress, title=self.config.name) as bar:
                while self.used < 1.0:
                    began = time.perf_counter()
                    stage = stage_at(self.config.stages, self.used)
                    entry = self._train_step(batches, stage)
                    elapsed = time.perf_counter() - began
                    losses = entry.pop("losses")
                    entry = {"step": self.step, "stage": stage.name, "seconds": elapsed} | entry
                    if self.step % self.config.log_every == 0:
                        log.write(entry | losses)
                    self.step += 1
                    self.seconds += elapsed
                    self._show(bar, stage, entry, losses["loss"])
                    if self.step % self.config.checkpoint.every_steps == 0:
                        self.save()
            self.save()
        finally:
            log.close()
        return TrainReport(self.step, self.seconds, self.skipped_steps, losses)

    def save(self) -> Path:
        """Save everything that the next step depends on."""
        state = {
            "config": self.config.to_json(),
            "step": self.step,
            "place": self.place,
            "seconds": self.seconds,
            "skipped_steps": self.skipped_steps,
            "skipped_in_a_row": self._skipped_in_a_row,
            "model": trained_tensors(self.model),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        return save_state(
            self.folder / "checkpoints", self.step, state, keep=self.config.checkpoint.keep
        )

    def _train_step(self, batches: Iterator[Any], stage: StageConfig) -> dict[str, Any]:
        optim = self.config.optim
        learning_rate = (
            optim.lr * stage.lr_scale * learning_rate_factor(self.config.schedule, self.used)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        terms: dict[str, list[Tensor]] = {}
        waited = 0.0
        for batch, seconds in self._take(batches, optim.accumulate):
            waited += seconds
            losses = self.compute_loss(self.model, batch, stage.weights)
            (losses.total / optim.accumulate).backward()
            for name, term in {"loss": losses.total, **losses.terms, **losses.parts}.items():
                terms.setdefault(name, []).append(term.detach())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), optim.clip_norm)
        means = {name: float(torch.stack(values).mean()) for name, values in terms.items()}
        finite = math.isfinite(float(norm)) and math.isfinite(means["loss"])
        if finite:
            self.optimizer.step()
            self._skipped_in_a_row = 0
        else:
            self._skip(means)
        return {
            "waited": waited,
            "lr": learning_rate,
            "gradient_norm": float(norm),
            "applied": finite,
            "losses": means,
        }

    def _take(self, batches: Iterator[Any], count: int) -> Iterator[tuple[Any, float]]:
        """Yield the next batches, each with the seconds that it was waited for."""
        for _ in range(count):
            began = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                raise RuntimeError(
                    f"Trainer: the batches ended at step {self.step}, before the budget was used; "
                    "batches_from must give an endless stream"
                ) from None
            self.place = getattr(batch, "next_place", self.place + 1)
            yield batch, time.perf_counter() - began

    def _skip(self, losses: Mapping[str, float]) -> None:
        """Leave the parameters as they are after a step that is not finite."""
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= self.config.optim.max_skipped_steps:
            bad = sorted(name for name, value in losses.items() if not math.isfinite(value))
            raise TrainingDiverged(
                f"{self._skipped_in_a_row} steps in a row, up to step {self.step}, had a loss or "
                f"gradient that is not finite (losses: {bad or 'all finite, gradient is not'}); "
                "lower optim.lr or look at the data of these steps"
            )

    def _show(
        self, bar: ProgressBar, stage: StageConfig, entry: Mapping[str, Any], loss: float
    ) -> None:
        scenes = self.config.data.scenes_per_step * self.config.optim.accumulate
        status = f"loss {loss:.3f}  {scenes / max(entry['seconds'], 1e-9):.1f} scenes/s"
        if self.skipped_steps:
            status += f"  {self.skipped_steps} skipped"
        bar.update(self.used, title=f"{self.config.name}: {stage.name}", status=status)

    def _save_config(self) -> None:
        path = self.folder / "train_config.json"
        if path.exists():
            if TrainConfig.load(path) != self.config:
                raise CheckpointError(
                    f"{path}: this folder holds a run of another configuration; give another "
                    "folder, or delete this one to start anew"
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(path, self.config.to_json())

    def _resume(self) -> None:
        state = load_latest_state(self.folder / "checkpoints")
        if state is None:
            return
        load_trained_tensors(self.model, state["model"], self.folder)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.place = state.get("place", self.step * self.config.optim.accumulate)
        self.skipped_steps = state["skipped_steps"]
        self._skipped_in_a_row = state["skipped_in_a_row"]
        torch.set_rng_state(state["random"])
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])


def _require_single_process() -> None:
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1:
        raise NotImplementedError(
            f"Trainer: training in {world_size} processes (WORLD_SIZE) is not built yet; start one "
            "process without torchrun"
        )
