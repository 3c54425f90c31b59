"""What lets ``torch.jit.script`` take functions whose work it cannot compile."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def scriptable(function: _Function) -> _Function:
    """Give a function its annotations as types, which TorchScript does not read from text.

    Its body may call what :func:`kept_in_python` marks, and little else.
    """
    function.__annotations__ = typing.get_type_hints(function)
    return function


def kept_in_python(function: _Function) -> _Function:
    """Let a scripted function call this one as Python; it cannot be saved then."""
    marked: _Function = torch.jit.ignore(scriptable(function))
    return marked
