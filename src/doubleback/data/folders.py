"""A folder of parquet or of images, as records."""

import re
from pathlib import Path, PurePath
from typing import Any

from doubleback.data.layout import image_parts
from doubleback.data.listing import Listing, listing
from doubleback.data.records import Choice, Opened
from doubleback.data.remarks import Remarks
from doubleback.data.tables import parquet_tables, split_role, table_parts
from doubleback.errors import InputError

_SHARD = re.compile(r"(?P<split>.+?)(?:[-_.]\d+(?:-of-\d+)?)?")


def open_folder(folder: Path, choice: Choice) -> Opened:
    """Look at a folder.

    Raises:
        InputError: it holds nothing to read, or what it holds is ambiguous or damaged.
    """
    remarks = Remarks()
    found = listing(folder, remarks)
    if not found.tables:
        if choice.image_column is not None:
            raise InputError(f"{folder} holds images and no parquet; leave out --image-column (image_column)")
        return image_parts(found, choice, remarks)
    remarks.leave_out("beside parquet, which is read instead", map(str, found.images))
    return table_parts(str(folder), _parquet_parts(found, remarks), choice, remarks, found.stamp)


def _parquet_parts(found: Listing, remarks: Remarks) -> dict[str, list[Any]]:
    """The tables of each part, by their names (`train-00000-of-00002.parquet`) or folders (`train/0000.parquet`)."""
    sets = {place.parent.parts for place in found.tables}
    sets = {tuple(name for name in parts if not split_role(name)) for parts in sets}
    if len(sets) > 1:
        names = ", ".join(sorted("/".join(parts) or "." for parts in sets))
        raise InputError(f"{found.folder} holds parquet of several sets ({names}); give the folder of one")
    roles = {place: _role(place) for place in found.tables}
    if not any(roles.values()):
        unsure = [place for place in found.tables if "-of-" in place.stem]
        if unsure:
            raise InputError(f"{found.folder} has no training images; expected a file such as train-{unsure[0].name}")
        return {"train": parquet_tables([found.folder / place for place in found.tables])}
    parts: dict[str, list[Any]] = {}
    for place, role in roles.items():
        (table,) = parquet_tables([found.folder / place])
        rows = table.count_rows()
        if role is None:
            remarks.say(f"{place}, which is neither train, validation nor test", left_out=rows)
        elif rows:
            parts.setdefault(role, []).append(table)
    if "train" not in parts:
        raise InputError(f"{found.folder} has no training images; expected train.parquet or train-*.parquet")
    return parts


def _role(place: PurePath) -> str | None:
    """The part that a table belongs to, by its name or by a folder that it lies in."""
    named = _SHARD.fullmatch(place.stem)
    assert named is not None, "every name has a beginning"
    found = [split_role(named["split"]), *(split_role(name) for name in reversed(place.parts[:-1]))]
    return next((role for role in found if role), None)
