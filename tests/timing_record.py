"""A record of a timing that never was."""

from __future__ import annotations

from g2vlm_fast.profiling.records import Record

RECORD = Record(
    suite="nearest",
    case="room_B32_N2048",
    provider="g2vlm_fast",
    direction="fwd_bwd",
    ms=0.05,
    floor_ms=0.01,
    peak_mib=1.5,
    error=3e-8,
    device="NVIDIA H100 80GB HBM3",
    torch="2.11.0+cu130",
    commit="0123456789ab",
    date="2026-11-22T12:00:00+00:00",
)
