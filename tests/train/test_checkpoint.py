"""Saves of a run, and what a kill leaves beside them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from g2vlm_fast.files import replacing
from g2vlm_fast.train.checkpoint import load_latest_state, save_state


def test_leftover_of_a_kill_is_removed_and_the_save_before_it_is_used(tmp_path: Path) -> None:
    save_state(tmp_path, 3, {"step": 3}, keep=2)
    with replacing(tmp_path / "step_00000004.pt") as draft:
        torch.save({"step": 4}, draft)
        half = draft.read_bytes()[:100]
        leftover = draft
    (tmp_path / "step_00000004.pt").unlink()
    leftover.write_bytes(half)
    assert load_latest_state(tmp_path) == {"step": 3}
    assert os.listdir(tmp_path) == ["step_00000003.pt"]
