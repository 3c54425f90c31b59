"""Recorded scans among the training batches.

Nobody knows what is true of a scan beyond what was measured. So a part of its depth is hidden from
the model, and the whole of it is what the model must predict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from g2vlm_fast.data import Scene, collate
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.mix import Mix, RoomSource, ScanSource
from g2vlm_fast.data.readers import ReadOptions, ScanError, read_scan
from g2vlm_fast.data.resize import resized_depth
from g2vlm_fast.data.transform import scene_of_views
from g2vlm_fast.records import Targets
from g2vlm_fast.train.config import DataConfig
from g2vlm_fast.train.rooms import Example, GrowingRooms

_SCAN_STREAM = 8
_FRAMES = 64  # of a scan, evenly spread
_WITHOUT_DEPTH = 0.5  # probability that no depth of a scene is given
_BLOCKS = (6, 8)  # rows and columns of the blocks that depth is hidden in
_DOWN = (0.0, 0.0, -1.0)


class ScanExamples:
    """Examples of recorded scans; each is a function of its number alone.

    Args:
        folders: scans as ``g2vlm-fast preprocess`` writes them: metric, upright, with depth.
        data: scenes of a batch, their views, their image size.
        seed: of the order of scans and views, and of what is hidden.

    Raises:
        ScanError: a folder is not there; and when the first example is made, one that cannot be
            read, has no depth, too few views, or is not upright.
    """

    def __init__(self, folders: Sequence[str], data: DataConfig, *, seed: int) -> None:
        self.folders = [Path(folder) for folder in folders]
        self.data = data
        self.seed = seed
        if not self.folders:
            raise ValueError("ScanExamples: folders must name at least one scan")
        for folder in self.folders:
            if not folder.is_dir():
                raise ScanError(folder, "is no folder", "Name the folder of a preprocessed scan")

    @cached_property
    def scenes(self) -> list[Scene]:
        """The scans, read when the first example is made."""
        return [_read_upright(folder, self.data.views[1]) for folder in self.folders]

    def example(self, number: int) -> Example:
        """Return an example: views of some scans, a part of their depth, and all of it as truth."""
        draws = Draws(self.seed, _SCAN_STREAM, number)
        whole = [self._some_views(draws) for _ in range(self.data.scenes_per_step)]
        given = [_with_hidden_depth(scene, draws) for scene in whole]
        batch, _ = collate(given, image_size=self.data.image_size)
        measured = [resized_depth(_depth_of(scene), self.data.image_size) for scene in whole]
        return Example(batch, Targets(depth=torch.cat(measured)), None)

    def _some_views(self, draws: Draws) -> Scene:
        """A stretch of a scan: views that follow each other see the same things."""
        scene = draws.choice(self.scenes)
        count = draws.integer(*self.data.views)
        step = draws.integer(1, max(1, (scene.num_views - 1) // max(count - 1, 1)))
        start = draws.integer(0, scene.num_views - 1 - (count - 1) * step)
        return scene_of_views(scene, range(start, start + count * step, step))


class MixedExamples(Dataset[Example]):
    """Batches of generated rooms and batches of recorded scans, in turns by their weights.

    Raises:
        ValueError: a negative weight, or both are 0.
    """

    def __init__(self, rooms: GrowingRooms, scans: ScanExamples) -> None:
        self.rooms = rooms
        self.scans = scans
        self._mix = Mix(
            {"rooms": RoomSource(rooms.seeds, rooms.config), "scans": ScanSource(scans.folders)},
            {"rooms": rooms.data.room_weight, "scans": rooms.data.scan_weight},
            seed=rooms.seed,
        )

    def is_scan(self, index: int) -> bool:
        """Whether batch ``index`` holds scans."""
        return self._mix.source_at(index) == "scans"

    def __getitem__(self, index: int) -> Example:
        """Return batch ``index``, a function of it and of the arguments alone."""
        return self.scans.example(index) if self.is_scan(index) else self.rooms[index]


def _read_upright(folder: Path, least_views: int) -> Scene:
    scene = read_scan(folder, ReadOptions(max_frames=_FRAMES))
    remedy = f"Run g2vlm-fast preprocess on it, or choose another scan than {folder.name}"
    if scene.depth is None:
        raise ScanError(folder, "has no depth, so there is nothing to learn from it", remedy)
    if scene.num_views < least_views:
        problem = f"has {scene.num_views} views, training asks for {least_views}"
        raise ScanError(folder, problem, "Ask for fewer views, or choose another scan")
    if not torch.allclose(scene.gravity, torch.tensor(_DOWN), atol=1e-3):
        raise ScanError(folder, "is not upright: gravity is not (0, 0, -1)", remedy)
    return scene


def _depth_of(scene: Scene) -> Tensor:
    assert scene.depth is not None
    return scene.depth


def _with_hidden_depth(scene: Scene, draws: Draws) -> Scene:
    """The scene with half of its blocks of depth hidden, or all of them."""
    depth = _depth_of(scene)
    kept = torch.zeros(len(depth), 1, *_BLOCKS)
    if not draws.chance(_WITHOUT_DEPTH):
        kept = torch.tensor([draws.integer(0, 1) for _ in range(kept.numel())]).view(kept.shape)
    shown = torch.nn.functional.interpolate(kept.float(), depth.shape[1:])[:, 0] > 0
    sigma = None if scene.depth_sigma is None else torch.where(shown, scene.depth_sigma, 0)
    return dataclasses.replace(scene, depth=torch.where(shown, depth, 0), depth_sigma=sigma)
