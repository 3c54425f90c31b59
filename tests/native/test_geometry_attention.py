"""Attention on the CPU with every term and option, under the sanitizers of the compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = shutil.which("c++")
SOURCES = ("geometry_attention", "geometry_attention_backward", "thread_pool")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_every_option_at_its_largest_touches_nothing_else(tmp_path: Path, sanitizer: str) -> None:
    program = tmp_path / "checks"
    sources = [str(Path(__file__).with_name("geometry_attention.cpp"))]
    sources += [str(ROOT / f"csrc/cpu/{name}.cpp") for name in SOURCES]
    options = ["-std=c++17", "-O1", "-g1", "-pthread"]
    options += [f"-I{ROOT / folder}" for folder in ("csrc/include", "csrc/cpu")]
    options += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    subprocess.run([str(COMPILER), *options, *sources, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
