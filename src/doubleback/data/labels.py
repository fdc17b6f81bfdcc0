"""From what a column, or a folder's name, holds to labels: whole numbers, or names in order of the alphabet."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from doubleback.data.remarks import Remarks, images, listed
from doubleback.errors import InputError
from doubleback.terminal import plain

_MISSING = ("", "-1", "-1.0", "nan")  # as text, in small letters
_LARGEST = 2**53  # whole numbers that a floating-point number can hold

_Names = Annotated[list[Annotated[str, msgspec.Meta(max_length=1000)]], msgspec.Meta(max_length=2**16)]


def recorded_names(schema: Any, column: str) -> list[str] | None:
    """The names that `datasets` has recorded in a table for the numbers of a column: its `ClassLabel`.

    Args:
        schema: of the table, of pyarrow.
        column: the column's name.

    Returns:
        The name of 0, 1, ...; None where the table has no such record, or the column no whole numbers.

    Raises:
        ValueError: they are too many, too long, no texts, the same twice, or empty.
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    if column not in schema.names or not pa.types.is_integer(schema.field(column).type):
        return None
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        recorded = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (ValueError, LookupError, TypeError, RecursionError):  # not as `datasets` writes it
        return None
    names = [name.strip() for name in msgspec.convert(recorded or [], _Names)]
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    if unusable := [name for name in names if _missing(name)]:
        raise ValueError(f"{unusable[0]!r} stands for no label")
    return names or None


def read_labels(
    values: Mapping[str, Sequence[Any]], names: Sequence[str] | None, where: str, chosen: bool, remarks: Remarks
) -> tuple[dict[str, list[int | None]] | None, list[str] | None]:
    """Values of a column as labels.

    None, NaN and -1, also as text, and an empty text stand for an image without a label.

    Args:
        values: for each part, one for each image.
        names: the classes in order, where they are known.
        where: what to call the column.
        chosen: the user has chosen it, so a value that is not a label is an error, otherwise a remark.
        remarks: takes the remarks.

    Returns:
        The labels, None for an image without one, and the names of 0, 1, ...; both None where there are no labels, the
        second alone where the labels are whole numbers without names.

    Raises:
        InputError: the values of a chosen column are not classes, or a number has no name.
    """
    values = {part: [one.strip() if isinstance(one, str) else one for one in held] for part, held in values.items()}
    known = [value for held in values.values() for value in held if not _missing(value)]
    kinds = {type(value) for value in known}
    if kinds <= {str}:
        names = sorted(set(known)) if names is None else list(names)
        numbers: dict[Any, int] = {name: number for number, name in enumerate(names)}
    elif kinds == {bool}:
        names, numbers = ["False", "True"], {False: 0, True: 1}
    elif all(_whole(value) for value in known):
        numbers = {value: int(value) for value in set(known)}
    else:
        says = (
            f"{where} holds values such as {listed([repr(known[0])])}, which are not classes (whole numbers or names)"
        )
        if chosen:
            raise InputError(f"{says}; choose another column")
        remarks.say(f"no labels are read: {says}")
        return None, None
    for value in set(known):
        if value not in numbers or (names is not None and not 0 <= numbers[value] < len(names)):
            raise InputError(f"{where} holds {value!r}, but there are names for {len(names or ())} classes; fix it")
    if not known:
        remarks.say("no image has a label")
        return None, None
    labels = {part: [None if _missing(one) else numbers[one] for one in held] for part, held in values.items()}
    for part, held in labels.items():
        if None in held:
            remarks.say(f"{images(held.count(None))} of {len(held):,} in {part} without a label")
    return labels, [plain(name) for name in names] if names is not None else None


def _missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in _MISSING
    return value is None or value == -1 or (isinstance(value, float) and math.isnan(value))


def _whole(value: Any) -> bool:
    """Whether a value is a whole number that a label can be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _LARGEST and float(value).is_integer()
