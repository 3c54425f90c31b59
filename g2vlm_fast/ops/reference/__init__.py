"""Plain-torch truth of every op: slow, clear, in any float dtype. Each stem has one module."""
