"""Cameras, boxes, frames and conventions: what positions mean, without any kernel."""
