"""Meshes and points from PLY files, whatever is wrong with them.

Libraries trust what the header declares; here it is held against the size of the file first.

Source: Turk, *The PLY Polygon File Format*, 1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import read_bytes

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST_HEADER = 65536
_SAVE = "Save it again as a binary PLY of triangles"


@dataclass(frozen=True)
class PlyMesh:
    """What a PLY file holds.

    Attributes:
        vertices: ``[N, 3]`` float64.
        faces: ``[F, 3]`` int64; polygons are cut into fans.
        colors: ``[N, 3]`` float64 in [0, 1]; None: there are none.
        labels: integer properties of vertices by name, ``[N]`` ("objectId").
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    colors: NDArray[np.float64] | None
    labels: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class _Property:
    name: str
    type: str
    count_type: str | None  # of a list


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]

    @property
    def least_numbers(self) -> int:
        return self.count * len(self.properties)


def read_ply(path: Path) -> PlyMesh:
    """Read the vertices and faces of a PLY file.

    Raises:
        ScanError: unreadable, no PLY, or cut off.
    """
    data = read_bytes(path)
    header, found, body = data[:_LONGEST_HEADER].partition(b"end_header")
    if not data.startswith(b"ply") or not found:
        raise ScanError(path, "has no readable PLY header", _SAVE)
    order, elements = _header(path, header.decode("ascii", errors="replace"))
    start = len(header) + len(found) + (2 if body[:2] == b"\r\n" else 1)
    tables: dict[str, dict[str, Any]] = {}
    reader = _Text(path, data[start:]) if order == "" else _Binary(path, data, start, order)
    for element in elements:
        tables[element.name] = reader.take(element)
        if "vertex" in tables and "face" in tables:
            break
    return _mesh(path, tables.get("vertex", {}), tables.get("face", {}))


def _header(path: Path, text: str) -> tuple[str, list[_Element]]:
    order, elements = None, []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            order = _BYTE_ORDERS.get(words[1])
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isdecimal():
            elements.append(_Element(words[1], int(words[2][:18]), []))
        elif words[:1] == ["property"] and elements:
            elements[-1].properties.append(_property(path, line, words))
        elif words[:1] in (["element"], ["property"]):
            raise ScanError(path, f"has the header line {line[:60]!r}", _SAVE)
    if order is None:
        raise ScanError(path, "does not say how its numbers are stored", _SAVE)
    return order, elements


def _property(path: Path, line: str, words: list[str]) -> _Property:
    if len(words) == 5 and words[1] == "list" and {words[2], words[3]} <= _TYPES.keys():
        return _Property(words[4], _TYPES[words[3]], _TYPES[words[2]])
    if len(words) == 3 and words[1] in _TYPES:
        return _Property(words[2], _TYPES[words[1]], None)
    raise ScanError(path, f"has the header line {line[:60]!r}", _SAVE)


class _Binary:
    """Elements from bytes, one after the other."""

    def __init__(self, path: Path, data: bytes, start: int, order: str) -> None:
        self._path, self._data, self._at, self._order = path, data, start, order

    def take(self, element: _Element) -> dict[str, Any]:
        lists = [part for part in element.properties if part.count_type is not None]
        if not lists:
            rows = self._rows(self._row_type(element, {}), element.count)
            return {part.name: rows[part.name] for part in element.properties}
        uniform = self._uniform(element, {part.name: 3 for part in lists})
        return self._one_by_one(element) if uniform is None else uniform

    def _row_type(self, element: _Element, lengths: dict[str, int]) -> np.dtype[Any]:
        fields: list[tuple[Any, ...]] = []
        for part in element.properties:
            if part.count_type is None:
                fields.append((part.name, self._order + part.type))
            else:
                fields.append((f"{part.name} count", self._order + part.count_type))
                fields.append((part.name, self._order + part.type, (lengths[part.name],)))
        try:
            return np.dtype(fields)
        except (ValueError, TypeError) as error:
            raise ScanError(self._path, f"names a property twice ({error})", _SAVE) from error

    def _rows(self, row_type: np.dtype[Any], count: int) -> NDArray[Any]:
        end = self._at + count * row_type.itemsize
        if end > len(self._data):
            raise self._cut_off()
        rows = np.frombuffer(self._data, row_type, count, self._at)
        self._at = end
        return rows

    def _uniform(self, element: _Element, lengths: dict[str, int]) -> dict[str, Any] | None:
        """All rows at once, if every list has the expected length."""
        row_type, start = self._row_type(element, lengths), self._at
        if start + element.count * row_type.itemsize > len(self._data):
            return None
        rows = self._rows(row_type, element.count)
        if all((rows[f"{name} count"] == length).all() for name, length in lengths.items()):
            return {part.name: rows[part.name] for part in element.properties}
        self._at = start
        return None

    def _one_by_one(self, element: _Element) -> dict[str, Any]:
        if element.least_numbers > len(self._data) - self._at:
            raise self._cut_off()
        columns: dict[str, list[Any]] = {part.name: [] for part in element.properties}
        for _ in range(element.count):
            for part in element.properties:
                if part.count_type is None:
                    columns[part.name].append(self._numbers(part.type, 1)[0])
                    continue
                length = int(self._numbers(part.count_type, 1)[0])
                columns[part.name].append(self._numbers(part.type, length))
        return columns

    def _numbers(self, kind: str, count: int) -> NDArray[Any]:
        number = np.dtype(self._order + kind)
        end = self._at + count * number.itemsize
        if count < 0 or end > len(self._data):
            raise self._cut_off()
        numbers = np.frombuffer(self._data, number, count, self._at)
        self._at = end
        return numbers

    def _cut_off(self) -> ScanError:
        return ScanError(self._path, "is cut off: its header promises more", "Copy the file again")


class _Text:
    """Elements from text, one after the other."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._words, self._at = path, data.split(), 0

    def take(self, element: _Element) -> dict[str, Any]:
        if element.least_numbers > len(self._words) - self._at:
            raise ScanError(
                self._path, "is cut off: its header promises more", "Copy the file again"
            )
        columns: dict[str, list[Any]] = {part.name: [] for part in element.properties}
        for _ in range(element.count):
            for part in element.properties:
                if part.count_type is None:
                    columns[part.name].append(self._numbers(1)[0])
                else:
                    columns[part.name].append(self._numbers(int(self._numbers(1)[0])))
        return columns

    def _numbers(self, count: int) -> list[float]:
        words = self._words[self._at : self._at + max(count, 0)]
        self._at += len(words)
        try:
            numbers = [float(word) for word in words]
            if len(words) != count or any(abs(number) > 1e300 for number in numbers):
                raise ValueError(f"{count} numbers were promised")
            return [number if number == number else float("nan") for number in numbers]
        except (ValueError, OverflowError) as error:
            raise ScanError(self._path, f"is cut off or damaged ({error})", _SAVE) from error


def _mesh(path: Path, vertex: dict[str, Any], face: dict[str, Any]) -> PlyMesh:
    if not all(axis in vertex for axis in "xyz"):
        raise ScanError(path, "has no vertices with x, y and z", _SAVE)
    vertices = np.stack([_column(path, vertex[axis]) for axis in "xyz"], axis=-1)
    colors = None
    if all(name in vertex for name in ("red", "green", "blue")):
        channels = [vertex[name] for name in ("red", "green", "blue")]
        whole = all(getattr(c, "dtype", np.dtype("u1")).kind in "ui" for c in channels)
        stacked = np.stack([_column(path, channel) for channel in channels], axis=-1)
        colors = np.nan_to_num(stacked / (255 if whole else 1)).clip(0, 1)
    labels = {}
    for name, values in vertex.items():
        column = _column(path, values)
        if (column == column.round()).all() and (abs(column) < 2**53).all():
            labels[name] = column.astype(np.int64)
    return PlyMesh(vertices, _faces(path, face), colors, labels)


def _column(path: Path, values: Any) -> NDArray[np.float64]:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ScanError(path, "has vertices with lists for coordinates", _SAVE) from error
    if column.ndim != 1:
        raise ScanError(path, "has vertices with lists for coordinates", _SAVE)
    return column


def _faces(path: Path, face: dict[str, Any]) -> NDArray[np.int64]:
    """Triangles ``[F, 3]``; a polygon becomes a fan about its first corner."""
    polygons = face.get("vertex_indices", face.get("vertex_index"))
    if polygons is None or len(polygons) == 0:
        return np.zeros((0, 3), dtype=np.int64)
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2:
        return polygons.astype(np.int64)
    triangles = []
    for polygon in polygons:
        corners = np.atleast_1d(np.asarray(polygon, dtype=np.float64))
        if len(corners) < 3 or not (abs(corners) < 2**53).all():
            raise ScanError(path, f"has a face of {len(corners)} corners", _SAVE)
        whole = corners.astype(np.int64)
        triangles += [(whole[0], *whole[i : i + 2]) for i in range(1, len(whole) - 1)]
    return np.array(triangles, dtype=np.int64).reshape(-1, 3)
