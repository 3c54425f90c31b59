"""The two ways of the CPU's search for neighbours, under the sanitizers of the compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = shutil.which("c++")
SOURCES = (
    "nearest_tree",
    "nearest_tree_search",
    "nearest_index",
    "nearest_brute",
    "hilbert_order",
    "thread_pool",
)


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_tree_and_all_pairs_agree_and_touch_nothing_else(tmp_path: Path, sanitizer: str) -> None:
    program = tmp_path / "checks"
    sources = [str(Path(__file__).with_name("nearest_tree.cpp"))]
    sources += [str(ROOT / f"csrc/cpu/{name}.cpp") for name in SOURCES]
    options = ["-std=c++17", "-O1", "-g1", "-ffp-contract=off", "-pthread"]
    options += [f"-I{ROOT / folder}" for folder in ("csrc/include", "csrc/cpu")]
    options += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    subprocess.run([str(COMPILER), *options, *sources, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
