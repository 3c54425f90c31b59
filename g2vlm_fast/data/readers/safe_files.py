"""Files that nobody vouches for: read within limits, and never outside the scan.

What a header declares is held against the size of the file before memory is taken for it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError

MOST_TEXT = 512 * 2**20
"""Bytes of the largest text file that is read; annotations of large scenes take about 100 MiB."""

MOST_BINARY = 8 * 2**30
"""Bytes of the largest binary file that is read as a whole."""


def read_bytes(path: Path, most: int = MOST_BINARY) -> bytes:
    """The content of a file.

    Raises:
        ScanError: missing, unreadable, not a plain file, or larger than ``most``.
    """
    restore = "Restore the file"
    if not path.exists():
        raise ScanError(path, "is missing", restore)
    if not path.is_file():
        raise ScanError(path, "is not a plain file", restore)
    try:
        if path.stat().st_size > most:
            raise ScanError(
                path, f"is larger than {most:,} bytes", "Check that it is what its name says"
            )
        return path.read_bytes()
    except OSError as error:
        raise ScanError(path, f"cannot be read ({error.strerror})", "Grant permission") from error


def read_text(path: Path) -> str:
    """The content of a UTF-8 text file, without a byte order mark.

    Raises:
        ScanError: as :func:`read_bytes`, or no UTF-8.
    """
    try:
        return read_bytes(path, MOST_TEXT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScanError(path, f"cannot be read as text ({error})", "Restore the file") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are neither empty nor a comment (``#``)."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ScanError: as :func:`read_text`, or no JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ScanError(path, f"is no JSON, or cut off ({error})", "Copy the file again") from error


def read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header line.

    Raises:
        ScanError: as :func:`read_text`; a column is missing, or a row is too short.
    """
    remedy = f"Write a header line with the columns {', '.join(columns)}"
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        lacking = [name for name in columns if name not in (reader.fieldnames or ())]
        if lacking:
            raise ScanError(path, f"has no column {', '.join(lacking)}", remedy)
        rows = list(reader)
    except csv.Error as error:
        raise ScanError(path, f"is no table ({error})", remedy) from error
    for number, row in enumerate(rows, start=2):
        if any(row[name] is None for name in columns):
            raise ScanError(path, f"line {number} is cut off", "Copy the file again")
    return rows


def inside(root: Path, name: str, named_by: Path) -> Path:
    """The file that ``name`` stands for, which must lie in ``root``.

    Args:
        root: folder of the scan.
        name: path relative to ``root``, as some file of the scan tells it.
        named_by: that file, for the message.

    Raises:
        ScanError: absolute, or out of ``root`` by ``..`` or by a link.
    """
    remedy = "Name files inside the folder of the scan, relative to it"
    if "\0" in name:
        raise ScanError(named_by, "names a file with a null character", remedy)
    path = root / name
    try:
        leaves = not path.resolve().is_relative_to(root.resolve())
        path.is_file()  # raises where no file can have that name
    except (OSError, RuntimeError, ValueError):
        leaves = True
    if leaves or os.path.isabs(name):
        raise ScanError(named_by, f"names {name!r}, which lies outside of {root.name}/", remedy)
    return path


@dataclass(frozen=True)
class Fields:
    """The fields of a JSON object, each checked as it is taken.

    Attributes:
        path: the file, for messages.
        values: the object.
        where: which object of the file ("frame 3"), for messages.
    """

    path: Path
    values: Mapping[str, Any]
    where: str = ""

    @staticmethod
    def of(path: Path, value: Any, where: str = "") -> Fields:
        """Take ``value`` for an object.

        Raises:
            ScanError: it is something else.
        """
        if not isinstance(value, Mapping):
            raise ScanError(
                path,
                f"{where or 'the file'} is {type(value).__name__}, not an object",
                "Write it in the documented layout",
            )
        return Fields(path, value, where)

    @staticmethod
    def read(path: Path) -> Fields:
        """Read a file that holds one JSON object."""
        return Fields.of(path, read_json(path))

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; ``default`` where it is absent, unless that is None."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        try:
            number = float(value)
        except OverflowError as error:
            raise self._wrong(name, "a number of ordinary size") from error
        if not np.isfinite(number):
            raise self._wrong(name, "a finite number")
        return number

    def integer(self, name: str) -> int:
        """An integer, also where it is written as text ("17")."""
        value = self.values.get(name)
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 20:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "an integer")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A text; ``default`` where it is absent, unless that is None."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def list(self, name: str) -> list[Any]:
        """A list."""
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value

    def objects(self, name: str) -> Iterator[Fields]:
        """The objects of a list."""
        for index, value in enumerate(self.list(name)):
            yield Fields.of(self.path, value, f"{name} {index}")

    def array(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Numbers in ``shape``; they may be nested in any way. NaN and infinity pass."""
        try:
            numbers = np.asarray(self.values.get(name), dtype=np.float64)
            return numbers.reshape(shape)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._wrong(name, f"{'x'.join(map(str, shape))} numbers") from error

    def _wrong(self, name: str, expected: str) -> ScanError:
        where = f" of {self.where}" if self.where else ""
        came = "nothing" if name not in self.values else repr(self.values[name])[:60]
        return ScanError(
            self.path, f"{name}{where} must be {expected}, got {came}", "Correct the file"
        )


class Cursor:
    """Reads little-endian numbers from bytes, one after the other.

    Raises:
        ScanError: on any step, where the file ends too early.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self._data, self._at = path, data, 0

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self._data) - self._at

    def take(self, layout: str) -> tuple[Any, ...]:
        """Numbers by a layout of :mod:`struct`, without its byte order."""
        return struct.unpack(f"<{layout}", self.take_bytes(struct.calcsize(f"<{layout}")))

    def take_bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if not 0 <= count <= self.left:
            raise self.cut_off(f"{count:,} more bytes, there are {self.left:,}")
        part = self._data[self._at : self._at + count]
        self._at += count
        return part

    def take_text(self) -> str:
        """Text up to a null byte."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise self.cut_off("a name that ends")
        name = self.take_bytes(end + 1 - self._at)[:-1]
        try:
            return name.decode()
        except UnicodeDecodeError as error:
            raise ScanError(self.path, "holds a name that is no text", "Write it again") from error

    def count(self, least_bytes: int) -> int:
        """A number of things, each of at least ``least_bytes`` in the rest of the file."""
        (count,) = self.take("Q")
        if count * least_bytes > self.left:
            raise self.cut_off(f"{count:,} entries, there are {self.left:,} bytes")
        return int(count)

    def cut_off(self, expected: str) -> ScanError:
        """The error for a file that promises more than it holds."""
        return ScanError(
            self.path, f"is cut off or no such file: expected {expected}", "Copy the file again"
        )
