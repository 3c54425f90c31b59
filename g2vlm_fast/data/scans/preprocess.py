"""Recorded scans to standard ones: checked, corrected, upright, in one layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from g2vlm_fast.data.readers import ReadOptions, ScanError
from g2vlm_fast.data.scans.check import ScanCheck, check_scan, require_consistent
from g2vlm_fast.data.scans.writer import write_scene
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.data.transform import move_scene
from g2vlm_fast.export.files import OutputError
from g2vlm_fast.geometry.frames import align_to_gravity

_DOWN = (0.0, 0.0, -1.0)
_UNCHECKED = "The conventions of the scan could not be checked: no depth of two views overlaps."
_EXACT = 1e-3
"""Length of the difference up to which the given gravity is along -z already."""


@dataclass(frozen=True)
class Outcome:
    """What became of one scan.

    Attributes:
        scan: the folder that was read.
        out: the folder that was written; None where it failed.
        changes: sentences, what was corrected.
        error: why it failed, in one line; empty where it did not.
    """

    scan: Path
    out: Path | None
    changes: tuple[str, ...] = ()
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether nothing was written."""
        return self.out is None


def put_upright(scene: Scene, *, gravity_is_exact: bool) -> tuple[Scene, str]:
    """Turn a scene so that gravity is along -z, its floor at z = 0, centred.

    A scene whose gravity is exact and along -z stays in its world, so that what else is known of
    it (annotations in other files) still fits.

    Args:
        scene: read from files.
        gravity_is_exact: its files say where gravity points.

    Returns:
        The scene and a sentence about how it was turned.
    """
    down = torch.tensor(_DOWN)
    if gravity_is_exact and float((scene.gravity - down).norm()) < _EXACT:
        return dataclasses.replace(scene, gravity=down), "The scene was upright already."
    if scene.depth is None:
        motion = torch.eye(4)
        motion[:3, :3] = _turn_onto(scene.gravity, down)
        source = "given with the scan" if gravity_is_exact else "the mean one of its cameras"
        sentence = f"The scene was turned upright; the vertical is {source}."
    else:
        alignment = align_to_gravity(
            scene.depth, scene.intrinsics, scene.poses, scene.gravity,
            gravity_is_exact=gravity_is_exact,
        )  # fmt: skip
        motion, sentence = alignment.transform, alignment.describe()
    return dataclasses.replace(move_scene(scene, motion), gravity=down), sentence


def _turn_onto(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The shortest rotation ``[3, 3]`` that takes one unit vector onto another."""
    cosine = float(first @ second)
    if cosine < -1 + 1e-6:  # half a turn about any axis that is level
        axis = torch.linalg.cross(first, torch.tensor([1.0, 0.0, 0.0]))
        if axis.norm() < 1e-3:
            axis = torch.linalg.cross(first, torch.tensor([0.0, 1.0, 0.0]))
        axis = axis / axis.norm()
        return 2 * torch.outer(axis, axis) - torch.eye(3)
    x, y, z = torch.linalg.cross(first, second).tolist()
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return torch.eye(3) + skew + skew @ skew / (1 + cosine)


def write_checked(check: ScanCheck, scan: Path, out: Path, *, overwrite: bool) -> Outcome:
    """Write what a check found, upright, in the package's own layout.

    Raises:
        ScanError: nothing that was tried explains the views, or too little was measured.
        OutputError: the folder may not be replaced or cannot be written.
    """
    require_consistent(check, scan)
    try:
        upright, sentence = put_upright(check.scene, gravity_is_exact=check.gravity_is_exact)
    except ValueError as error:
        raise ScanError(scan, str(error), "Give a scan with more depth") from error
    said = [] if check.is_decidable else [_UNCHECKED]
    upright = dataclasses.replace(upright, assumptions=(*upright.assumptions, *said, sentence))
    changes = (*check.changes, sentence)
    report = check.corrected if check.is_decidable else None
    agreement = None if report is None else report.given.agreement_cm
    provenance = {
        "scan": scan.resolve().name,
        "layout": check.layout,
        "changes": list(changes),
        "agreement_cm": agreement,
    }
    try:
        write_scene(upright, out, provenance=provenance, overwrite=overwrite)
    except ValueError as error:
        raise ScanError(scan, str(error), "Leave that scan out") from error
    return Outcome(scan, out, changes)


def preprocess_scans(
    scans: Sequence[Path],
    out: Path,
    *,
    options: ReadOptions | None = None,
    overwrite: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Preprocess many scans; one that fails does not stop the others.

    Args:
        scans: folders in any layout of ``READERS``.
        out: folder that gets a folder for each, by the scan's name.
        options: how to read all of them.
        overwrite: replace scenes that were written before.
        on_outcome: told of each as soon as it is done.
    """
    outcomes: list[Outcome] = []
    taken: dict[str, Path] = {}
    for scan in scans:
        name = scan.resolve().name
        try:
            if name in taken:
                raise ScanError(
                    scan, f"has the same name as {taken[name]}", "Preprocess it into another --out"
                )
            taken[name] = scan
            _refuse_existing(out / name, overwrite)
            outcome = write_checked(
                check_scan(scan, options), scan, out / name, overwrite=overwrite
            )
        except (ScanError, OutputError) as error:
            outcome = Outcome(scan, None, error=str(error))
        outcomes.append(outcome)
        on_outcome(outcome)
    return outcomes


def _refuse_existing(out: Path, overwrite: bool) -> None:
    """Refuse before the work is done what would be refused after it."""
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already; name another --out, or pass --overwrite")
