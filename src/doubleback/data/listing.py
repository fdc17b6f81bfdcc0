"""What lies under a folder: images, tables, and files that look like images and are not read. Nothing is a pattern."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from doubleback.data.pixels import is_image
from doubleback.data.remarks import Remarks, listed
from doubleback.data.sources import ARCHIVES
from doubleback.errors import InputError
from doubleback.terminal import plain


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


READ = _endings("png jpg jpeg jpe jfif bmp dib gif webp tif tiff ppm pgm pbm pnm jp2 j2k avif")
_NOT_READ = _endings(
    "heic heif heics hif avci jxl jxr svg eps ps pdf psd xcf exr hdr tga dds ico icns pcx sgi xbm xpm im dcm fits qoi"
    " ras emf wmf raw cr2 cr3 nef arw dng orf rw2 3fr sr2"
)
_TEXT = _endings("txt csv tsv json jsonl xml yaml yml md py")  # never looked into: there may be as many as images
_TABLES_OF_TEXT = _endings("csv tsv jsonl")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class Listing:
    """The files of a folder that matter, each by its place in it, in order.

    Attributes:
        folder: where they lie.
        images: files whose names end as those of images that are read.
        tables: parquet.
        metadata: tables that say more of the images.
        stamp: of each of them its place, size, times and number; it changes whenever one is written.
    """

    folder: Path
    images: list[PurePath]
    tables: list[PurePath]
    metadata: list[PurePath]
    stamp: list[Any]


def listing(folder: Path, remarks: Remarks) -> Listing:
    """List a folder and all folders in it; links are followed, a circle of links once.

    Raises:
        InputError: there is nothing in it to read.
    """
    found = Listing(folder, [], [], [], [])
    others: dict[str, list[str]] = {"archives": [], "tables": [], "endings": []}
    for entry, place in _files(folder, remarks):
        _sort_in(found, entry, place, others, remarks)
    if not (found.images or found.tables):
        _refuse(folder, found, remarks, others)
    if others["archives"]:
        remarks.say(f"archives are not unpacked ({listed(others['archives'])})")
    if others["tables"] and found.images and not found.metadata:
        says = f"{listed(others['tables'])} is not read; a table of labels is called metadata.csv"
        remarks.say(f"{says}, with columns file_name and label")
    return found


def _files(folder: Path, remarks: Remarks) -> Iterator[tuple[os.DirEntry[str], PurePath]]:
    """Every file and broken link under a folder, with its place, in order of the places."""
    waiting: list[tuple[Path, PurePath, tuple[str, ...]]] = [(folder, PurePath(), (os.path.realpath(folder),))]
    while waiting:
        path, place, above = waiting.pop()
        try:
            with os.scandir(path) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            if place == PurePath():
                raise InputError(f"{folder} cannot be read ({error.strerror}); fix its permissions") from error
            remarks.say(f"the folder {listed([place])} cannot be read ({error.strerror}): its images are left out")
            continue
        folders = []
        for entry in entries:
            within = place / entry.name
            if not _is_folder(entry):
                yield entry, within
            elif (real := os.path.realpath(entry.path)) in above:
                remarks.say(f"the link {listed([within])} leads back to a folder that it lies in, and is not followed")
            else:
                folders.append((Path(entry.path), within, (*above, real)))
        waiting += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _sort_in(
    found: Listing, entry: os.DirEntry[str], place: PurePath, others: dict[str, list[str]], remarks: Remarks
) -> None:
    """Put a file where it belongs, or say why it is left out."""
    suffix = place.suffix.lower()
    is_table = suffix == ".parquet" or place.name.lower() in METADATA
    try:
        status = entry.stat()
    except OSError:
        _leave_out("links that lead nowhere", place, suffix in READ, is_table, remarks)
        return
    if not stat.S_ISREG(status.st_mode):
        _leave_out("no plain files", place, suffix in READ, is_table, remarks)
    elif any(part.startswith(".") or part == "__MACOSX" for part in place.parts):
        _leave_out("hidden, or in a hidden folder", place, suffix in READ, is_table, remarks)
    elif is_table or suffix in READ:
        kept = found.images if not is_table else found.metadata if place.name.lower() in METADATA else found.tables
        kept.append(place)
        times = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        found.stamp.append([os.fsencode(place).hex(), *times])
    elif suffix in _NOT_READ:
        remarks.leave_out(f"{suffix} is not read; convert to PNG", [str(place)])
    elif suffix in ARCHIVES:
        others["archives"].append(str(place))
    elif suffix in _TABLES_OF_TEXT:
        others["tables"].append(str(place))
    elif suffix not in _TEXT and is_image(Path(entry.path)):
        remarks.leave_out("their names do not end as images' do, such as in .png", [str(place)])
    else:
        others["endings"].append(suffix or "(no ending)")


def _leave_out(why: str, place: PurePath, is_image_file: bool, is_table: bool, remarks: Remarks) -> None:
    """Name an image that is not read; of a table nobody knows how many images it holds."""
    if is_image_file:
        remarks.leave_out(why, [str(place)])
    elif is_table:
        remarks.say(f"{plain(place)} is not read: it is among files that are {why}")


def _refuse(folder: Path, found: Listing, remarks: Remarks, others: dict[str, list[str]]) -> None:
    """Say what is there instead of images.

    Raises:
        InputError: always.
    """
    if others["archives"]:
        raise InputError(f"{folder} holds only archives ({listed(others['archives'])}); unpack them first")
    left_out = "; ".join(map(str, remarks.all()))
    endings = listed(sorted(set(others["endings"])))
    instead = left_out or (f"files ending in {endings}" if endings else "")
    if not instead and not found.metadata:
        raise InputError(f"{folder} is empty; expected a folder of parquet or images")
    raise InputError(f"{folder} holds no parquet and no images that are read ({instead or 'only metadata'})")
