"""Every block of Python in docs/ runs as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import serialized_points
import torch

DOCS = Path(__file__).resolve().parents[1] / "docs"
SECTION = re.compile(r"^## (?P<title>.+?)$(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[object]:
    return [
        pytest.param(block, id=f"{page.stem}: {section['title']}")
        for page in sorted(DOCS.glob("*.md"))
        for section in SECTION.finditer(page.read_text())
        for block in BLOCK.findall(section["body"])
    ]


@pytest.fixture(autouse=True)
def pointcept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point Transformer V3 needs spconv; what has its interface stands in for it."""
    name = "pointcept.models.point_transformer_v3.point_transformer_v3m1_base"
    monkeypatch.setitem(sys.modules, name, serialized_points)


@pytest.mark.parametrize("block", blocks())
def test_every_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(block, "docs", "exec"), {"__name__": "docs"})


def test_every_block_is_found() -> None:
    fences = sum(page.read_text().count("```python") for page in DOCS.glob("*.md"))
    assert len(blocks()) == fences >= 5
