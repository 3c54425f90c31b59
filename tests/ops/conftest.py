"""What tests of one op in several files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from g2vlm_fast.ops import BackendError, use_backend


@pytest.fixture(params=["reference", "cpu", "triton"])
def on_backend(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    """A context that runs ops on each backend in turn, and skips where one has no such kernel."""

    @contextmanager
    def run() -> Iterator[None]:
        try:
            with use_backend(request.param):
                yield
        except BackendError as refusal:
            if "has no kernel yet for" not in str(refusal):
                raise
            pytest.skip(str(refusal))

    return run
