"""What the folders that images lie in mean: parts and classes; and what a metadata table says of each image."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from doubleback.data.listing import Listing
from doubleback.data.records import Choice, Opened, Records
from doubleback.data.remarks import Remarks, images, listed, printable
from doubleback.data.tables import as_labels, parquet_tables, split_role
from doubleback.errors import InputError, first_line


@dataclass(frozen=True)
class Files:
    """The images of one part, each a file."""

    folder: Path
    places: Sequence[PurePath]

    def __len__(self) -> int:
        return len(self.places)

    def encoded(self, rows: Sequence[int] | None = None) -> Iterator[tuple[str, bytes]]:
        """As `Records.encoded`."""
        for row in range(len(self)) if rows is None else rows:
            path = self.folder / self.places[row]
            where = printable(str(path))
            try:
                content = path.read_bytes()
            except OSError as error:
                raise InputError(f"{where} cannot be read ({error.strerror}); mend or remove it") from error
            yield where, content


def image_parts(found: Listing, choice: Choice, remarks: Remarks) -> Opened:
    """Parts and labels of images in folders.

    Folders `train`, `validation` and `test` (also `training`, `val`, `valid`, `dev`, `testing`, `eval`) are parts, and
    without them every image is for training. Within a part the outermost folders are classes. Folders that hold all
    images mean nothing. A metadata table with a column `file_name` may name the classes instead.

    Raises:
        InputError: a part and something else lie side by side, or the metadata cannot be read.
    """
    parts = _parts(found, remarks)
    records: dict[str, Records] = {
        part: Files(found.folder, [place for place, _ in places]) for part, places in parts.items()
    }
    classes = _from_metadata(found, parts, choice, remarks)
    if classes is None:
        if choice.label_column is not None:
            raise InputError(f"{found.folder} has no metadata table with a column {choice.label_column!r} of labels")
        classes = _from_folders(parts), None
    values, where = classes
    if values is None:
        return Opened(records, None, None, remarks, found.stamp)
    labels, names = as_labels(values, None, where or "the folders", where is not None, remarks)
    return Opened(records, labels, names, remarks, found.stamp)


_Placed = tuple[PurePath, tuple[str, ...]]  # an image, and the folders that it lies in below its part


def _parts(found: Listing, remarks: Remarks) -> dict[str, list[_Placed]]:
    """Images by part."""
    above = [place.parts[:-1] for place in found.images]
    shared = _shared(above)
    depth = next((i for i, name in enumerate(shared) if split_role(name)), len(shared))
    tops = {folders[depth] if len(folders) > depth else "" for folders in above}
    roles = {top: split_role(top) for top in tops}
    if not any(roles.values()):
        return {"train": [(place, folders[depth:]) for place, folders in zip(found.images, above, strict=True)]}
    strangers = sorted(top or "images without a folder" for top, role in roles.items() if role is None)
    known = sorted(top for top, role in roles.items() if role)
    if "train" not in roles.values():
        raise InputError(f"{found.folder} has a folder {known[0]}, but no folder train; put training images there")
    if strangers and len(set(roles.values()) - {None}) == 1:
        raise InputError(
            f"{found.folder} holds {known[0]} beside {listed(strangers)}: "
            "give the folder train alone, add a folder test, or rename it if it is a class"
        )
    parts: dict[str, list[_Placed]] = {}
    for place, folders in zip(found.images, above, strict=True):
        role = roles[folders[depth] if len(folders) > depth else ""]
        if role is None:
            remarks.leave_out(f"beside the folders {', '.join(known)}", [str(place)])
        else:
            parts.setdefault(role, []).append((place, folders[depth + 1 :]))
    return parts


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all paths begin with."""
    first, last = min(paths), max(paths)
    same = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[: min(len(first), len(last)) if same is None else same]


def _from_folders(parts: Mapping[str, Sequence[_Placed]]) -> dict[str, list[str | None]] | None:
    """Each image's outermost folder, below those that all share; None where there are no such folders."""
    depth = len(_shared([folders for placed in parts.values() for _, folders in placed]))
    classes = {
        part: [printable(folders[depth]) if len(folders) > depth else None for _, folders in placed]
        for part, placed in parts.items()
    }
    return classes if any(one for held in classes.values() for one in held) else None


def _from_metadata(
    found: Listing, parts: Mapping[str, Sequence[_Placed]], choice: Choice, remarks: Remarks
) -> tuple[dict[str, list[Any]] | None, str | None] | None:
    """Each image's label by the metadata tables, and the column's name; None where they name no labels."""
    said: dict[PurePath, Any] = {}
    column, columns = None, set()
    for place in found.metadata:
        rows = _rows(found.folder / place)
        if not rows or "file_name" not in rows[0]:
            remarks.say(f"{place} is not used: it has no column file_name")
            continue
        names = [name for name in rows[0] if name != "file_name"]
        columns.update(names)
        wanted = ("label", "labels") if choice.label_column is None else (choice.label_column,)
        column = next((name for name in wanted if name in names), column)
        said |= {place.parent / str(row["file_name"]): row.get(column) if column else None for row in rows}
    if column is None:
        if columns:
            remarks.say(
                f"no labels are read from the metadata: there is no column `label`; columns: "
                f"{', '.join(sorted(columns))} (choose one by --label-column)"
            )
        return None
    placed = {part: [place for place, _ in held] for part, held in parts.items()}
    unknown = len(set(said) - {place for held in placed.values() for place in held})
    if unknown:
        remarks.say(f"{unknown} rows of the metadata name no image that is here")
    unlisted = sum(place not in said for held in placed.values() for place in held)
    if unlisted:
        remarks.say(f"the metadata does not name {images(unlisted)}, which are read without a label")
    values = {part: [said.get(place) for place in held] for part, held in placed.items()}
    return values, f"column {column} of the metadata"


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metadata table; numbers in a CSV are numbers where all of its column are.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path.suffix == ".parquet":
            (table,) = parquet_tables([path])
            return list(table.to_table().to_pylist())
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is no record")
            return rows
        rows = list(csv.DictReader(text.splitlines()))
        for name in rows[0] if rows else ():
            held = [row[name] for row in rows]
            if all(isinstance(one, str) and (one == "" or one.lstrip("-").isdecimal()) for one in held):
                for row in rows:
                    row[name] = int(row[name]) if row[name] else None
        return rows
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is not a readable table ({first_line(error)}); mend or remove it") from error
