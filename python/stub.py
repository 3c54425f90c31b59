"""Writes g2vlm_fast/_C.pyi from the native module, or with --check says how they differ.

Functions that only a CUDA build has end in ``_cuda``. A CPU build vouches for all the others: with
it, those functions are kept as they stand in the file, and left out of the comparison. Pass the
library of a CUDA build (``<build folder>/_C.abi3.so``; no GPU is needed) to renew them.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from nanobind.stubgen import StubGen

STUB = Path(__file__).resolve().parents[1] / "g2vlm_fast" / "_C.pyi"
HEADER = '''"""Native kernels of g2vlm_fast; call them through g2vlm_fast.ops."""

# Written by python/stub.py.

'''
IMPORTS = {
    "Sequence": "from collections.abc import Sequence\n",
    "overload": "from typing import overload\n",
    "torch": "\nimport torch\n",
}
Signatures = dict[str, list[str]]


def signatures(stub: str) -> Signatures:
    """Return the different signatures of every name: dtypes look alike, and values vary."""
    found: Signatures = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            name, text = node.name, ast.unparse(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, text = node.target.id, f"{node.target.id}: {ast.unparse(node.annotation)}"
        else:
            continue
        known = found.setdefault(name, [])
        if text not in known:
            known.append(text)
    return found


def native_module(library: Path | None) -> ModuleType:
    """Return the native module that is installed, or the one in ``library``."""
    if library is None:
        return importlib.import_module("g2vlm_fast._C")
    spec = importlib.util.spec_from_file_location("g2vlm_fast._C", library.resolve())
    if spec is None or spec.loader is None:
        raise SystemExit(f"{library}: not a Python extension module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def offered_by(module: ModuleType) -> Signatures:
    generator = StubGen(module=module, quiet=True)
    generator.put(module)
    return signatures(generator.get())


def rendered(offered: Signatures) -> str:
    """Return the text of the stub."""
    variables, functions = [], []
    for _, texts in sorted(offered.items()):
        mark = "@overload\n" if len(texts) > 1 else ""
        for text in texts:
            if text.startswith("def "):
                functions.append(_wrapped(mark + text.replace("\n    ...", " ...")))
            else:
                variables.append(text)
    body = "\n".join([*variables, "", *functions]) + "\n"
    return HEADER + "".join(line for name, line in IMPORTS.items() if name in body) + "\n" + body


def _wrapped(text: str) -> str:
    """Put one argument on each line of a long signature, as ruff format does."""
    *marks, line = text.split("\n")
    if len(line) > 100:
        head, _, tail = line.partition("(")
        arguments, _, result = tail.rpartition(") ->")
        lines = "".join(f"    {each.strip()},\n" for each in arguments.split(", "))
        line = f"{head}(\n{lines}) ->{result}"
    return "\n".join([*marks, line])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where they differ")
    parser.add_argument("library", type=Path, nargs="?", help="of another build than the installed")
    options = parser.parse_args()
    module = native_module(options.library)
    offered = offered_by(module)
    committed = signatures(STUB.read_text()) if STUB.is_file() else {}
    if not module.cuda_architectures:
        print("a CPU build: functions that end in _cuda are taken as they stand", file=sys.stderr)
        offered |= {name: texts for name, texts in committed.items() if name.endswith("_cuda")}
    fresh = rendered(offered)
    if not options.check:
        STUB.write_text(fresh)
        return 0
    held = STUB.read_text() if STUB.is_file() else ""
    sys.stdout.writelines(
        difflib.unified_diff(
            held.splitlines(True), fresh.splitlines(True), "g2vlm_fast/_C.pyi", "the built module"
        )
    )
    return int(held != fresh)


if __name__ == "__main__":
    raise SystemExit(main())
