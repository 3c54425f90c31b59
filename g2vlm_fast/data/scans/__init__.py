"""Recorded scans: what their numbers mean, and how they are written."""
