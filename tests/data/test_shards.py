"""Scenes written to files and read back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("safetensors", reason="shards need safetensors")

from g2vlm_fast.data import RoomConfig, Scene, generate_room
from g2vlm_fast.data.readers import ScanError
from g2vlm_fast.data.shards import Shards, write_shard, write_shards

CONFIG = RoomConfig(image_size=(24, 32), views=(2, 2), mesh_probability=0.5)


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    return [generate_room(seed, CONFIG) for seed in range(5)]


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif dataclasses.is_dataclass(first):
        for each in dataclasses.fields(first):
            assert_same(getattr(first, each.name), getattr(second, each.name))
    elif isinstance(first, tuple):
        assert len(first) == len(second)
        for pair in zip(first, second, strict=True):
            assert_same(*pair)
    else:
        assert first == second


def test_scenes_come_back_as_they_were(rooms: list[Scene], tmp_path: Path) -> None:
    assert write_shards(tmp_path, iter(rooms), scenes_per_shard=2) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"0000{number}.safetensors" for number in range(3)
    ]
    read = Shards(tmp_path)
    assert len(read) == 5
    for expected, scene in zip(rooms, read, strict=True):
        assert_same(expected, scene)
    assert_same(read[-1], rooms[4])
    assert [scene.name for scene in read[1:4]] == [room.name for room in rooms[1:4]]


def test_scenes_without_truth_and_with_assumptions_come_back(
    rooms: list[Scene], tmp_path: Path
) -> None:
    bare = dataclasses.replace(
        rooms[0], truth=None, depth=None, depth_sigma=None, assumptions=("it was dark",)
    )
    write_shard(tmp_path / "a.safetensors", [bare])
    assert_same(Shards(tmp_path)[0], bare)


def test_a_folder_with_shards_is_not_written_into(rooms: list[Scene], tmp_path: Path) -> None:
    write_shards(tmp_path, rooms[:1])
    with pytest.raises(ValueError, match="holds shards already"):
        write_shards(tmp_path, rooms[:1])
    with pytest.raises(ValueError, match="needs scenes"):
        write_shard(tmp_path / "b.safetensors", [])


def test_an_interrupted_shard_leaves_nothing(tmp_path: Path, rooms: list[Scene]) -> None:
    def stream() -> Any:
        yield rooms[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, stream())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [0, 4, 100, 5000, -1])
def test_truncated_shards_are_refused(rooms: list[Scene], tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    write_shard(path, rooms[:2])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ScanError, match=r"a\.safetensors"):
        list(Shards(tmp_path))


def test_a_changed_byte_is_never_read_as_a_scene(rooms: list[Scene], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_shard(path, rooms[:1])
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole), (200,), generator=generator).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with pytest.raises(ScanError, match=r"a\.safetensors"):
            list(Shards(tmp_path))


def test_other_files_and_other_places_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ScanError, match="holds no shards"):
        Shards(tmp_path)
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ScanError, match="no shard of scenes"):
        Shards(tmp_path)


def test_an_index_beyond_the_end_is_refused(rooms: list[Scene], tmp_path: Path) -> None:
    write_shards(tmp_path, rooms[:1])
    with pytest.raises(IndexError, match="below 1"):
        Shards(tmp_path)[1]


def test_scenes_whose_parts_share_memory_are_written(rooms: list[Scene], tmp_path: Path) -> None:
    exact = generate_room(
        3, RoomConfig(sensor_noise=False, depth_probability=1.0, image_size=(16, 16))
    )
    write_shard(tmp_path / "a.safetensors", [exact, exact])
    for scene in Shards(tmp_path):
        assert_same(scene, exact)


def test_files_hold_at_least_one_scene(rooms: list[Scene], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scenes_per_shard"):
        write_shards(tmp_path, rooms, scenes_per_shard=0)
