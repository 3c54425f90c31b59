"""Every command that README and docs/ tell of is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("tyro", reason="the command line needs the extra `app`")

from g2vlm_fast.cli import _parse

DOCS = Path(__file__).resolve().parents[1] / "docs"
README = DOCS.parent / "README.md"
COMMAND = re.compile(
    r"(?:^|`)(?:\S+/|torchrun [^`\n]*)?g2vlm-fast ((?:[^`\n\\#]|\\\n)+)", re.MULTILINE
)
"""What stands behind the name of the program, on a line or between backticks."""


def commands() -> list[object]:
    """Whole commands: more than a name of one, and nothing left out of them."""
    return [
        pytest.param(words, id=f"{page.stem}: {' '.join(words)[:60]}")
        for page in (README, *sorted(DOCS.glob("*.md")))
        for text in COMMAND.findall(page.read_text())
        for words in [shlex.split(text.replace("\\\n", " "))]
        if len(words) > 1 and not {"...", "|"} & set(words)
    ]


@pytest.mark.parametrize("words", commands())
def test_every_command_is_understood(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if words[0] == "profile":
        pytest.skip("reads its own options")
    numbered = [re.sub(r"^(SEED|N)$", "7", word) for word in words]
    try:
        _parse([re.sub(r"^PROGRAM$", "kitchen", word) for word in numbered])
    except SystemExit as left:
        if left.code:
            pytest.fail(capsys.readouterr().err)


def test_commands_are_found_on_every_page_that_has_some() -> None:
    found = {str(each.id).partition(":")[0] for each in commands()}  # type: ignore[attr-defined]
    assert {"README", "evaluation", "baselines"} <= found
