"""The thread pool of the CPU kernels: threads, forks, exceptions, callers at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import nearest

ROOT = Path(__file__).resolve().parents[2]
CHECKS = Path(__file__).with_name("thread_pool.cpp")
COMPILER = shutil.which("c++")


def _search(query: Tensor, target: Tensor, threads: int) -> tuple[Tensor, Tensor]:
    distance = torch.empty(len(query), 1)
    index = torch.empty(len(query), 1, dtype=torch.int32)
    _C.nearest_cpu(query, target, None, None, distance, index, 2, float("inf"), 0, threads)
    return distance, index


def _run(script: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("sanitizer", ["", pytest.param("thread", marks=pytest.mark.slow)])
def test_pieces_exceptions_nesting_and_many_callers(tmp_path: Path, sanitizer: str) -> None:
    program = tmp_path / "checks"
    sources = [str(CHECKS), str(ROOT / "csrc/cpu/thread_pool.cpp")]
    options = ["-std=c++17", "-O1", "-pthread", f"-I{ROOT / 'csrc/include'}"]
    if sanitizer:
        options.append(f"-fsanitize={sanitizer}")
    subprocess.run([str(COMPILER), *options, *sources, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    query, target = torch.rand(1000, 3), torch.rand(700, 3)
    alone = _search(query, target, 1)
    for threads in (2, 3, 7):
        for a, b in zip(alone, _search(query, target, threads), strict=True):
            assert torch.equal(a, b)


def test_python_threads_call_at_once() -> None:
    query, target = torch.rand(2000, 3), torch.rand(500, 3)
    distance, index = _search(query, target, 1)
    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(lambda _: _search(query, target, 3), range(64)))
    for found_distance, found_index in results:
        assert torch.equal(found_distance, distance)
        assert torch.equal(found_index, index)


def test_a_forked_child_has_threads_of_its_own() -> None:
    output = _run("""
import os, torch
from g2vlm_fast.ops import nearest
torch.set_num_threads(2)
points = torch.rand(2000, 3)
before = nearest(points, points)[1]
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(nearest(points, points)[1], before) else 1)
print(os.waitpid(child, 0)[1])
""")
    assert output == "0"


def test_data_loader_workers_compute() -> None:
    output = _run("""
import torch
from g2vlm_fast.ops import nearest

class Clouds(torch.utils.data.Dataset):
    def __len__(self):
        return 6
    def __getitem__(self, i):
        torch.set_num_threads(2)
        points = torch.rand(1500, 3, generator=torch.Generator().manual_seed(i))
        return nearest(points, points)[1].flatten()

if __name__ == "__main__":
    torch.set_num_threads(2)
    clouds = Clouds()
    here = torch.stack([clouds[i] for i in range(6)])
    loader = torch.utils.data.DataLoader(clouds, 3, num_workers=2, multiprocessing_context="fork")
    print(torch.equal(torch.cat(list(loader)), here))
""")
    assert output == "True"


def test_the_callers_rounding_mode_neither_matters_nor_changes() -> None:
    tiny = torch.tensor([[1e-21, 0.0, 0.0]])
    truth = nearest(tiny, torch.zeros(1, 3))[0]
    assert truth.item() > 0, "the squared distance is a denormal number"
    assert torch.set_flush_denormal(True)
    try:
        assert torch.equal(
            nearest(tiny, torch.zeros(1, 3))[0].view(torch.int32), truth.view(torch.int32)
        )
        assert (torch.tensor([1e-39]) * 0.5).item() == 0, "the caller still flushes"
    finally:
        torch.set_flush_denormal(False)
