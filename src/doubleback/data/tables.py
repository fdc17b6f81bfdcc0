"""Tables of encoded images: parquet, and what the hub hands out. Columns are chosen by name, or by the user."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doubleback.data.records import Choice, Opened, Records
from doubleback.data.remarks import Remarks, images, listed
from doubleback.errors import InputError, first_line

_ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_BATCH = 256  # rows held at a time


def split_role(name: str) -> str | None:
    """What a split of this name is for: train, validation or test; None if the name is none of theirs.

    >>> split_role("Val"), split_role("training"), split_role("extra")
    ('validation', 'train', None)
    """
    return _ROLES.get(name.lower())


@dataclass(frozen=True)
class Table:
    """The images of one part, in the column of one or more tables with the same columns."""

    part: str
    place: str
    tables: Sequence[Any]  # pyarrow.dataset.Dataset
    column: str

    def __len__(self) -> int:
        return sum(table.count_rows() for table in self.tables)

    def encoded(self, rows: Sequence[int] | None = None) -> Iterator[tuple[str, bytes]]:
        """As `Records.encoded`."""
        wanted = iter(range(len(self)) if rows is None else rows)
        row, start = next(wanted, None), 0
        for batch in _batches(self.tables, self.column, self.place):
            while row is not None and row < start + len(batch):
                yield self._read(row, batch[row - start].as_py())
                row = next(wanted, None)
            start += len(batch)
            if row is None:
                return

    def _read(self, row: int, cell: Any) -> tuple[str, bytes]:
        """The encoded image in a cell: bytes, or a record with `bytes`. A path only names it, and is never followed."""
        named = cell.get("path") if isinstance(cell, dict) else None
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        where = f"{self.part} row {row} of {listed([named or self.place])}"
        if content:
            return where, bytes(content)
        if named:
            raise InputError(f"{where} is the name of a file, and no image is stored; store the images' bytes")
        raise InputError(f"{where} holds no image; remove that row")


def _batches(tables: Sequence[Any], column: str, place: str) -> Iterator[Any]:
    """The column, some rows at a time, in order."""
    for table in tables:
        try:
            for batch in table.scanner(columns=[column], batch_size=_BATCH, batch_readahead=1).to_batches():
                yield batch.column(0)
        except InputError:
            raise
        except Exception as error:
            raise damaged(table, place, error) from error


def damaged(table: Any, place: str, error: Exception) -> InputError:
    """What to say of a table that cannot be read: which of its files is damaged."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    for path in getattr(table, "files", ()):
        try:
            with parquet.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    file.read_row_group(group)
        except Exception as damage:
            return InputError(f"{path} is not readable parquet ({first_line(damage)}); replace it")
    return InputError(f"{place} cannot be read ({first_line(error)}); expected parquet with a column of images")


def parquet_tables(paths: Sequence[Path]) -> list[Any]:
    """Each file as a table.

    Raises:
        InputError: one is not readable.
    """
    from pyarrow import dataset

    found = []
    for path in paths:
        try:
            found.append(dataset.dataset([str(path)], format="parquet", partitioning=None))
        except Exception as error:
            raise InputError(f"{path} is not readable parquet ({first_line(error)}); replace it") from error
    return found


def table_parts(
    place: str, parts: Mapping[str, Sequence[Any]], choice: Choice, remarks: Remarks, stamp: Sequence[Any]
) -> Opened:
    """Choose the columns of a source's tables.

    Raises:
        InputError: no column of images, several to choose from, no column of the name chosen, or labels that are not
            classes in a column that the user chose.
    """
    for tables in parts.values():
        for table in tables:
            if table.schema.names != parts["train"][0].schema.names:
                raise InputError(f"{place} holds tables with different columns; give a folder with those of one set")
    schema = parts["train"][0].schema
    features = _features(schema)
    column = _image_column(place, schema, features, choice.image_column)
    records: dict[str, Records] = {part: Table(part, place, tables, column) for part, tables in parts.items()}
    label = _label_column(place, schema, column, choice.label_column, remarks)
    if label is None:
        return Opened(records, None, None, remarks, stamp)
    values = {
        part: [value for batch in _columns(tables, label, place) for value in batch] for part, tables in parts.items()
    }
    names = features[label].names if type(features.get(label)).__name__ == "ClassLabel" else None
    labels, names = as_labels(values, names, f"column {label}", choice.label_column is not None, remarks)
    return Opened(records, labels, names, remarks, stamp)


def _columns(tables: Sequence[Any], column: str, place: str) -> Iterator[list[Any]]:
    return (batch.to_pylist() for batch in _batches(tables, column, place))


def _features(schema: Any) -> Mapping[str, Any]:
    """The features that `datasets` has recorded in a table; none where it has not, or wrongly."""
    import datasets

    try:
        return dict(datasets.Features.from_arrow_schema(schema))
    except Exception:  # the record is a stranger's: without it, the columns' own types decide
        return {}


def _image_column(place: str, schema: Any, features: Mapping[str, Any], chosen: str | None) -> str:
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def is_record(kind: Any) -> bool:
        return bool(
            pa.types.is_struct(kind) and any(field.name == "bytes" and holds_bytes(field.type) for field in kind)
        )

    kinds = dict(zip(schema.names, schema.types, strict=True))
    able = [name for name, kind in kinds.items() if holds_bytes(kind) or is_record(kind)]
    if chosen is not None:
        if chosen not in able:
            raise InputError(
                f"{place} has no images in a column {chosen!r}; those with images: {listed(able) or 'none'}"
            )
        return chosen
    sure = [str(name) for name in able if is_record(kinds[name]) or type(features.get(name)).__name__ == "Image"]
    named = [name for name in ("image", "img") if name in able]
    if len(sure) == 1 and not named:
        return sure[0]
    if named:
        return named[0]
    if sure:
        raise InputError(
            f"{place} has several columns of images ({', '.join(sure)}); choose one by --image-column (image_column)"
        )
    raise InputError(
        f"{place} has no column of images (columns: {', '.join(schema.names)}); "
        "expected encoded images in a column `image` or `img`, or choose one by --image-column (image_column)"
    )


def _label_column(place: str, schema: Any, image: str, chosen: str | None, remarks: Remarks) -> str | None:
    """The column of labels: the chosen one, else `label` or `labels`; None and a remark where there is none."""
    others = [name for name in schema.names if name != image]
    if chosen is not None:
        if chosen not in others:
            raise InputError(f"{place} has no column {chosen!r} for labels; columns: {', '.join(others) or 'none'}")
        return chosen
    found = next((name for name in ("label", "labels") if name in others), None)
    if found is None and others:
        remarks.say(
            f"no labels are read: there is no column `label`; columns: {', '.join(others)} "
            "(choose one by --label-column)"
        )
    return found


def as_labels(
    values: Mapping[str, Sequence[Any]], names: Sequence[str] | None, where: str, chosen: bool, remarks: Remarks
) -> tuple[dict[str, list[int | None]] | None, list[str] | None]:
    """Values of a column as labels: whole numbers, or names in order of the alphabet.

    None, NaN and -1 stand for an image without a label.

    Args:
        values: for each part, one for each image.
        names: of the numbers 0, 1, ..., where they are known.
        where: what to call the column.
        chosen: the user has chosen it, so what is no label is an error, else a remark.
        remarks: takes what is to be said.

    Raises:
        InputError: the values of a chosen column are no classes, or a number has no name.
    """
    known = [value for part in values.values() for value in part if not _missing(value)]
    if all(isinstance(value, str) for value in known):
        names = sorted(set(known)) if names is None else list(names)
        numbers: dict[Any, int] = {name: number for number, name in enumerate(names)}
    elif all(isinstance(value, bool) for value in known):
        names, numbers = ["False", "True"], {False: 0, True: 1}
    elif all(isinstance(value, (int, float)) and float(value).is_integer() and abs(value) < 2**53 for value in known):
        numbers = {value: int(value) for value in set(known)}
    else:
        says = f"{where} holds values such as {listed([repr(known[0])])}, which are no classes (whole numbers or names)"
        if chosen:
            raise InputError(f"{says}; choose another column")
        remarks.say(f"no labels are read: {says}")
        return None, None
    strange = [value for value in known if value not in numbers or (names and not 0 <= numbers[value] < len(names))]
    if strange:
        raise InputError(f"{where} holds {strange[0]!r}, but there are names for {len(names or ())} classes; mend it")
    labels = {part: [None if _missing(one) else numbers[one] for one in held] for part, held in values.items()}
    missing = {part: held.count(None) for part, held in labels.items() if None in held}
    if not known:
        remarks.say("no image has a label")
        return None, None
    for part, count in missing.items():
        remarks.say(f"{images(count)} of {len(labels[part]):,} in {part} without a label")
    return labels, list(names) if names is not None else None


def _missing(value: Any) -> bool:
    return value is None or value == "" or value == -1 or (isinstance(value, float) and math.isnan(value))
