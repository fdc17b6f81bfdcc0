"""A folder of parquet or of images, as records."""

from pathlib import Path

from doubleback.data.layout import image_parts
from doubleback.data.listing import Listing, listing
from doubleback.data.records import Choice, Opened
from doubleback.data.remarks import Remarks, listed
from doubleback.data.roles import role_within
from doubleback.data.tables import ParquetTable, Table, table_parts
from doubleback.errors import InputError
from doubleback.terminal import plain


def open_folder(folder: Path, choice: Choice) -> Opened:
    """Look at a folder.

    Raises:
        InputError: it holds nothing to read, or what it holds is ambiguous or damaged.
    """
    remarks = Remarks()
    found = listing(folder, remarks)
    if not found.tables:
        if choice.image_column is not None:
            raise InputError(f"{plain(folder)} holds images and no parquet; leave out --image-column (image_column)")
        return image_parts(found, choice, remarks)
    remarks.leave_out("beside parquet, which is read instead", map(str, found.images))
    if found.metadata:
        remarks.say(f"metadata beside parquet is not read ({listed(found.metadata)})")
    return table_parts(plain(folder), _parquet_parts(found, remarks), choice, (remarks, found.stamp))


def _parquet_parts(found: Listing, remarks: Remarks) -> dict[str, list[Table]]:
    """The tables of each part, by a word of their names (`mnist_train-00000-of-00002`) or folders (`train/0000`)."""
    sets = {tuple(name for name in place.parent.parts if not role_within(name)) for place in found.tables}
    if len(sets) > 1:
        names = listed(sorted("/".join(parts) or "." for parts in sets))
        raise InputError(f"{plain(found.folder)} holds parquet of several sets ({names}); give the folder of one")
    parts: dict[str, list[Table]] = {}
    strangers = []
    for place in found.tables:
        table = ParquetTable.of(found.folder / place)
        words = [role_within(name) for name in (place.stem, *reversed(place.parts[:-1]))]
        role = next((word for word in words if word), None)
        if role is None:
            strangers.append((place, table))
        elif len(table):
            parts.setdefault(role, []).append(table)
    if not parts and not any("-of-" in place.stem for place, _ in strangers):
        parts["train"] = [table for _, table in strangers if len(table)]
        strangers = []
    for place, table in strangers:
        remarks.say(f"{plain(place)}, which is neither train, validation nor test", left_out=len(table))
    if not parts.get("train"):
        raise InputError(f"{plain(found.folder)} has no training images; expected train.parquet or train-*.parquet")
    return parts
