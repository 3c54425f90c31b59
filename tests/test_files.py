"""A single file is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from g2vlm_fast.files import replacing, write_text


def test_text_appears_in_one_piece_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    write_text(path, "größer")
    assert path.read_bytes() == "größer".encode()
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_file_is_filled_beside_its_place_under_the_same_suffix(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    with replacing(path) as draft:
        assert (draft.parent, draft.suffix) == (tmp_path, ".ply")
        draft.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_keeps_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "mesh.ply"
    path.write_text("old")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise error

    with pytest.raises(error), replacing(path) as draft:
        fail(draft)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["mesh.ply"]


def test_file_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "mesh.ply"):
        pass
    assert os.listdir(tmp_path) == []
