"""What a run found, on its way to the result files and the reports."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import torch

from g2vlm_fast.profiling.hardware import ceilings, device_name, host_load
from g2vlm_fast.profiling.providers import absent_peers
from g2vlm_fast.profiling.records import Key, Record, load, store, write_whole
from g2vlm_fast.profiling.report import Notes, note_key, write_report
from g2vlm_fast.profiling.runner import Job, Measurement


class Results:
    """Collects measurements and refusals, then writes them once."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._withdrawn: dict[str, list[Key]] = defaultdict(list)
        self._notes: dict[str, dict[str, Notes]] = defaultdict(lambda: defaultdict(Notes))
        self._ops: dict[str, set[str]] = defaultdict(set)

    def add(self, job: Job, measurement: Measurement) -> None:
        """Keep the figure of a job that passed its check."""
        record = measurement.record
        self._records[record.suite].append(record)
        notes = self._noted(job)
        key = note_key(record.case, record.direction, record.provider)
        notes.methods[key] = measurement.method
        if measurement.launches is not None:
            notes.launches[key] = measurement.launches

    def refuse(self, job: Job, reason: str) -> None:
        """Keep why a job has no figure; an older figure of it is withdrawn."""
        case = job.case
        name = device_name(case.device)
        self._withdrawn[case.suite].append(
            (case.suite, case.name, job.provider.name, job.direction, name)
        )
        self._noted(job).refused[note_key(case.name, job.direction, job.provider.name)] = reason

    def _noted(self, job: Job) -> Notes:
        case = job.case
        self._ops[case.suite].add(case.spec.op)
        notes = self._notes[case.suite][device_name(case.device)]
        if job.direction != "call":
            dtype = str(case.dtype if case.dtype.is_floating_point else torch.float32)
            found = ceilings(case.device, case.dtype)
            notes.ceilings["copy"] = f"{found.bandwidth / 1e9:.4g} GB/s"
            notes.ceilings[f"matrix product in {dtype[6:]}"] = f"{found.flops / 1e12:.3g} TFLOP/s"
        if case.device == "cpu":
            notes.load = host_load()
        return notes

    def __bool__(self) -> bool:
        return bool(self._notes)

    def save(self, folder: Path) -> None:
        """Merge into ``folder/results``, and the notes into ``folder/reports``."""
        for suite, by_device in sorted(self._notes.items()):
            for notes in by_device.values():
                notes.absent = absent_peers(self._ops[suite])
            store(folder / "results", suite, self._records[suite], self._withdrawn[suite])
            _save_notes(folder, suite, by_device)

    def write(self, folder: Path) -> list[Path]:
        """Save, and renew the readable reports; return them."""
        self.save(folder)
        return [_renew_report(folder, suite) for suite in sorted(self._notes)]


def _notes_path(folder: Path, suite: str) -> Path:
    return folder / "reports" / f"{suite}.json"


def _load_notes(folder: Path, suite: str) -> dict[str, Notes]:
    path = _notes_path(folder, suite)
    held = json.loads(path.read_text()) if path.is_file() else {}
    return {device: Notes.from_json(values) for device, values in held.items()}


def _save_notes(folder: Path, suite: str, fresh: dict[str, Notes]) -> None:
    notes = _load_notes(folder, suite)
    for device, newer in fresh.items():
        notes[device] = notes.get(device, Notes()).merged(newer)
    values = {device: asdict(each) for device, each in sorted(notes.items())}
    write_whole(_notes_path(folder, suite), json.dumps(values, indent=1, sort_keys=True) + "\n")


def _renew_report(folder: Path, suite: str) -> Path:
    records = load(folder / "results" / f"{suite}.json")
    return write_report(suite, records, _load_notes(folder, suite), folder / "reports")


def merge_runs(sources: list[Path], folder: Path) -> list[Path]:
    """Merge the results and reports that runs elsewhere wrote into ``folder``; all, or nothing."""
    runs = []
    for source in sources:
        found = sorted((source / "results").glob("*.json"))
        if not found:
            raise ValueError(f"{source}: holds no results/*.json")
        runs += [(each.stem, load(each), _load_notes(source, each.stem)) for each in found]
    for suite, records, notes in runs:
        withdrawn = [
            (suite, case, provider, direction, device)
            for device, each in notes.items()
            for case, direction, provider in (key.split(" ", 2) for key in each.refused)
        ]
        store(folder / "results", suite, records, withdrawn)
        _save_notes(folder, suite, notes)
    return [_renew_report(folder, suite) for suite in sorted({suite for suite, _, _ in runs})]
