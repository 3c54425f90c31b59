"""Judge every system that needs no training, and write the tables of ``docs/baselines.md``.

::

    python -m g2vlm_fast.eval.untrained --runs RUNS --scans SCAN... --layouts FOLDER
    python -m g2vlm_fast.eval.untrained --runs RUNS --only rooms-standard
    python -m g2vlm_fast.eval.untrained --tables

Runs are gone on with where they were left; what is committed of each is its summary.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from g2vlm_fast.eval.benchmarks import LayoutBenchmark, Noise, RoomBenchmark, ScanBenchmark
from g2vlm_fast.eval.protocol.cases import Benchmark, Case
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.record_files import summary_to_json
from g2vlm_fast.eval.protocol.runs import read_run
from g2vlm_fast.eval.systems import SYSTEMS
from g2vlm_fast.eval.untrained_tables import PAGE, RESULTS, renew_tables
from g2vlm_fast.files import write_text

RECONSTRUCTION = ("tsdf", "tsdf-inpainted", "extrude-to-floor", "height-prior", "poisson")
LANGUAGE = (
    "chance", "majority", "question-only", "shuffled-geometry", "class-frequency", "rules",
)  # fmt: skip

_LANGUAGE_ROOMS, _SURFACE_ROOMS = 100, 20
_STRETCH_FRAMES = 12  # a scan is cut into eight stretches, or fewer of at least so many frames


class KeptCases:
    """A benchmark whose cases are made once and kept, for as many systems as are to judge."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark
        self._cases: dict[int, Case] = {}
        self.name = benchmark.name
        self.fingerprint = benchmark.fingerprint
        self.names = tuple(benchmark.names)

    def case(self, index: int) -> Case:
        """Return a case, which is made when it is first asked for."""
        if index not in self._cases:
            self._cases[index] = self._benchmark.case(index)
        return self._cases[index]


@dataclass(frozen=True)
class Rows:
    """A benchmark with the systems that are judged on it; ``key`` names its folder."""

    key: str
    benchmark: Benchmark
    systems: tuple[str, ...]


def all_rows(
    scans: Sequence[Path],
    layouts: Path | None,
    *,
    language_rooms: int = _LANGUAGE_ROOMS,
    surface_rooms: int = _SURFACE_ROOMS,
) -> Iterator[Rows]:
    """Yield what is to be judged, on scans and layouts only where they are named."""
    for noise in get_args(Noise):
        surfaces = RoomBenchmark(count=surface_rooms, noise=noise)
        yield Rows(f"rooms-{noise}", surfaces, RECONSTRUCTION)
        texts = RoomBenchmark(count=language_rooms, noise=noise, surface_points=0)
        yield Rows(f"language-{noise}", texts, LANGUAGE)
    for scan in scans:
        yield Rows(f"scan-{scan.name}", _scan(scan), RECONSTRUCTION)
    if layouts is not None:
        yield Rows("layouts", LayoutBenchmark(folder=layouts), LANGUAGE)


def _scan(folder: Path) -> ScanBenchmark:
    """Cut a scan into as many stretches as its frames are enough for."""
    frames = ScanBenchmark(path=folder, stretches=1).frames
    return ScanBenchmark(path=folder, stretches=max(1, min(8, frames // _STRETCH_FRAMES)))


def run_rows(rows: Rows, runs: Path, results: Path) -> None:
    """Judge the systems of one benchmark, and keep the summary of each.

    Args:
        rows: what is judged.
        runs: folder that gets a run for each system.
        results: folder that gets the summaries.
    """
    benchmark = KeptCases(rows.benchmark)
    for name in rows.systems:
        run = runs / rows.key / name
        evaluate_system(SYSTEMS[name](), benchmark, run)
        summary = read_run(run).summary
        kept = json.loads(summary_to_json(summary)) | {"versions": summary.versions}
        out = results / rows.key / f"{name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        print(f"{rows.key}: {name}, {len(summary.failures)} failures", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command."""
    parser = argparse.ArgumentParser(prog="python -m g2vlm_fast.eval.untrained")
    parser.add_argument("--runs", type=Path, help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the summaries")
    parser.add_argument("--scans", type=Path, nargs="*", default=[], help="folders of scans")
    parser.add_argument("--layouts", type=Path, help="folder of layouts of real rooms")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="judge on these benchmarks alone")
    parser.add_argument("--language-rooms", type=int, default=_LANGUAGE_ROOMS)
    parser.add_argument("--surface-rooms", type=int, default=_SURFACE_ROOMS)
    parser.add_argument("--tables", action="store_true", help=f"renew the tables of {PAGE}")
    given = parser.parse_args(arguments)
    if given.runs is None and not given.tables:
        parser.error("name a folder with --runs, or ask for --tables")
    if given.runs is not None:
        found = list(
            all_rows(
                given.scans,
                given.layouts,
                language_rooms=given.language_rooms,
                surface_rooms=given.surface_rooms,
            )
        )
        unknown = sorted(set(given.only or ()) - {rows.key for rows in found})
        if unknown:
            parser.error(f"--only {unknown[0]}: known are {[rows.key for rows in found]}")
        for rows in found:
            if given.only is None or rows.key in given.only:
                run_rows(rows, given.runs, given.results)
    if given.tables:
        renew_tables(PAGE, given.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
