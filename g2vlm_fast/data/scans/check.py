"""Find out what the numbers of a scan mean before anything is made of them.

The readers say what a layout promises; files break such promises. Here the views are held
against each other under every other meaning of poses, axes, depth, camera matrix and clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data.readers import ReadOptions, ReadScan, ScanError, read_scan_with_listing
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.geometry.conventions import (
    ConventionReport,
    compare_conventions,
    is_clearly_better,
)
from g2vlm_fast.geometry.frames import gravity_from_cameras
from g2vlm_fast.geometry.readings import MIN_OVERLAP, Reading
from g2vlm_fast.geometry.time_offset import TimeOffset, find_time_offset

_BUILDING = 20.0  # metres: the median depth that no scan of a room has


@dataclass(frozen=True, eq=False)
class ScanCheck:
    """What a scan was found to mean.

    Attributes:
        layout: the reader that recognised it.
        scene: with everything corrected that was found to be wrong.
        as_read: how the views agreed as they were read; None without depth.
        corrected: how they agree in ``scene``; None without depth.
        reading: what the numbers mean; the default where they were read rightly.
        time: what the search for a time offset found; None where poses have no times.
        changes: sentences, what was corrected.
        consistent: whether ``scene`` explains its views.
        gravity_is_exact: whether the files say where gravity points.
    """

    layout: str
    scene: Scene
    as_read: ConventionReport | None
    corrected: ConventionReport | None
    reading: Reading
    time: TimeOffset | None
    changes: tuple[str, ...]
    consistent: bool
    gravity_is_exact: bool

    @property
    def is_decidable(self) -> bool:
        """Whether views overlap, so that they can speak for or against a meaning."""
        return self.corrected is not None and self.corrected.given.overlap >= MIN_OVERLAP

    @property
    def is_right(self) -> bool:
        """Whether the scan may be used as it is."""
        return self.consistent and not self.changes

    def describe(self) -> list[str]:
        """What was found and how sure it is, in sentences for people."""
        scene = self.scene
        height, width = scene.image_size
        said = [f"Read as {self.layout}: {scene.num_views} views of {width}x{height}."]
        said += scene.assumptions[: len(scene.assumptions) - len(self.changes)]
        if self.as_read is None or self.corrected is None:
            return [*said, "Without depth, the conventions could not be checked."]
        said.append(self.as_read.describe())
        said += self.changes
        if self.changes:
            said.append(f"After that: {self.corrected.describe()}")
        said.append(_certainty(self))
        return said


def check_scan(path: Path | str, options: ReadOptions | None = None) -> ScanCheck:
    """Read a scan and find what its numbers mean.

    Args:
        path: folder of the scan.
        options: how to read it; depth units and camera matrices that look impossible are not
            refused, for the check is there to find out.

    Raises:
        ScanError: the scan cannot be read at all.
    """
    options = dataclasses.replace(options or ReadOptions(), plausible=False)
    read = read_scan_with_listing(path, options)
    scene = read.scene
    if scene.depth is None or not bool((scene.depth > 0).any()):
        return ScanCheck(
            layout=read.layout,
            scene=scene,
            as_read=None,
            corrected=None,
            reading=Reading(),
            time=None,
            changes=(),
            consistent=scene.depth is None,
            gravity_is_exact=read.listing.gravity is not None,
        )
    as_read = compare_conventions(scene.depth, scene.intrinsics, scene.poses)
    reading, time = _explain(read, as_read)
    fixed = _corrected(read, reading, time)
    kept = fixed.depth is not None and torch.equal(fixed.depth, scene.depth)
    changes = _changes(reading, time, poses_are_scaled=reading.depth_factor != 1 and kept)
    after = as_read
    if changes:
        assert fixed.depth is not None
        after = compare_conventions(fixed.depth, fixed.intrinsics, fixed.poses)
        fixed = dataclasses.replace(fixed, assumptions=(*scene.assumptions, *changes))
    return ScanCheck(
        layout=read.layout,
        scene=fixed,
        as_read=as_read,
        corrected=after,
        reading=reading,
        time=time,
        changes=changes,
        consistent=after.consistent and not after.contradicted,
        gravity_is_exact=_gravity_is_said(read, reading),
    )


def _explain(read: ReadScan, as_read: ConventionReport) -> tuple[Reading, TimeOffset | None]:
    """The reading, and the time offset where it is one, that explain the views best."""
    scene = read.scene
    best = as_read.fits[0]
    reading = best.reading if as_read.contradicted else Reading()
    poses_at = _poses_at(read)
    if poses_at is None or (as_read.given.overlap < MIN_OVERLAP and not as_read.contradicted):
        return reading, None
    assert scene.depth is not None
    plain = dataclasses.replace(best.reading, focal_factor=1.0)
    offsets = {
        tried: find_time_offset(scene.depth, scene.intrinsics, poses_at, tried)
        for tried in dict.fromkeys((Reading(), reading, plain))
    }
    late, offset = min(offsets.items(), key=lambda item: item[1].fit.error)
    if offset.seconds and is_clearly_better(
        offset.fit, best if as_read.contradicted else offset.given
    ):
        return late, offset
    return reading, dataclasses.replace(offsets[reading], seconds=0.0, fit=offsets[reading].given)


def _poses_at(read: ReadScan) -> Callable[[float], Tensor] | None:
    """Poses of the views some seconds later, where the scan has a trajectory and a clock."""
    trajectory = read.listing.trajectory
    times = [frame.time for frame in read.frames]
    if trajectory is None or read.scene.poses_estimated or len(trajectory.times) < 2:
        return None

    def poses_at(seconds: float) -> Tensor:
        poses = []
        for time in times:
            assert time is not None
            pose = trajectory.at(time + seconds, float("inf"))
            assert pose is not None
            poses.append(pose)
        return torch.from_numpy(np.stack(poses)).float()

    return poses_at


def _corrected(read: ReadScan, reading: Reading, time: TimeOffset | None) -> Scene:
    scene = read.scene
    assert scene.depth is not None
    poses_at = _poses_at(read)
    poses = scene.poses
    if time is not None and time.seconds and poses_at is not None:
        poses = poses_at(time.seconds)
    if reading == Reading() and poses is scene.poses:
        return scene
    depth, intrinsics, poses = reading.correct(scene.depth, scene.intrinsics, poses)
    if _poses_are_scaled(depth, reading):
        depth, poses = depth / reading.depth_factor, poses.clone()
        poses[:, :3, 3] /= reading.depth_factor
    gravity = scene.gravity if _gravity_is_said(read, reading) else gravity_from_cameras(poses)
    return dataclasses.replace(
        scene, depth=depth, intrinsics=intrinsics, poses=poses, gravity=gravity
    )


def _poses_are_scaled(depth: Tensor, reading: Reading) -> bool:
    """Whether it is the poses that are in another unit.

    Views tell only that depth and poses differ by a factor: of the two the one is mended that
    leaves surfaces within a building.
    """
    measured = depth[depth > 0]
    if reading.depth_factor == 1 or len(measured) == 0:
        return False
    return float(measured[:: max(1, len(measured) // 100_000)].median()) > _BUILDING


def _gravity_is_said(read: ReadScan, reading: Reading) -> bool:
    """Whether the files say where gravity points, in a world that the poses lead to."""
    right_world = reading.pose == Reading().pose and not read.scene.poses_estimated
    return read.listing.gravity is not None and right_world


def _changes(
    reading: Reading, time: TimeOffset | None, *, poses_are_scaled: bool
) -> tuple[str, ...]:
    """One sentence for everything that is not what it was read as."""
    said = []
    if reading.pose != "camera-to-world":
        said.append("Poses are world to camera; they were inverted.")
    if reading.axes != "OpenCV":
        said.append("Cameras have OpenGL axes; y and z were turned round.")
    if reading.depth != "z":
        said.append("Depth is the distance from the camera centre; it was turned into z.")
    if poses_are_scaled:
        factor = reading.depth_factor
        said.append(f"Poses are in another unit; their positions were divided by {factor:.5g}.")
    elif reading.depth_factor != 1:
        said.append(f"Depth is in another unit; it was multiplied by {reading.depth_factor:.5g}.")
    if reading.matrix_factor != 1:
        said.append(
            f"The camera matrix is of images {1 / reading.matrix_factor:.4g} times the size; it "
            "was rescaled."
        )
    if reading.swapped:
        said.append("The camera matrix has x and y exchanged; they were exchanged back.")
    if reading.focal_factor != 1:
        said.append(
            f"The focal length was multiplied by {reading.focal_factor:.3f}, which is known to "
            "about 3 %."
        )
    if time is not None and time.seconds:
        said.append(
            f"Poses belong to times {abs(time.seconds):.3f} s "
            f"{'later' if time.seconds > 0 else 'earlier'} than their images'; they were taken "
            "from there."
        )
    return tuple(said)


def _certainty(check: ScanCheck) -> str:
    """How sure the result is, from how much worse everything else fits."""
    report = check.corrected
    assert report is not None
    if not check.is_decidable:
        return "Nothing is sure: no two views overlap."
    if not check.consistent:
        return "Nothing is sure: no meaning that was tried explains the views."
    if report.decided and check.reading.depth_factor != 1:
        return (
            "This is sure but for the unit: views tell only how depth and poses differ, not which "
            "of them is in metres."
        )
    if report.decided:
        return "This is sure: every other meaning fits clearly worse."
    return "This is likely, but the camera moves too little to rule out every other meaning."


def require_consistent(check: ScanCheck, path: Path) -> None:
    """Refuse a scan whose views contradict each other under every meaning.

    Raises:
        ScanError: tells how far off the views are, or that depth was never measured.
    """
    nothing_overlaps = check.corrected is not None and not check.is_decidable
    if check.consistent or nothing_overlaps:
        return
    problem = "holds no depth" if check.as_read is None else check.as_read.describe().rstrip(".")
    raise ScanError(path, problem, "See what is said by: g2vlm-fast check SCAN")
