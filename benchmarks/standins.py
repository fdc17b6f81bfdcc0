"""Stand-ins for torchvision and torch_geometric, which compressai and timm import and the models used here never call.

There is no torchvision for the torch that doubleback is tested with. No code of doubleback imports either.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

NAMES = ("torchvision", "torch_geometric")


class _Anything(type):
    """Of a class that has every attribute: its name."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Nothing(types.ModuleType):
    """A module in which every name is a class that takes anything and, as a decorator, changes nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {"__init__": lambda *_, **__: None, "__call__": lambda _, given: given})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        mine = fullname.partition(".")[0] in NAMES
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if mine else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Nothing(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        del module


@contextmanager
def stood_in() -> Iterator[None]:
    """They can be imported meanwhile; afterwards nobody finds them, who would ask for their version."""
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
            if isinstance(sys.modules[name], _Nothing):
                del sys.modules[name]
