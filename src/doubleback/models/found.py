"""The modules that a function uses: they are attacked in evaluation mode, where they are, and left as found."""

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn


def modules_in(*given: Any) -> list[nn.Module]:
    """Every module that these are, belong to, or use: methods' owners, what functions close over, their globals.

    >>> net = nn.Linear(2, 2)
    >>> modules_in(lambda x: net(x)) == [net]
    True
    """
    found: dict[int, nn.Module] = {}
    for one in given:
        for module in _within(one, 0):
            found[id(module)] = module
    return [module for module in found.values() if not _is_inside(module, found)]


def _within(one: Any, depth: int) -> Iterator[nn.Module]:
    if isinstance(one, nn.Module):
        yield one
    elif depth > 3 or one is None or isinstance(one, type | str | bytes | int | float):
        return
    elif isinstance(one, functools.partial):
        for part in (one.func, *one.args, *one.keywords.values()):
            yield from _within(part, depth + 1)
    elif inspect.ismethod(one):
        yield from _within(one.__self__, depth + 1)
    elif inspect.isfunction(one):
        used = inspect.getclosurevars(one)
        for part in (*used.nonlocals.values(), *used.globals.values(), *(one.__defaults__ or ())):
            yield from _within(part, depth + 1)
    elif isinstance(one, Mapping):
        for part in one.values():
            yield from _within(part, depth + 1)
    elif isinstance(one, list | tuple):
        for part in one:
            yield from _within(part, depth + 1)
    elif hasattr(one, "__dict__") and not inspect.ismodule(one):
        for part in vars(one).values():
            yield from _within(part, depth + 1)


def _is_inside(module: nn.Module, found: dict[int, nn.Module]) -> bool:
    """Whether it is a part of another that was found."""
    return any(other is not module and any(part is module for part in other.modules()) for other in found.values())
