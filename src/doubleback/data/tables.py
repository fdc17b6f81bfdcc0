"""Tables of encoded images: parquet, and what the hub hands out. Columns are chosen by name, or by the user."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from doubleback.data.labels import read_labels, recorded_names
from doubleback.data.records import UNLABELLED, Choice, Opened, Records
from doubleback.data.remarks import Remarks, listed
from doubleback.errors import InputError, reason
from doubleback.terminal import plain

_BATCH = 256  # rows held at a time


@runtime_checkable
class Table(Protocol):
    """Rows of columns, read some at a time."""

    @property
    def schema(self) -> Any:
        """Names and types of the columns, of pyarrow."""
        ...

    def __len__(self) -> int: ...

    def batches(self, column: str) -> Iterator[Any]:
        """A column's values in order, arrays of pyarrow."""
        ...


@dataclass(frozen=True)
class ParquetTable:
    """A parquet file.

    Attributes:
        path: where it lies.
        schema: of its columns.
        rows: how many it has.
    """

    path: Path
    schema: Any
    rows: int

    @classmethod
    def of(cls, path: Path) -> "ParquetTable":
        """Look at a file.

        Raises:
            InputError: it is not readable.
        """
        from pyarrow import parquet  # type: ignore[import-untyped]

        with _reading(path), path.open("rb") as stream:
            file = parquet.ParquetFile(stream)
            return cls(path, file.schema_arrow, int(file.metadata.num_rows))

    def __len__(self) -> int:
        return self.rows

    def batches(self, column: str) -> Iterator[Any]:
        """As `Table.batches`."""
        from pyarrow import parquet

        with _reading(self.path), self.path.open("rb") as stream:
            for batch in parquet.ParquetFile(stream).iter_batches(_BATCH, columns=[column]):
                yield batch.column(0)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Makes whatever goes wrong while a file is read an InputError."""
    try:
        yield
    except Exception as error:
        raise InputError(f"{plain(path)} is not readable parquet ({reason(error)}); replace it") from error


@dataclass(frozen=True)
class ArrowTable:
    """A table of pyarrow, such as `datasets` maps into memory."""

    table: Any

    @property
    def schema(self) -> Any:
        """As `Table.schema`."""
        return self.table.schema

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def batches(self, column: str) -> Iterator[Any]:
        """As `Table.batches`."""
        for batch in self.table.select([column]).to_batches(_BATCH):
            yield batch.column(0)


@dataclass(frozen=True)
class Column:
    """The images of one part, in a column of one or more tables.

    Attributes:
        part: its name.
        place: the source, for errors.
        tables: in order.
        name: the column's.
        cache: the only folder in which a path that stands for an image is followed; None: nowhere.
    """

    part: str
    place: str
    tables: Sequence[Table]
    name: str
    cache: Path | None = None

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def encoded(self, rows: Sequence[int] | None = None) -> Iterator[tuple[str, bytes]]:
        """As `Records.encoded`."""
        wanted = iter(range(len(self)) if rows is None else rows)
        row, start = next(wanted, None), 0
        for batch in (batch for table in self.tables for batch in table.batches(self.name)):
            while row is not None and row < start + len(batch):
                yield self._read(row, batch[row - start].as_py())
                row = next(wanted, None)
            start += len(batch)
            if row is None:
                return

    def _read(self, row: int, cell: Any) -> tuple[str, bytes]:
        """The encoded image in a cell: bytes, or a record with `bytes`; its `path` is only a name."""
        named = cell.get("path") if isinstance(cell, dict) else None
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        where = f"{self.part} row {row} of {listed([named or self.place])}"
        if isinstance(content, bytes) and content:
            return where, content
        if named and self.cache is not None and Path(named).resolve().is_relative_to(self.cache):
            return where, Path(named).read_bytes()
        if named:
            raise InputError(f"{where} is the name of a file, and no image is stored; store the images' bytes")
        raise InputError(f"{where} holds no image; remove that row")


def table_parts(
    place: str,
    parts: Mapping[str, Sequence[Table]],
    choice: Choice,
    opening: tuple[Remarks, Sequence[Any]],
    cache: Path | None = None,
) -> Opened:
    """Choose the columns of a source's tables.

    Args:
        place: the source, for errors.
        parts: its tables; `train` has one at least.
        choice: the user's.
        opening: the remarks so far, and the source's stamp.
        cache: as of `Column`.

    Raises:
        InputError: no column of images, several to choose from, no column of the name chosen, or labels that are not
            classes in a column that the user chose.
    """
    remarks, stamp = opening
    every = [table for part in sorted(parts, key=lambda part: part != "train") for table in parts[part]]
    column = _image_column(place, parts["train"][0].schema, choice.image_column)
    for table in every:
        if column not in _able(table.schema):
            raise InputError(
                f"{place} holds a table without images in the column {plain(column)}; give those of one set"
            )
    records: dict[str, Records] = {part: Column(part, place, held, column, cache) for part, held in parts.items()}
    label = _label_column(place, every, column, choice.label_column, remarks)
    if label is None:
        return Opened(records, None, None, remarks, stamp)
    names = _class_names(every, label, remarks)
    values = {part: [one for table in held for one in _values(table, label, names)] for part, held in parts.items()}
    chosen = choice.label_column is not None
    labels, names = read_labels(values, names, f"column {plain(label)}", chosen, remarks)
    return Opened(records, labels, names, remarks, stamp)


def _able(schema: Any) -> dict[str, bool]:
    """The columns that can hold encoded images, and whether that is certain."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        fields = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
        is_record = "bytes" in fields and holds_bytes(fields["bytes"])
        if is_record or holds_bytes(kind):
            found[str(name)] = is_record
    return found


def _image_column(place: str, schema: Any, chosen: str | None) -> str:
    able = _able(schema)
    if chosen is not None:
        if chosen not in able:
            others = listed(able) or "none"
            raise InputError(f"{place} has no images in a column {chosen!r}; columns with images: {others}")
        return chosen
    named = [name for name in ("image", "img") if name in able]
    sure = [name for name, certain in able.items() if certain]
    if named:
        return named[0]
    if len(sure) == 1:
        return sure[0]
    if sure:
        raise InputError(
            f"{place} has several columns of images ({listed(sure)}); choose one by --image-column (image_column)"
        )
    raise InputError(
        f"{place} has no column of images (columns: {listed(schema.names)}); "
        "expected encoded images in a column `image` or `img`, or choose one by --image-column (image_column)"
    )


def _label_column(place: str, tables: Sequence[Table], image: str, chosen: str | None, remarks: Remarks) -> str | None:
    """The column of labels: the chosen one, else `label` or `labels`; None and a remark where there is none."""
    others = [name for name in dict.fromkeys(name for table in tables for name in table.schema.names) if name != image]
    if chosen is not None:
        if chosen not in others:
            raise InputError(f"{place} has no column {chosen!r} for labels; columns: {listed(others) or 'none'}")
        return chosen
    found = next((name for name in ("label", "labels") if name in others), None)
    if found is None and others:
        says = f"no labels are read: there is no column `label`; columns: {listed(others)}"
        remarks.say(f"{says} (choose one by --label-column)")
    return found


def _class_names(tables: Sequence[Table], label: str, remarks: Remarks) -> list[str] | None:
    """All names that the tables know, those of the first table first; None where those of one are not to be used."""
    try:
        every = [name for table in tables for name in recorded_names(table.schema, label) or ()]
    except ValueError as error:
        remarks.say(f"the recorded names of the classes in column {plain(label)} are not used ({reason(error)})")
        return None
    return list(dict.fromkeys(every)) or None


def _values(table: Table, label: str, names: Sequence[str] | None) -> list[Any]:
    """A table's labels, by its own names where it has some: the same number may mean another class in each table."""
    if label not in table.schema.names:
        return [None] * len(table)
    held = [value for batch in table.batches(label) for value in batch.to_pylist()]
    if names is None:
        return held
    own = recorded_names(table.schema, label) or names
    for one in held:
        if isinstance(one, int) and not UNLABELLED <= one < len(own):
            raise InputError(f"column {plain(label)} holds {one}, but there are names for {len(own)} classes; fix it")
    return [own[one] if isinstance(one, int) and one >= 0 else one for one in held]
