"""The CPU kernels answer to the bit alike on every instruction set that they are compiled for."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import hashlib, torch
from g2vlm_fast.ops import nearest

digest = hashlib.sha256()
for dtype in (torch.float32, torch.float64):
    for dim, k, norm in ((1, 1, 2), (3, 1, 2), (3, 5, 1), (3, 90, 2), (7, 2, 2)):
        generator = torch.Generator().manual_seed(dim)
        query = torch.randn(70, dim, generator=generator, dtype=dtype)
        target = torch.randn(333, dim, generator=generator, dtype=dtype)
        for method in ("brute", "tree") if dim <= 3 else ("brute",):
            for found in nearest(query, target, k=k, norm=norm, method=method):
                digest.update(found.numpy().tobytes())
print(digest.hexdigest())
"""


def _run(instruction_set: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "G2VLM_INSTRUCTION_SET": instruction_set}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


def test_every_instruction_set_gives_the_same_bits() -> None:
    digests = set()
    for instruction_set in ("baseline", "avx2", "avx512"):
        done = _run(instruction_set)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_an_unknown_instruction_set_is_refused() -> None:
    done = _run("sse9")
    assert done.returncode != 0
    assert "G2VLM_INSTRUCTION_SET must be baseline, avx2 or avx512, got 'sse9'" in done.stderr
