"""What the readers of folders, of tables and of the hub hand on: encoded images, their labels, and remarks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from doubleback.data.remarks import Remarks

UNLABELLED = -1  # the label of an image that has none, where others have


@runtime_checkable
class Records(Protocol):
    """The images of a part, still encoded."""

    def __len__(self) -> int: ...

    def encoded(self, rows: Sequence[int] | None = None) -> Iterator[tuple[str, bytes]]:
        """What to call each of the rows (increasing; by default all) in an error, and its file's content."""
        ...


@dataclass(frozen=True)
class Choice:
    """What to read where a source holds more than images and labels; None lets the names decide.

    Attributes:
        image_column, label_column: of a table.
        own_parts: the source's own validation and test images are used; else all are drawn from its training images.
    """

    image_column: str | None = None
    label_column: str | None = None
    own_parts: bool = True


@dataclass(frozen=True)
class Opened:
    """A source that has been looked at, but not decoded.

    Attributes:
        parts: train and, where there are any, validation and test.
        labels: for each part a label for each record, None for a record that has none; None where there are no labels.
        label_names: of the labels 0, 1, ...; None where the labels are whole numbers without names.
        remarks: what was left out, and why.
        stamp: changes whenever the source does; JSON.
    """

    parts: Mapping[str, Records]
    labels: Mapping[str, Sequence[int | None]] | None
    label_names: Sequence[str] | None
    remarks: Remarks
    stamp: Sequence[Any]
