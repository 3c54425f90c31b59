"""A recorded scan as a benchmark: a few frames are given, the others are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.readers import ReadOptions, read_scan
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.transform import move_scene, scene_of_views
from g2vlm_fast.eval.benchmarks.fingerprint import fingerprint_of
from g2vlm_fast.eval.metrics.mesh import sample_mesh
from g2vlm_fast.eval.protocol.cases import Case, DepthTruth, SurfaceTruth
from g2vlm_fast.export.fusion import fuse
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.export.raycast import MeshRaycaster
from g2vlm_fast.export.voxel_size import choose_voxel_size
from g2vlm_fast.geometry.cameras import project
from g2vlm_fast.geometry.frames import align_to_gravity

SURFACE_POINTS = 50_000

_VERSION = 2
_OVERSAMPLED = 8  # samples of the whole surface for each that a stretch keeps
_BEHIND_SURFACE = 2.0  # voxels behind the rendered surface that still count as seen


@dataclass(frozen=True, kw_only=True)
class ScanBenchmark:
    """Stretches of one scan, each a case: what its other frames show is to be told from a few.

    The frames of the scan are cut into stretches of equal length. Of a stretch some frames are
    given, spread evenly; the truth is the surface that *all* frames of the scan were fused to
    (TSDF), as far as any frame of the stretch sees it. Hidden is what no given frame sees. True
    depth of the given frames is rendered from that surface, so that it also exists where the
    sensor measured nothing. The world is upright, its floor at z = 0.

    All cases show one place: an interval over them says how much a score depends on the choice of
    frames, and nothing about other places.

    Attributes:
        path: folder of a scan with depth, in any layout that is read.
        stretches: how many cases.
        given: frames of a stretch that are given.
        options: how to read the scan.

    Raises:
        ValueError: fewer than one stretch or given frame.
    """

    path: Path
    stretches: int = 8
    given: int = 2
    options: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.stretches < 1 or self.given < 1:
            raise ValueError(
                "ScanBenchmark: stretches and given must be 1 or more, got "
                f"{self.stretches} and {self.given}"
            )

    @property
    def name(self) -> str:
        """For people: the scan, and how it is cut."""
        return f"scan {self.path.name}, {self.stretches} stretches, {self.given} frames given"

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the settings and of every file of the scan."""
        files = sorted(file for file in self.path.rglob("*") if file.is_file())
        options = asdict(self.options)
        for option in ("intrinsics", "mesh"):
            options[option] = None if options[option] is None else _digest(Path(options[option]))
        return fingerprint_of(
            {
                "version": _VERSION,
                "stretches": self.stretches,
                "given": self.given,
                "options": options,
                "files": {str(file.relative_to(self.path)): _digest(file) for file in files},
            }
        )

    @property
    def names(self) -> Sequence[str]:
        """The name of the scan with the number of the stretch."""
        return tuple(f"{self.path.name}-{number:02d}" for number in range(self.stretches))

    @property
    def frames(self) -> int:
        """Frames of the scan that can be used.

        Raises:
            ScanError: the scan cannot be read, has no depth, or has too few frames.
        """
        return self._scan.num_views

    def case(self, index: int) -> Case:
        """Make a stretch as a case.

        Raises:
            ScanError: the scan cannot be read, has no depth, or has too few frames.
        """
        stretch = self._stretches[index]
        step = len(stretch) / self.given
        chosen = [stretch[int((place + 0.5) * step)] for place in range(self.given)]
        given = scene_of_views(self._scan, chosen)
        given = replace(
            given, name=self.names[index], vertices=None, faces=None, vertex_normals=None,
            vertex_colors=None, annotations=None,
        )  # fmt: skip
        rendered = self._rendered(chosen)
        assert given.depth is not None
        return Case(
            name=given.name,
            given=given,
            surface=self._surface(stretch, chosen, rendered),
            depth=DepthTruth(depth=rendered, missing=given.depth <= 0),
        )

    @cached_property
    def _scan(self) -> Scene:
        scan = read_scan(self.path, self.options)
        least = self.stretches * (self.given + 1)
        if scan.num_views < least:
            raise ScanError(
                self.path, f"has {scan.num_views} frames, and {self.stretches} stretches of "
                f"{self.given} given frames and one held out need {least}",
                "Ask for fewer stretches or fewer given frames",
            )  # fmt: skip
        if scan.depth is None:
            raise ScanError(self.path, "has no depth", "Only scans with depth can be held out")
        up = align_to_gravity(scan.depth, scan.intrinsics, scan.poses, scan.gravity)
        down = torch.tensor([0.0, 0.0, -1.0])
        return replace(move_scene(scan, up.transform), gravity=down)

    @cached_property
    def _stretches(self) -> list[range]:
        ends = [self._scan.num_views * n // self.stretches for n in range(self.stretches + 1)]
        return [range(first, last) for first, last in pairwise(ends)]

    @cached_property
    def _fused(self) -> tuple[ColoredMesh, float]:
        """The surface of all frames, and its voxel size in metres."""
        scan = self._scan
        assert scan.depth is not None
        geometry = (scan.depth, scan.intrinsics, scan.poses)
        size = choose_voxel_size(*geometry, depth_sigma=scan.depth_sigma)
        mesh = fuse(scan.images, *geometry, size).mesh().in_order()
        if mesh.is_empty:
            raise ScanError(
                self.path, f"fuses to no surface with voxels of {1000 * size:g} mm",
                "Check its depth and poses with g2vlm-fast check",
            )  # fmt: skip
        return mesh, size

    @cached_property
    def _raycaster(self) -> MeshRaycaster:
        return MeshRaycaster(self._fused[0])

    @cached_property
    def _samples(self) -> tuple[Tensor, Tensor]:
        """Points and normals of the whole surface."""
        mesh = self._fused[0]
        generator = torch.Generator().manual_seed(0)
        vertices, faces = torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces)
        points, normals = sample_mesh(vertices, faces, _OVERSAMPLED * SURFACE_POINTS, generator)
        return points.float(), normals.float()

    def _rendered(self, views: Sequence[int]) -> Tensor:
        """Depth of the fused surface ``[n, H, W]`` metres in views, 0 where there is none."""
        scan = self._scan
        return torch.stack(
            [
                self._raycaster.depth(scan.intrinsics[view], scan.poses[view], scan.image_size)
                for view in views
            ]
        )

    def _surface(self, stretch: range, chosen: Sequence[int], rendered: Tensor) -> SurfaceTruth:
        points, normals = self._samples
        seen = self._seen(points, chosen, rendered)
        others = [view for view in stretch if view not in chosen]
        shown = seen | self._seen(points, others, self._rendered(others))
        kept = shown.nonzero()[:, 0]
        generator = torch.Generator().manual_seed(0)
        kept = kept[torch.randperm(len(kept), generator=generator)[:SURFACE_POINTS]]
        mesh = self._fused[0]
        return SurfaceTruth(
            points=points[kept],
            normals=normals[kept],
            hidden=~seen[kept],
            mesh=(torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces).int()),
        )

    def _seen(self, points: Tensor, views: Sequence[int], rendered: Tensor) -> Tensor:
        """Which points ``[n]`` of the surface some views see."""
        margin = _BEHIND_SURFACE * self._fused[1]
        height, width = self._scan.image_size
        seen = torch.zeros(len(points), dtype=torch.bool)
        for view, depth in zip(views, rendered, strict=True):
            pixels, along = project(points, self._scan.intrinsics[view], self._scan.poses[view])
            column, row = pixels.nan_to_num(-1).round().long().unbind(-1)
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            surface = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
            seen |= inside & (along > 0) & (surface > 0) & (along <= surface + margin)
        return seen


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
