"""Benchmarks: correctness before time, floors, peers, records and reports."""

from g2vlm_fast.profiling.command import main

__all__ = ["main"]
