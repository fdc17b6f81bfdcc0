"""Tables beside images, `metadata.csv`, `.jsonl` or `.parquet`: a row for each image, by its `file_name`."""

import csv
import io
import json
import os
from pathlib import Path, PurePath
from typing import Any

from doubleback.data.tables import ParquetTable
from doubleback.errors import InputError, reason
from doubleback.terminal import plain

FILE_NAME = "file_name"
_DELIMITERS = ",;\t|"


def metadata_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table; in a CSV a column is of numbers where all that it holds are.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path.suffix.lower() == ".parquet":
            table = ParquetTable.of(path)
            names = table.schema.names
            columns = {name: [one for part in table.batches(name) for one in part.to_pylist()] for name in names}
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        text = path.read_text(encoding="utf-8-sig")
        return _of_lines(text) if path.suffix.lower() == ".jsonl" else _of_csv(text)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{plain(path)} is not a readable table ({reason(error)}); fix or remove it") from error


def place_of(name: Any, table: PurePath, folder: Path) -> PurePath:
    """Where in the folder the image of this name lies: the name is as from the table's folder, or absolute."""
    text = str(name).strip().replace("\\", "/")
    whole = os.path.normpath(folder / table.parent / text)
    return PurePath(os.path.relpath(whole, folder))


def _of_lines(text: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not a record")
    return rows


def _of_csv(text: str) -> list[dict[str, Any]]:
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    first, *rest = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row] or [[]]
    names = [name.strip() for name in first]
    rows = [dict(zip(names, row, strict=False)) for row in rest]
    for name in names:
        held = [row[name].strip() for row in rows if row.get(name, "").strip()]
        if name != FILE_NAME and all(_is_number(one) for one in held):
            for row in rows:
                row[name] = _number(row.get(name, "").strip())
    return rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> Any:
    """As a CSV means it: 400 digits are not a float."""
    return None if not text else int(text) if text.lstrip("-").isdecimal() else float(text)
