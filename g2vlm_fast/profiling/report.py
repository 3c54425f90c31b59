"""The readable side of a result file: one page of markdown and one chart a device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g2vlm_fast.profiling.records import Record, newest, write_whole

OWN = "g2vlm_fast"
_TEXTS = ("case", "pass", "provider")
_PASS_NAMES = {"fwd": "forward", "fwd_bwd": "forward + backward", "call": "eager call"}


@dataclass
class Notes:
    """What a run on one device knows beside its records."""

    ceilings: dict[str, str] = field(default_factory=dict)
    launches: dict[str, int] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    load: str = ""

    def merged(self, fresh: Notes) -> Notes:
        """Return these notes with those of a newer run in front; what runs now is not refused."""
        timed = set(fresh.methods)
        refused = {key: why for key, why in self.refused.items() if key not in timed}
        return Notes(
            {**self.ceilings, **fresh.ceilings},
            {**self.launches, **fresh.launches},
            {**self.methods, **fresh.methods},
            {**refused, **fresh.refused},
            fresh.absent,
            fresh.load,
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Notes:
        return cls(**values)


def note_key(case: str, direction: str, provider: str) -> str:
    return f"{case} {direction} {provider}"


def write_report(
    suite: str, records: Sequence[Record], notes: dict[str, Notes], folder: Path
) -> Path:
    """Write ``<folder>/<suite>.md`` and its charts, one section a device.

    ``<folder>/<suite>.log.md``, written by hand, is put at its end.

    Args:
        suite: its name.
        records: all its records; the newest of a case counts.
        notes: by device.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_device: dict[str, list[Record]] = defaultdict(list)
    for record in newest(records):
        by_device[record.device].append(record)
    parts = [f"# Benchmark: {suite}\n", _PREAMBLE]
    for device in sorted(set(by_device) | set(notes)):
        chart = folder / f"{suite}_{_slug(device)}.svg"
        held = by_device.get(device, [])
        if held:
            draw_chart(held, chart, f"{suite} on {device}")
        parts.append(_section(device, held, notes.get(device, Notes()), chart.name))
    log = folder / f"{suite}.log.md"
    if log.is_file():
        parts.append(log.read_text(encoding="utf-8"))
    path = folder / f"{suite}.md"
    write_whole(path, "\n".join(parts))
    return path


_PREAMBLE = """\
Every figure was taken after the same call, on the same input, had been held against a float64
reference; a provider that fails the check gets no time. Times are medians over rotating input
sets (best of many rounds for eager calls). *floor* is the time that the bytes and operations of
the call need at the ceilings measured on the machine; *x floor* is the distance to it. *error* is
the largest relative L2 error of outputs and gradients. `benchmarks/README.md` says how to run it.
"""


def _section(device: str, records: Sequence[Record], notes: Notes, chart: str) -> str:
    lines = [f"## {device}\n"]
    if records:
        dates = sorted(record.date for record in records)
        commits = ", ".join(f"`{each}`" for each in sorted({record.commit for record in records}))
        versions = ", ".join(sorted({record.torch for record in records}))
        span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        lines.append(f"- measured {span}, torch {versions}, commit {commits}")
    lines += [f"- ceilings, {name}: {value}" for name, value in sorted(notes.ceilings.items())]
    if notes.load:
        lines.append(f"- {notes.load}")
    if records:
        lines += ["", f"![times on {device}]({chart})", "", *_table(records, notes)]
    if notes.refused:
        lines += ["", "No time is given for these:", ""]
        lines += [f"- {key}: {why}" for key, why in sorted(notes.refused.items())]
    if notes.absent:
        names = ", ".join(
            f"{name} (no `{module}`)" for name, module in sorted(notes.absent.items())
        )
        lines += ["", f"Peers that were not installed, and so are not in the table: {names}."]
    return "\n".join(lines) + "\n"


def _table(records: Sequence[Record], notes: Notes) -> list[str]:
    own = {(each.case, each.direction): each for each in records if each.provider == OWN}
    rows = []
    for each in sorted(records, key=lambda record: (record.case, record.direction, record.ms)):
        mine = own.get((each.case, each.direction))
        key = note_key(each.case, each.direction, each.provider)
        rows.append(
            {
                "case": each.case,
                "pass": _PASS_NAMES[each.direction],
                "provider": f"**{each.provider}**" if each.provider == OWN else each.provider,
                "ms": _short(each.ms),
                f"vs {OWN}": f"{each.ms / mine.ms:.2f}x" if mine and mine is not each else "",
                "floor ms": _short(each.floor_ms),
                "x floor": f"{each.ms / each.floor_ms:.1f}" if each.floor_ms else "",
                "peak MiB": _short(each.peak_mib),
                "launches": str(notes.launches.get(key, "")),
                "error": f"{each.error:.1e}",
            }
        )
    heads = [head for head in rows[0] if any(row[head] for row in rows)]
    lines = [_row(heads), _row(["---" if head in _TEXTS else "---:" for head in heads])]
    return lines + [_row([row[head] for head in heads]) for row in rows]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _slug(device: str) -> str:
    words = "".join(each if each.isalnum() else " " for each in device.lower()).split()
    return "_".join(words)


def draw_chart(records: Sequence[Record], path: Path, title: str) -> None:
    """Draw times as bars on a logarithmic axis, one group a case and pass, floors as ticks."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.case, record.direction].append(record)
    providers = sorted({each.provider for each in records}, key=lambda name: (name != OWN, name))
    palette = plt.get_cmap("tab10")
    color = {name: palette(position % 10) for position, name in enumerate(providers)}
    rows, ticks, labels = 0.0, [], []
    with plt.rc_context({"svg.hashsalt": "g2vlm", "svg.fonttype": "none", "font.size": 8}):
        height = 0.16 * len(records) + 0.12 * len(groups) + 0.9
        figure, axes = plt.subplots(figsize=(7.2, height), layout="constrained")
        for (case, direction), group in sorted(groups.items()):
            top = rows
            for each in sorted(group, key=lambda record: record.ms):
                axes.barh(rows, each.ms, 0.85, color=color[each.provider])
                axes.text(each.ms, rows, f" {each.ms:.3g}", va="center", fontsize=6)
                if each.floor_ms:
                    axes.plot([each.floor_ms] * 2, [rows - 0.42, rows + 0.42], "k", linewidth=1)
                rows += 1
            ticks.append((top + rows - 1) / 2)
            break_or_comma = "\n" if len(group) > 1 else ", "  # one bar has room for one line
            labels.append(f"{case}{break_or_comma}{_PASS_NAMES[direction]}")
            rows += 0.8
        axes.set(xscale="log", xlabel="ms (log scale; black tick = floor)", title=title)
        axes.set_yticks(ticks, labels)
        axes.invert_yaxis()
        axes.margins(x=0.08, y=0.01)
        axes.spines[["top", "right"]].set_visible(False)
        handles = [plt.Rectangle((0, 0), 1, 1, color=color[name]) for name in providers]
        figure.legend(handles, providers, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
