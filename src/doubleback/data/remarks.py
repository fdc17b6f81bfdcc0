"""The messages about a data set that was read: which images are left out, and what was assumed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from doubleback.terminal import plain

SHOWN = 3  # names in a line


@dataclass(frozen=True)
class Remark:
    """One line about a data set.

    Attributes:
        text: the message.
        left_out: how many images it says are not used; 0 where all are.
    """

    text: str
    left_out: int = 0

    def __str__(self) -> str:
        return f"{images(self.left_out)} left out: {self.text}" if self.left_out else self.text


@dataclass
class Remarks:
    """Remarks as they come up; files that are left out for one reason become one line."""

    lines: list[Remark] = field(default_factory=list)
    _files: dict[str, list[str]] = field(default_factory=dict)

    def say(self, text: str, left_out: int = 0) -> None:
        """Add a line."""
        self.lines.append(Remark(text, left_out))

    def leave_out(self, reason: str, names: Iterable[str]) -> None:
        """Add files that are not used."""
        found = list(names)
        if found:
            self._files.setdefault(reason, []).extend(found)

    def all(self) -> tuple[Remark, ...]:
        """Every line, those about files first."""
        files = [Remark(f"{reason} ({listed(names)})", len(names)) for reason, names in self._files.items()]
        return (*files, *self.lines)


def listed(names: Iterable[object]) -> str:
    """The first few of the names, and that there are more.

    >>> listed(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    found = [plain(name) for name in names]
    return ", ".join([*found[:SHOWN], *(["..."] if len(found) > SHOWN else [])])


def images(count: int) -> str:
    """`1 image`, `2 images`."""
    return f"{count} image" if count == 1 else f"{count} images"
