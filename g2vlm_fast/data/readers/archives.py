"""NumPy archives from strangers: no pickles, and no more memory than the file accounts for."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError

MOST_BYTES = 8 * 2**30
"""Bytes that the arrays of one archive may take."""

_MOST_SWELLING = 200
"""How many times its compressed size an archive may take; photographs of a wall take less."""

_REMEDY = "Write it with numpy.savez or numpy.savez_compressed, in float32"


def read_npz(path: Path, names: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """The float32 arrays of an ``.npz`` file.

    Args:
        path: the file.
        names: arrays that may be there.

    Raises:
        ScanError: no archive, cut off, an unknown or repeated name, another dtype, a pickle, or
            an entry whose header and size do not agree.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_size(path, sum(entry.file_size for entry in entries), path.stat().st_size)
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name not in names or name in arrays:
                    raise ScanError(
                        path, f"holds the unknown or repeated array {entry.filename[:40]!r}",
                        f"Known are {', '.join(names)}",
                    )  # fmt: skip
                with archive.open(entry) as file:
                    arrays[name] = _read_array(path, name, file, entry.file_size)
    except ScanError:
        raise
    except Exception as error:  # zipfile and zlib raise what they like on damaged files
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ScanError(path, f"is cut off or no archive ({told})", _REMEDY) from error
    return arrays


def _check_size(path: Path, inflated: int, stored: int) -> None:
    if inflated > MOST_BYTES or inflated > 2**20 + _MOST_SWELLING * stored:
        raise ScanError(
            path, f"would swell from {stored:,} to {inflated:,} bytes", "Store it uncompressed"
        )


def _read_array(path: Path, name: str, file: IO[bytes], size: int) -> NDArray[np.float32]:
    version = np.lib.format.read_magic(file)
    readers: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ScanError(path, f"{name} is stored in version {version}", _REMEDY)
    shape, fortran_order, dtype = readers[version](file)
    if dtype != np.dtype("<f4"):
        raise ScanError(path, f"{name} must be float32, got {dtype}", _REMEDY)
    expected = 4 * math.prod(shape)
    if expected != size - file.tell():
        raise ScanError(path, f"{name} declares {shape}, but holds other data", _REMEDY)
    values = np.frombuffer(file.read(expected), dtype="<f4")
    return values.reshape(shape, order="F" if fortran_order else "C").astype(np.float32)
