"""How many rows fit into memory: the bytes that one row keeps for its gradient are measured, and what is free is asked.

A public function that attacks or measures says once what a row weighs (`weighed`); whoever cuts a batch into chunks
asks `rows_within`. Without a limit, nothing is bounded.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.processes import free_memory

SHARE = 0.5  # of the free memory that is used where nobody says how much
WORKING = 2.5  # times what a forward pass keeps: the gradients that are on their way, and what convolutions need
_UNITS = {"": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}


@dataclass
class _Load:
    bytes_a_row: int
    budget: int
    halved: int = 0


_load: ContextVar[_Load | None] = ContextVar("load", default=None)


def in_words(size: float) -> str:
    """Bytes for people.

    >>> in_words(3.5 * 2**20)
    '3.5 MB'
    """
    for unit, value in reversed(_UNITS.items()):
        if size >= value:
            return f"{size / value:.3g} {unit.upper() or 'bytes'}"
    return "0 bytes"


def row_bytes(f: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Bytes that a pass of f over one row keeps for its gradient, and works with.

    Args:
        f: differentiable.
        x: one row, (1, ...).
    """
    one = _kept_bytes(f, x)
    large = 2 * WORKING * one > free_memory()  # so that two rows may not fit: what one keeps is more than what it adds
    two = 2 * one if large else _kept_bytes(f, x.repeat(2, *[1] * (x.dim() - 1)))
    state = 24 * x.numel() * x.element_size()  # the row itself: iterates, gradients, directions, and what attacks keep
    return int(WORKING * max(0, two - one)) + state  # the difference: weights are kept once, whatever the rows


def _kept_bytes(f: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """What a pass of f over these rows keeps for its gradient."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = f(x.detach().requires_grad_())
        del out
    return sum(kept.values())


@contextmanager
def weighed(bytes_a_row: int, budget: int | None) -> Iterator[None]:
    """While it is on, chunks have as many rows as `budget` bytes hold; None: half of what is free."""
    own = int(SHARE * free_memory()) if budget is None else budget
    token = _load.set(_Load(bytes_a_row, own))
    try:
        yield
    finally:
        _load.reset(token)


def is_weighed() -> bool:
    """Whether somebody has said what a row weighs."""
    return _load.get() is not None


def rows_within(bytes_a_row: int | None = None) -> int:
    """How many rows fit: of so many bytes each, or as `weighed` has said; at least one.

    They fill half of the budget: the other half is for what an attack keeps of all its pairs meanwhile.
    """
    load = _load.get()
    if load is None and bytes_a_row is None:
        return 2**31
    each = bytes_a_row or (load.bytes_a_row if load else 1)
    budget = load.budget if load else int(SHARE * free_memory())
    fit = max(1, int(budget / 2 / max(1, each)) >> (load.halved if load else 0))
    return int(2 ** (fit.bit_length() - 1))  # a power of two: a little more or less free memory changes nothing


def halve() -> bool:
    """Take half as many rows from now on; False where nothing is weighed, or one row is left."""
    load = _load.get()
    if load is None or rows_within() <= 1:
        return False
    load.halved += 1
    return True


@contextmanager
def recomputing(*models: object) -> Iterator[bool]:
    """Where a model offers gradient checkpointing (`enable_gradient_checkpointing`), it is on; afterwards as before.

    Yields:
        Whether any does.
    """
    modules = [part for model in models if isinstance(model, nn.Module) for part in model.modules()]
    switched = []
    for module in {id(part): part for part in modules}.values():
        switch: Any = module
        if hasattr(switch, "enable_gradient_checkpointing") and not getattr(switch, "is_gradient_checkpointing", True):
            with suppress(ValueError):  # it has the method and no support
                switch.enable_gradient_checkpointing()
                switched.append(switch)
    try:
        yield bool(switched)
    finally:
        for switch in switched:
            switch.disable_gradient_checkpointing()


def give_back() -> None:
    """Give what was freed back to the system (glibc): the heap keeps it otherwise, in pieces that fit nothing large."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
