"""The loop on a module of a few numbers: learning, resuming, skipping, stopping."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from g2vlm_fast.train import (
    CheckpointConfig,
    CheckpointError,
    OptimConfig,
    StageConfig,
    TrainConfig,
    Trainer,
    TrainingDiverged,
)
from g2vlm_fast.train.beside import made_beside
from g2vlm_fast.train.trainer import BatchesFrom

STAGES = (StageConfig("first", 0.5, {"slope": 1.0}), StageConfig("second", 0.5, {"slope": 0.5}))


class ToyLosses(NamedTuple):
    total: Tensor
    terms: dict[str, Tensor]
    parts: dict[str, Tensor]


class Toy(nn.Module):
    """A line with dropout (so that random numbers matter), a frozen part and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.line = nn.Linear(4, 1)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.normalise = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.dropout(self.normalise(x)))


def batches_from(start: int) -> Iterator[tuple[Tensor, Tensor]]:
    index = start
    while True:
        generator = torch.Generator().manual_seed(index)
        x = torch.randn(16, 4, generator=generator)
        yield x, x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
        index += 1


def toy_loss(
    model: nn.Module, batch: tuple[Tensor, Tensor], weights: Mapping[str, float]
) -> ToyLosses:
    error = (model(batch[0]) - batch[1]).square().mean()
    return ToyLosses(error * weights.get("slope", 1.0), {"error": error}, {"error.all": error})


def config(**changes: object) -> TrainConfig:
    base = TrainConfig(
        name="toy",
        max_steps=12,
        stages=STAGES,
        optim=OptimConfig(lr=0.05, accumulate=2),
        checkpoint=CheckpointConfig(every_steps=5),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses_of(folder: Path) -> list[float]:
    return [entry["loss"] for entry in log_of(folder)]


def test_the_module_learns(tmp_path: Path) -> None:
    model, batch = Toy(), next(batches_from(1000))
    model.eval()
    before = toy_loss(model, batch, {}).total.item()
    report = Trainer(config(max_steps=150), model, batches_from, toy_loss, tmp_path).run()
    model.eval()
    assert report.steps == 150
    assert toy_loss(model, batch, {}).total.item() < 0.25 * before


def test_stages_and_learning_rate_follow_the_budget(tmp_path: Path) -> None:
    Trainer(config(max_steps=40), Toy(), batches_from, toy_loss, tmp_path).run()
    log = log_of(tmp_path)
    assert [entry["stage"] for entry in log] == ["first"] * 20 + ["second"] * 20
    assert log[10]["loss"] == pytest.approx(log[10]["error"])
    assert log[30]["loss"] == pytest.approx(log[30]["error"] / 2)
    rates = [entry["lr"] for entry in log]
    assert rates[0] < rates[1] < rates[2] == max(rates)
    assert rates[2:] == sorted(rates[2:], reverse=True)


class Interrupted(Exception):
    pass


def interrupted_at(count: int):  # type: ignore[no-untyped-def]
    """A loss that raises instead of the ``count``-th evaluation."""
    calls = 0

    def loss(
        model: nn.Module, batch: tuple[Tensor, Tensor], weights: Mapping[str, float]
    ) -> ToyLosses:
        nonlocal calls
        calls += 1
        if calls == count:
            raise Interrupted
        return toy_loss(model, batch, weights)

    return loss


def made_by_a_thread(start: int) -> Iterator[tuple[Tensor, Tensor]]:
    return made_beside(lambda place: next(batches_from(place)), start, device=torch.device("cpu"))


@pytest.mark.parametrize("batches_from", [batches_from, made_by_a_thread])
def test_a_resumed_run_has_the_same_bits_as_an_uninterrupted_one(
    batches_from: BatchesFrom, tmp_path: Path
) -> None:
    whole, broken = Toy(), Toy()
    Trainer(config(), whole, batches_from, toy_loss, tmp_path / "whole").run()
    trainer = Trainer(config(), broken, batches_from, interrupted_at(16), tmp_path / "broken")
    with pytest.raises(Interrupted):
        trainer.run()
    resumed = Toy()
    torch.randn(100)  # the state of the generator must come from the save
    trainer = Trainer(config(), resumed, batches_from, toy_loss, tmp_path / "broken")
    assert trainer.step == 5
    trainer.run()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert losses_of(tmp_path / "broken") == losses_of(tmp_path / "whole")


KILLED = """
import sys, time
sys.path.insert(0, {here!r})
from test_trainer import Toy, batches_from, config, toy_loss
from g2vlm_fast.train import CheckpointConfig, Trainer

def slow_loss(*arguments):
    time.sleep(0.004)
    return toy_loss(*arguments)

run = config(max_steps=60, checkpoint=CheckpointConfig(every_steps=1))
Trainer(run, Toy(), batches_from, slow_loss, {folder!r}).run()
"""


def test_a_killed_run_resumes_on_the_same_loss_curve(tmp_path: Path) -> None:
    run = config(max_steps=60, checkpoint=CheckpointConfig(every_steps=1))
    Trainer(run, Toy(), batches_from, toy_loss, tmp_path / "whole").run()
    folder = tmp_path / "killed"
    script = KILLED.format(here=str(Path(__file__).parent), folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", script], env=os.environ) as process:
        deadline = time.monotonic() + 240
        while len(list(folder.glob("checkpoints/step_*.pt"))) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    trainer = Trainer(run, Toy(), batches_from, toy_loss, folder)
    assert 0 < trainer.step < 60
    trainer.run()
    assert losses_of(folder) == losses_of(tmp_path / "whole")
    assert [entry["step"] for entry in log_of(folder)] == list(range(60))


class Placed(tuple[Tensor, Tensor]):
    """A batch that says where the next one begins."""

    next_place: int


def test_a_run_goes_on_from_the_place_that_its_last_batch_named(tmp_path: Path) -> None:
    asked: list[int] = []

    def uneven(place: int) -> Iterator[Placed]:
        asked.append(place)
        while True:
            batch = Placed(next(batches_from(place)))
            place += 2 + place % 3
            batch.next_place = place
            yield batch

    half = config(max_steps=6)
    first = Trainer(half, Toy(), uneven, toy_loss, tmp_path)
    first.run()
    again = Trainer(half, Toy(), uneven, toy_loss, tmp_path)
    assert asked == [0]
    assert again.place == first.place > 12


def test_frozen_parameters_are_neither_saved_nor_needed(tmp_path: Path) -> None:
    Trainer(config(), Toy(), batches_from, toy_loss, tmp_path).run()
    state = torch.load(tmp_path / "checkpoints/step_00000012.pt", weights_only=True)
    assert "line.weight" in state["model"]
    assert "normalise.running_mean" in state["model"]
    assert not any(name.startswith("frozen") for name in state["model"])


def test_only_the_newest_saves_are_kept(tmp_path: Path) -> None:
    Trainer(config(), Toy(), batches_from, toy_loss, tmp_path).run()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_00000010.pt", "step_00000012.pt"]


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    Trainer(config(), Toy(), batches_from, toy_loss, tmp_path).run()

    def no_batches(start: int) -> Iterator[tuple[Tensor, Tensor]]:
        raise AssertionError("a finished run asked for batches")

    report = Trainer(config(), Toy(), no_batches, toy_loss, tmp_path).run()
    assert report.steps == 12
    assert len(log_of(tmp_path)) == 12


def test_steps_that_are_not_finite_change_nothing_and_are_counted(tmp_path: Path) -> None:
    def poisoned(
        model: nn.Module, batch: tuple[Tensor, Tensor], weights: Mapping[str, float]
    ) -> ToyLosses:
        losses = toy_loss(model, batch, weights)
        poison = trainer.step in (3, 4)
        return ToyLosses(losses.total * (torch.nan if poison else 1.0), losses.terms, {})

    model = Toy()
    trainer = Trainer(config(), model, batches_from, poisoned, tmp_path)
    report = trainer.run()
    assert report.skipped_steps == 2
    skipped = [entry for entry in log_of(tmp_path) if not entry["applied"]]
    assert [entry["step"] for entry in skipped] == [3, 4]
    assert [entry["loss"] for entry in skipped] == [None, None]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_too_many_bad_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    def poisoned(
        model: nn.Module, batch: tuple[Tensor, Tensor], weights: Mapping[str, float]
    ) -> ToyLosses:
        losses = toy_loss(model, batch, weights)
        return ToyLosses(losses.total * torch.inf, losses.terms, {})

    optim = OptimConfig(max_skipped_steps=3)
    trainer = Trainer(config(optim=optim), Toy(), batches_from, poisoned, tmp_path)
    with pytest.raises(TrainingDiverged, match=r"3 steps in a row.*loss"):
        trainer.run()


def test_a_time_budget_is_kept(tmp_path: Path) -> None:
    run = config(max_steps=None, max_seconds=1.0)
    report = Trainer(run, Toy(), batches_from, toy_loss, tmp_path).run()
    assert report.steps > 2
    assert 1.0 <= report.seconds < 10.0
    assert {entry["stage"] for entry in log_of(tmp_path)} == {"first", "second"}


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    Trainer(config(), Toy(), batches_from, toy_loss, tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        Trainer(config(seed=1), Toy(), batches_from, toy_loss, tmp_path)


def test_a_damaged_save_is_named_and_not_passed_over(tmp_path: Path) -> None:
    Trainer(config(), Toy(), batches_from, toy_loss, tmp_path).run()
    newest = tmp_path / "checkpoints/step_00000012.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"step_00000012\.pt.*damaged"):
        Trainer(config(), Toy(), batches_from, toy_loss, tmp_path)


def test_a_save_of_another_model_is_refused(tmp_path: Path) -> None:
    Trainer(config(), Toy(), batches_from, toy_loss, tmp_path).run()
    other = Toy()
    other.line = nn.Linear(4, 2)
    with pytest.raises(CheckpointError, match=r"line\.bias"):
        Trainer(config(), other, batches_from, toy_loss, tmp_path)


def test_batches_that_end_early_are_an_error(tmp_path: Path) -> None:
    trainer = Trainer(config(), Toy(), lambda start: iter(()), toy_loss, tmp_path)
    with pytest.raises(RuntimeError, match="endless"):
        trainer.run()


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NotImplementedError, match="WORLD_SIZE"):
        Trainer(config(), Toy(), batches_from, toy_loss, tmp_path)
