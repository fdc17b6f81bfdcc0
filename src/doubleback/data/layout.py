"""What the folders that images lie in mean: parts and classes; and what a metadata table says of each image."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from doubleback.data.labels import read_labels
from doubleback.data.listing import Listing
from doubleback.data.metadata import FILE_NAME, metadata_rows, place_of
from doubleback.data.records import Choice, Opened, Records
from doubleback.data.remarks import Remarks, images, listed
from doubleback.data.roles import role_of, role_within
from doubleback.errors import InputError
from doubleback.terminal import plain


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
            where = plain(path)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise InputError(f"{where} cannot be read ({error.strerror}); fix or remove it") from error
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
    labels, names = read_labels(values, None, where or "the folders", choice.label_column is not None, remarks)
    return Opened(records, labels, names, remarks, found.stamp)


_Placed = tuple[PurePath, tuple[str, ...]]  # an image, and the folders that it lies in, without that of its part


def _parts(found: Listing, remarks: Remarks) -> dict[str, list[_Placed]]:
    """Images by part: the outermost folder that is called as a part is, at any depth."""
    parts: dict[str, list[_Placed]] = {}
    others: list[_Placed] = []
    known = set()
    for place in found.images:
        folders = place.parts[:-1]
        depth = next((i for i, name in enumerate(folders) if role_of(name)), None)
        if depth is None:
            others.append((place, folders))
        else:
            known.add(folders[depth])
            rest = (*folders[:depth], *folders[depth + 1 :])
            parts.setdefault(str(role_of(folders[depth])), []).append((place, rest))
    if not parts:
        _refuse_parts_in_other_words(found, others)
        return {"train": others}
    if "train" not in parts:
        names = listed(sorted(known))
        raise InputError(f"{plain(found.folder)} has a folder {names}, but no folder train; put training images there")
    if others and len(parts) == 1:
        names = listed(sorted({folders[0] if folders else "images without a folder" for _, folders in others}))
        raise InputError(
            f"{plain(found.folder)} holds {listed(sorted(known))} beside {names}: "
            "give the folder train alone, add a folder test, or rename it if it is a class"
        )
    remarks.leave_out(f"beside the folders {listed(sorted(known))}", [str(place) for place, _ in others])
    return parts


def _refuse_parts_in_other_words(found: Listing, placed: Sequence[_Placed]) -> None:
    """Folders such as `train2017` and `test2017` are parts to a person: they must not become classes.

    Raises:
        InputError: folders that lie side by side are called after two parts.
    """
    beside: dict[tuple[str, ...], set[str]] = {}
    for _, folders in placed:
        for depth, name in enumerate(folders):
            beside.setdefault(folders[:depth], set()).add(name)
    for names in beside.values():
        called = {name: role for name in names if (role := role_within(name))}
        if len(set(called.values())) > 1:
            raise InputError(
                f"{plain(found.folder)} holds {listed(sorted(called))}, which are not names of parts; "
                "call the folders train, validation and test"
            )


def _from_folders(parts: Mapping[str, Sequence[_Placed]]) -> dict[str, list[str | None]] | None:
    """Each image's outermost folder, below those that hold all images or all of a part; None without such folders."""
    paths = {part: [folders for _, folders in placed] for part, placed in parts.items()}
    for part in paths:
        while _is_wrapped(paths[part]) and not any(
            path[0] == paths[part][0][0] for other in paths if other != part for path in paths[other] if path
        ):
            paths[part] = [path[1:] for path in paths[part]]
    depth = len(_shared([path for held in paths.values() for path in held if path]))
    classes: dict[str, list[str | None]] = {
        part: [unicodedata.normalize("NFC", path[depth]) if len(path) > depth else None for path in held]
        for part, held in paths.items()
    }
    return classes if any(one for held in classes.values() for one in held) else None


def _is_wrapped(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether all lie in one folder, and in a further one within it."""
    return len({path[:1] for path in paths}) == 1 and all(len(path) > 1 for path in paths)


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all paths begin with."""
    if not paths:
        return ()
    first, last = min(paths), max(paths)
    same = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[: min(len(first), len(last)) if same is None else same]


def _from_metadata(
    found: Listing, parts: Mapping[str, Sequence[_Placed]], choice: Choice, remarks: Remarks
) -> tuple[dict[str, list[Any]] | None, str | None] | None:
    """Each image's label by the metadata tables, and the column's name; None where they name no labels."""
    said: dict[PurePath, Any] = {}
    columns: list[str] = []
    wanted = ("label", "labels") if choice.label_column is None else (choice.label_column,)
    column, contradicted = None, 0
    for place in found.metadata:
        rows = metadata_rows(found.folder / place)
        names = list(dict.fromkeys(name for row in rows for name in row))
        if FILE_NAME not in names:
            remarks.say(f"{plain(place)} is not used: it has no column {FILE_NAME}")
            continue
        columns += [name for name in names if name != FILE_NAME]
        own = next((name for name in wanted if name in names), None)
        column = own or column
        for row in rows:
            image = place_of(row.get(FILE_NAME), place, found.folder)
            value = row.get(own) if own else None
            contradicted += image in said and said[image] != value
            said[image] = value
    if column is None:
        if columns:
            says = f"no labels are read from the metadata: there is no column `label`; columns: {listed(columns)}"
            remarks.say(f"{says} (choose one by --label-column)")
        return None
    placed = {part: [place for place, _ in held] for part, held in parts.items()}
    unknown = len(set(said) - {place for held in placed.values() for place in held})
    unlisted = sum(place not in said for held in placed.values() for place in held)
    for count, says in (
        (unknown, f"no image is here for {_rows(unknown)} of the metadata"),
        (unlisted, f"the metadata does not name {images(unlisted)}, which are read without a label"),
        (
            contradicted,
            f"an image has another label than before in {_rows(contradicted)} of the metadata; the last is taken",
        ),
        ("split" in columns, "the column split of the metadata is not read: put parts in folders train and test"),
    ):
        if count:
            remarks.say(says)
    values = {part: [said.get(place) for place in held] for part, held in placed.items()}
    return values, f"column {plain(column)} of the metadata"


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
