"""What a wheel holds. Slow: builds one."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / "CMakeLists.txt").is_file():
        pytest.skip("not a source tree")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", str(ROOT), "-w", str(folder)),
            *("--no-build-isolation", "--no-deps", "--disable-pip-version-check"),
            *("-Ccmake.define.G2VLM_CUDA=OFF", f"-Cbuild-dir={folder}/build"),
        ],
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_is_one_for_every_python(wheel: Path) -> None:
    assert wheel.name.split("-")[2:4] == ["cp311", "abi3"]


def test_wheel_holds_package_kernels_contracts_and_stub(names: set[str]) -> None:
    missing = {
        "g2vlm_fast/__init__.py",
        "g2vlm_fast/_C.abi3.so",
        "g2vlm_fast/_C.pyi",
        "g2vlm_fast/py.typed",
        "g2vlm_fast/compat/pytorch3d.py",
        "g2vlm_fast/ops/nearest.py",
        "g2vlm_fast/profiling/command.py",
        "g2vlm_fast/kernels/triton/__init__.py",
        "g2vlm_fast/include/g2vlm/nearest.h",
    } - names
    assert not missing


def test_wheel_holds_nothing_else(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"g2vlm_fast"}
    unwanted = (".cu", ".cuh", ".cpp", ".a", ".o", ".pyc", ".partial")
    assert not [name for name in names if name.endswith(unwanted)]


def test_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 4 * 2**20


def test_licence_travels_with_the_wheel(names: set[str]) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.endswith("/licenses/NOTICE") for name in names)
