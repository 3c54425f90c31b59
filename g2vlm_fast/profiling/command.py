"""``g2vlm-fast profile``; also ``python -m g2vlm_fast.profiling``, on torch alone."""

from __future__ import annotations

import argparse
import json
import math
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import g2vlm_fast
from g2vlm_fast.profiling.cases import Case, shaped_cases, timed_cases
from g2vlm_fast.profiling.providers import providers_of
from g2vlm_fast.profiling.records import SUITES, DirtyTreeError, RecordError, commit_of
from g2vlm_fast.profiling.results import Results, merge_runs
from g2vlm_fast.profiling.runner import Job, Refused, Workbench, jobs_of, measure
from g2vlm_fast.profiling.timing import Plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmark suites and write records and reports; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        reports = merge_runs(options.merge, options.out) if options.merge else _run(options)
    except (ValueError, OSError, DirtyTreeError, RecordError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 2
    for report in reports:
        print(f"wrote {report}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="g2vlm-fast profile", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--suite", choices=SUITES, help="run one suite")
    what.add_argument("--all", action="store_true", help="run every suite")
    what.add_argument(
        "--merge", type=Path, nargs="+", metavar="DIR", help="merge what runs elsewhere wrote"
    )
    parser.add_argument(
        "--shapes", type=Path, metavar="FILE", help="JSON or TOML with your own cases (see below)"
    )
    parser.add_argument("--out", type=Path, default=Path("profile"), help="folder for the figures")
    parser.add_argument("--cases", nargs="+", metavar="TEXT", help="only cases with TEXT in them")
    parser.add_argument("--providers", nargs="+", metavar="NAME", help="only these providers")
    parser.add_argument("--passes", nargs="+", choices=("fwd", "fwd_bwd", "call"))
    parser.add_argument("--device", choices=("cpu", "cuda"), help="only cases of this device")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each figure")
    parser.add_argument("--limit", type=float, default=30.0, help="longest call that is waited for")
    parser.add_argument("--commit", help="commit of a source tree that is not a git work tree")
    parser.add_argument(
        "--allow-dirty",
        action="store_true",
        help="measure a changed tree; its figures are marked and count for nothing",
    )
    parser.epilog = (
        'FILE is a list of tables, in TOML under [[case]]: {"op": "nearest", "name": "mine", '
        '"queries": 5000, "targets": 20000}; optional keys are dtype and device, all others are '
        "the sizes of the op."
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse impossible values, and options that would not be looked at."""
    for name in ("seconds", "limit"):
        value = getattr(options, name)
        if not 0 < value < math.inf:
            raise ValueError(f"--{name} must be positive and finite, got {value}")
    if options.all and options.shapes is not None:
        raise ValueError("--all and --shapes exclude each other; --suite may go with --shapes")
    if options.merge:
        defaults = vars(_parser().parse_args([]))
        for name, value in vars(options).items():
            if name not in ("merge", "out") and value != defaults[name]:
                option = "--" + name.replace("_", "-")
                raise ValueError(
                    f"--merge measures nothing, so {option} says nothing: leave it out"
                )


def _run(options: argparse.Namespace) -> list[Path]:
    cases = _cases(options)
    _check_providers(options.providers or [], cases)
    commit = _commit(options)
    plan = Plan(seconds=options.seconds, limit=options.limit)
    results, workbench = Results(), Workbench()
    last = None
    for job in jobs_of(cases, providers_of):
        if _left_out(job, options):
            continue
        if last is not job.case:
            results.save(options.out)  # a run that is cut off keeps what it has
            last = job.case
        try:
            measurement = measure(job, workbench, plan, commit)
        except Refused as reason:
            results.refuse(job, str(reason))
            print(f"{job.label:60} no time: {reason}", flush=True)
            continue
        except Exception as error:
            results.refuse(job, f"it fails while it is timed: {type(error).__name__}: {error}")
            traceback.print_exc()
            continue
        results.add(job, measurement)
        record = measurement.record
        floor = "" if not record.floor_ms else f"  {record.ms / record.floor_ms:7.1f} x floor"
        print(f"{job.label:60} {record.ms:10.4g} ms{floor}  error {record.error:.1e}", flush=True)
    if not results:
        raise ValueError("no case is left to run: --suite, --cases and --device leave none")
    return results.write(options.out)


def _cases(options: argparse.Namespace) -> list[Case]:
    here = "cuda" if torch.cuda.is_available() else "cpu"
    if options.shapes is not None:
        cases = shaped_cases(read_shapes(options.shapes), options.device or here, options.suite)
    elif options.suite or options.all:
        cases = timed_cases(options.suite)
    else:
        raise ValueError("name a suite with --suite, or pass --all, --shapes or --merge")
    if not cases:
        raise ValueError(f"--suite {options.suite}: this suite has no cases yet")
    waiting = [case.name for case in cases if case.device == "cuda" and here == "cpu"]
    if waiting:
        print(f"{len(waiting)} cases need a CUDA device and are left out")
    wanted = options.cases or [""]
    for text in wanted:
        if not any(text in case.name for case in cases):
            names = ", ".join(sorted({case.name for case in cases}))
            raise ValueError(f"--cases {text}: no case has that in its name; there are {names}")
    return [
        case
        for case in cases
        if case.name not in waiting
        and options.device in (None, case.device)
        and any(text in case.name for text in wanted)
    ]


def _check_providers(wanted: Sequence[str], cases: Sequence[Case]) -> None:
    known = {each.name for case in cases for each in providers_of(case.spec, case.device)}
    for name in wanted:
        if name not in known:
            names = ", ".join(sorted(known)) or "none, as no case is left"
            raise ValueError(f"--providers {name}: these cases have no such one; there are {names}")


def _left_out(job: Job, options: argparse.Namespace) -> bool:
    return bool(
        (options.providers and job.provider.name not in options.providers)
        or (options.passes and job.direction not in options.passes)
    )


def read_shapes(path: Path) -> list[dict[str, Any]]:
    """Read a user's cases: a JSON list of tables, or TOML tables under ``[[case]]``.

    Raises:
        ValueError: the file is neither, or holds no cases.
    """
    text = path.read_text()
    if path.suffix == ".toml":
        import tomllib

        try:
            entries = tomllib.loads(text).get("case")
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not TOML ({error})") from error
    else:
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}: not JSON ({error}); end its name in .toml for TOML"
            ) from error
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: must hold a list of cases ([[case]] in TOML)")
    return entries


def source_root() -> Path | None:
    """Return the source tree that the package is imported from; None for an installed wheel."""
    root = Path(g2vlm_fast.__file__).resolve().parents[1]
    return root if (root / "csrc/include/g2vlm").is_dir() else None


def _commit(options: argparse.Namespace) -> str:
    root = source_root()
    if root is None:
        return options.commit or f"v{version('g2vlm-fast')}"
    allow_dirty = options.allow_dirty or options.shapes is not None
    return commit_of(root, allow_dirty=allow_dirty, given=options.commit)
