"""Commands of g2vlm-fast, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from g2vlm_fast.cli import BAD_INPUT, main

Console = pytest.CaptureFixture[str]


def told_by(console: Console, *arguments: str) -> str:
    """Run a command that succeeds, and return what it says."""
    assert main(list(arguments)) == 0
    return console.readouterr().out


def refused_by(console: Console, *arguments: str) -> str:
    """Run a command that refuses its input, and return the one paragraph that it says."""
    assert main(list(arguments)) == BAD_INPUT
    message = console.readouterr().err
    assert "Traceback" not in message
    told = message[message.index("g2vlm-fast: ") :].strip()
    assert "\n" not in told
    return told


def light_help_of(command: str) -> str:
    """Return the help of a command, which must import neither torch nor open3d."""
    program = (
        "import sys; from g2vlm_fast.cli import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "finally: assert 'torch' not in sys.modules and 'open3d' not in sys.modules"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
