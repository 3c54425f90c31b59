"""The source tree and the module that is built from it."""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

import g2vlm_fast
from g2vlm_fast import _C

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "CMakeLists.txt").is_file():
    pytest.skip("not a source tree", allow_module_level=True)


@pytest.mark.parametrize("folder", ["kernels", "kernels/cuda", "python", "python/bindings", "csrc"])
def test_source_folders_are_no_packages(folder: str) -> None:
    """With the repository as working directory they would hide packages of those names."""
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_tests_and_benchmarks_are_no_packages() -> None:
    found = [*ROOT.glob("tests/**/__init__.py"), *ROOT.glob("benchmarks/**/__init__.py")]
    assert found == []


def test_native_module_is_one_for_every_python() -> None:
    """Its name carries the stable ABI, not the version of one interpreter."""
    name = Path(_C.__file__).name
    if sys.platform == "win32":
        assert name == "_C.pyd"
    else:
        assert name == "_C.abi3.so"
    assert sysconfig.get_config_var("SOABI") not in name


def test_device_code_includes_neither_python_nor_torch() -> None:
    forbidden = ("Python.h", "nanobind", "pybind11", "torch/", "ATen", "c10/")
    sources = [*ROOT.glob("csrc/**/*"), *ROOT.glob("kernels/cuda/*")]
    for source in (path for path in sources if path.is_file()):
        includes = [line for line in source.read_text().splitlines() if "#include" in line]
        assert not [line for line in includes for word in forbidden if word in line], source


@pytest.mark.parametrize("folder", ["eval", "losses", "model", "train"])
def test_neighbours_of_points_are_searched_by_the_ops_alone(folder: str) -> None:
    others = ("KDTree", "NearestNeighbors", "knn_points", "sided_distance", "scipy.spatial")
    for source in (ROOT / "g2vlm_fast" / folder).rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        assert not [word for word in others if word in text], source


def test_version_of_the_module_is_that_of_the_package() -> None:
    assert g2vlm_fast.__version__ == version("g2vlm-fast")


def test_ops_need_three_packages() -> None:
    needed = [each for each in metadata("g2vlm-fast").get_all("Requires-Dist") if ";" not in each]
    names = {each.split(">")[0].split("=")[0].strip() for each in needed}
    assert names == {"torch", "numpy", "nanobind-backend"}
