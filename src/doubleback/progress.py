"""Progress bars with the time left, on stderr, where a person is watching."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol, runtime_checkable

from doubleback.terminal import plain


@runtime_checkable
class Update(Protocol):
    """Told how much more is done, and what to show beside the bar."""

    def __call__(self, advance: float, text: str = "") -> None: ...


@contextmanager
def progress_bar(name: str, total: float, shown: bool = True, completed: int = 0) -> Iterator[Update]:
    """A bar called `name` over `total` units; hidden unless `shown`, and gone when done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal), transient=True) as bar:
        task = bar.add_task(plain(name), total=total, completed=completed, text="")

        def update(advance: float, text: str = "") -> None:
            bar.update(task, advance=advance, text=plain(text))

        yield update


@cache
def note(line: str) -> None:
    """Print a message on stderr, once."""
    print(f"doubleback: {line}", file=sys.stderr)
