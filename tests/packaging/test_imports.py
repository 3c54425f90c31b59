"""What importing the ops needs, and what it costs."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import textwrap

import pytest

from g2vlm_fast import ops

# What torch itself imports stays allowed; the rest of the environment is hidden.
ALLOWED = ("g2vlm_fast", "torch", "torchgen", "functorch", "numpy", "nanobind_backend")
HIDDEN = (
    "open3d",
    "transformers",
    "triton",
    "scipy",
    "matplotlib",
    "networkx",
    "skimage",
    "PIL",
    "safetensors",
    "tyro",
    "rich",
    "sklearn",
    "pytest",
)
# The interpreter of Triton is for tests; without byte code an import is mostly compilation.
UNSET = ("TRITON_INTERPRET", "PYTHONDONTWRITEBYTECODE")
HIDING = f"""
import sys

class Hiding:
    '''A finder that does not find some packages, as if they were not installed.'''

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN!r}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def run(code: str, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in UNSET}
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**variables, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ops_work_with_torch_numpy_and_nanobind_backend_alone() -> None:
    code = HIDING + textwrap.dedent(
        """
        import torch
        import g2vlm_fast
        import g2vlm_fast.ops as ops

        x = torch.rand(40, 3, requires_grad=True)
        distance, index = ops.nearest(x, torch.rand(50, 3))
        distance.sum().backward()
        assert index.shape == (40, 1) and x.grad.isfinite().all()
        report = g2vlm_fast.backend_report()
        assert report["backends"]["cpu"] is None
        assert "triton" in report["backends"]["triton"]
        """
    )
    run(code)


def test_ops_import_nothing_beyond_their_dependencies() -> None:
    listing = """
        import json, sys
        import torch
        before = set(sys.modules)
        import g2vlm_fast.ops
        print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
    """
    fresh = set(json.loads(run(listing)))
    foreign = {
        name
        for name in fresh
        if name not in ALLOWED and name not in sys.stdlib_module_names and not name.startswith("_")
    }
    assert not foreign


def test_ops_names_every_function_and_class_of_its_public_modules() -> None:
    public = {"BackendError", "use_backend", "register_flop_formulas"}  # of private modules
    for info in pkgutil.iter_modules(ops.__path__):
        if info.ispkg or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"g2vlm_fast.ops.{info.name}")
        public |= {
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module.__name__
        }
    assert sorted(public) == sorted(ops.__all__)
    assert all(getattr(ops, name).__name__ == name for name in ops.__all__)


def test_importing_ops_adds_at_most_50_ms_to_torch() -> None:
    timing = """
        import time
        import torch
        begin = time.process_time()  # what other processes take does not count
        import g2vlm_fast.ops
        print(time.process_time() - begin)
    """
    run(timing)  # writes the byte code
    assert any(float(run(timing)) <= 0.050 for _ in range(5))


@pytest.mark.parametrize(
    "module",
    [
        "g2vlm_fast",
        "g2vlm_fast.compat.kaolin",
        "g2vlm_fast.compat.pyg",
        "g2vlm_fast.compat.pytorch3d",
        "g2vlm_fast.compat.torch_scatter",
        "g2vlm_fast.integrations",
        "g2vlm_fast.nn",
        "g2vlm_fast.profiling",
        "g2vlm_fast.records",
    ],
)
def test_light_modules_import_no_heavy_library(module: str) -> None:
    loaded = set(run(f"import sys, {module}; print(*sys.modules)").split())
    assert not loaded & {"open3d", "transformers", "scipy", "matplotlib", "skimage", "sklearn"}
