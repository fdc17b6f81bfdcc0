"""Images by name, folder or hub id, as uint8 tensors: `load_images`, and `as_unit` for images in [0, 1].

Everything but the bundled digits goes through Hugging Face `datasets` and one decoder, and is kept decoded on
disk, under $DOUBLEBACK_CACHE, $XDG_CACHE_HOME/doubleback or ~/.cache/doubleback (safe to delete at any time).
A later call maps those files into memory, copy on write: only what is touched takes memory, and no caller can
change the files. $DOUBLEBACK_DATA/<name>, where it exists, stands in for the hub's mnist, svhn or celeba.
"""

import difflib
import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from doubleback.errors import InputError

_FORMAT = 1  # of the cache: raise it whenever the same source would decode to other arrays
_NAMED = {"mnist": "ylecun/mnist", "svhn": "ufldl-stanford/svhn", "celeba": "flwrlabs/celeba"}
_CONFIGS = {"ufldl-stanford/svhn": "cropped_digits"}
_IMAGE_SIZES = {"celeba": 64}
_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Split:
    """Images, and their labels where there are any.

    Attributes:
        images: (N, C, H, W), values 0..255.
        labels: (N,) int64, or None.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int[Tensor, "N"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def _at(self, rows: Tensor | slice) -> "Split":
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class ImageData:
    """A data set in three parts; `box` is the range of its pixels once `as_unit` has scaled them."""

    name: str
    train: Split
    validation: Split
    test: Split
    box: tuple[float, float] = (0.0, 1.0)
    label_names: tuple[str, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


@dataclass(frozen=True)
class _Source:
    """What to decode: a folder, or a repository of the hub, and which of its images at which size."""

    name: str
    place: Path | str
    image_size: int | None
    limit: int | None


@dataclass(frozen=True)
class _Decoded:
    """What a source holds: its parts train, test and (not always) validation."""

    parts: dict[str, Split]
    label_names: tuple[str, ...] | None


def load_images(
    source: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    limit: int | None = None,
    validation: int | None = None,
    seed: int = 0,
) -> ImageData:
    """Load a data set of images in three parts: train, validation and test.

    A source without a test split gives a fifth of its training images to it, always the same ones.

    Args:
        source: `digits`, `mnist`, `svhn` or `celeba`; a folder of parquet (`train-00000-of-00001.parquet`,
            also under `data/`) or of images (class folders, train and test folders: all optional); or a hub
            id `owner/name`. A folder called like a set is given as `./mnist` or as a `Path`.
        image_size: crop each image to its centred square and resize it to this height and width; by default
            64 for celeba, 28 for digits, and for others the size that all their images have.
        limit: read at most this many images of each split, the same whatever the seed.
        validation: number of images to hold out of the training images (or to take of the source's own
            validation split); by default a tenth, at most 5000 (all of that split).
        seed: draws the validation images.

    Raises:
        InputError: the source is missing, unknown, empty, unreachable or damaged, its images differ in size
            and no `image_size` is given, or an option is out of range.
    """
    for option, value in (("image size", image_size), ("limit", limit), ("validation", validation)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} is out of range; give a whole number of at least 1")
    if source == "digits":
        name, decoded = "digits", _digits(image_size or 28, limit)
    else:
        found = _locate(source, image_size, limit)
        name, decoded = found.name, _decoded(found)
    train, held_out = _hold_out(name, decoded.parts, validation, seed)
    return ImageData(name, train, held_out, decoded.parts["test"], label_names=decoded.label_names)


def as_unit(images: Tensor) -> Float[Tensor, "N C H W"]:
    """Return images as floats in [0, 1]: uint8 is divided by 255, floats are checked and returned as is.

    Raises:
        InputError: not (N, C, H, W) with N >= 1, neither uint8 nor float, not finite, or outside [0, 1].

    >>> as_unit(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item()
    1.0
    """
    if images.ndim != 4 or not images.numel():
        raise InputError(f"images have shape {tuple(images.shape)}; expected (N, C, H, W), none of them 0")
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; give uint8 in 0..255 or floats in [0, 1]")
    low, high = (bound.item() for bound in torch.aminmax(images.detach()))
    if low != low:
        raise InputError("images hold NaN; expected finite values in [0, 1]: mend or drop those images")
    if high > 1:
        fix = "divide by 255" if 2 < high <= 255 else "rescale or clamp them"
        raise InputError(f"images reach max {high}: {fix}; expected values in [0, 1]")
    if low < 0:
        fix = "use (x + 1) / 2 for pixels in [-1, 1]" if low >= -1 else "rescale or clamp them"
        raise InputError(f"images reach min {low}: {fix}; expected values in [0, 1]")
    return images


# Where a source is, and which part each of its images belongs to


def _locate(source: str | os.PathLike[str], image_size: int | None, limit: int | None) -> _Source:
    text, path = os.fspath(source), Path(source).expanduser()
    if isinstance(source, str) and source in _NAMED:
        stored = os.environ.get("DOUBLEBACK_DATA")
        local = Path(stored).expanduser().resolve() / source if stored else None
        place = local if local and local.is_dir() else _NAMED[source]
        return _Source(source, place, image_size or _IMAGE_SIZES.get(source), limit)
    if text and path.is_dir():
        return _Source(path.resolve().name, path.resolve(), image_size, limit)
    if text and path.exists():
        raise InputError(f"{text} is a file; expected a folder of parquet or images: give {path.parent}")
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text):
        return _Source(text, text, image_size, limit)
    if isinstance(source, Path) or "/" in text:
        raise InputError(f"{text} does not exist; give a folder of parquet or images, or a data set's name")
    known = ["digits", *_NAMED]
    close = difflib.get_close_matches(text.lower(), known, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise InputError(
        f"unknown data set '{text}'; {meant}known: {', '.join(known)}, any folder, any hub id owner/name"
    )


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _limited(rows: Tensor, limit: int | None) -> Tensor:
    """At most `limit` of the rows, in their order; a larger limit adds rows and drops none."""
    return rows[_shuffled(len(rows), 0)[:limit].sort().values]


def _hold_out(name: str, parts: Mapping[str, Split], count: int | None, seed: int) -> tuple[Split, Split]:
    """Return the training and the validation images."""
    own = parts.get("validation")
    pool = parts["train"] if own is None else own
    total = len(pool)
    count = count or (total if own is not None else max(1, min(5000, total // 10)))
    keep = total - count
    if keep < (own is None):
        raise InputError(
            f"validation {count} is too many: {total} images of {name} are there to draw it from"
            f"{', and one must be left to train on' if own is None else ''}; give fewer, or a higher limit"
        )
    # Validation rows change places with the last ones, so that both parts are slices of one mapped file:
    # a large set is not copied into memory.
    drawn = torch.zeros(total, dtype=torch.bool)
    drawn[_shuffled(total, seed)[:count]] = True
    front, back = drawn[:keep].nonzero().squeeze(1), keep + (~drawn[keep:]).nonzero().squeeze(1)
    for rows in (pool.images, pool.labels):
        if rows is not None:
            rows[front], rows[back] = rows[back], rows[front]
    return parts["train"] if own is not None else pool._at(slice(keep)), pool._at(slice(keep, None))


def _digits(image_size: int, limit: int | None) -> _Decoded:
    """scikit-learn's 1797 digits, 8x8 in 0..16, scaled to 0..255 and enlarged bilinearly."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).unsqueeze(1) * (255 / 16)
    large = F.interpolate(small, size=(image_size, image_size), mode="bilinear", antialias=True)
    every = Split(large.round().to(torch.uint8), torch.from_numpy(bunch.target).long())
    rows = train_test_split(torch.arange(len(every)), test_size=0.2, stratify=bunch.target, random_state=0)
    parts = {
        part: every._at(_limited(chosen, limit)) for part, chosen in zip(("train", "test"), rows, strict=True)
    }
    return _Decoded(parts, tuple(str(digit) for digit in bunch.target_names))


# The cache of decoded images


def _decoded(source: _Source) -> _Decoded:
    """Map the decoded images of a source, decoding them first where that has not been done."""
    splits, stamp = None, []
    if isinstance(source.place, Path):
        stamp = _stamp(source.place)
    else:
        splits = _open(source, None)
        stamp = [[split, data._fingerprint] for split, data in splits.items()]
    options = [_FORMAT, stamp, source.image_size, source.limit]
    key = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]
    own, shared = os.environ.get("DOUBLEBACK_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = Path(own or (Path(shared or "~/.cache") / "doubleback")).expanduser()
    kept = home / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', source.name)}-{key}"
    found = _mapped(kept)
    if found is not None:
        return found
    try:
        home.mkdir(parents=True, exist_ok=True)
        return _decode_under(home, kept, source, splits)
    except OSError as first:
        # The cache cannot be written. Mapped files outlive their folder, so a temporary one serves this call.
        try:
            return _decode_under(Path(tempfile.gettempdir()), None, source, splits)
        except OSError:
            raise InputError(
                f"cannot write decoded images to {home}: {first.strerror or first}; "
                "free some space or set DOUBLEBACK_CACHE to another folder"
            ) from first


def _stamp(folder: Path) -> list[list[Any]]:
    """Path, size and time of every file under a folder: they tell whether it has changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise InputError(f"{folder} is empty; expected a folder of parquet or images")
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def _mapped(folder: Path) -> _Decoded | None:
    """Map a folder of decoded images; None if it is not there, or damaged in any way."""
    try:
        record = json.loads((folder / "images.json").read_text())
        parts = {}
        for part, count in record["counts"].items():
            images = np.load(folder / f"{part}.npy", mmap_mode="c")
            labels = np.load(folder / f"{part}-labels.npy") if record["labelled"] else None
            if images.shape != (count, *record["shape"]) or images.dtype != np.uint8:
                return None
            if labels is not None and (labels.shape != (count,) or labels.dtype != np.int64):
                return None
            parts[part] = Split(
                torch.from_numpy(images), None if labels is None else torch.from_numpy(labels)
            )
        return _Decoded(parts, record["label_names"] and tuple(record["label_names"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError):
        return None


def _decode_under(
    home: Path, kept: Path | None, source: _Source, splits: Mapping[str, Any] | None
) -> _Decoded:
    """Decode into a scratch folder under `home`, map the result and move it, whole, to `kept`."""
    with tempfile.TemporaryDirectory(prefix=".decoding-", dir=home, ignore_cleanup_errors=True) as scratch:
        fresh = Path(scratch, "decoded")
        fresh.mkdir()
        _decode(fresh, source, splits or _open(source, Path(scratch, "arrow")))
        decoded = _mapped(fresh)
        assert decoded is not None, "what was just written can be read"
        if kept is not None:
            with suppress(OSError):  # another process may have put the same images there
                shutil.rmtree(kept, ignore_errors=True)
                fresh.rename(kept)
        return decoded


# From Hugging Face `datasets` to arrays


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the bars and the logs of `datasets` and the hub's client: our errors say what matters."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels, bars = [logger.level for logger in loggers], not datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def _open(source: _Source, arrow: Path | None) -> dict[str, Any]:
    """Return a source's train, validation and test; a folder's become Arrow files in `arrow`."""
    import datasets

    try:
        with _quiet():
            if isinstance(source.place, Path):
                found = datasets.load_dataset(str(source.place), cache_dir=str(arrow))
            else:
                found = _fetch(source.place)
    except InputError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ or cause.__context__:
            cause = cause.__cause__ or cause.__context__ or cause
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise cause from error
        raise InputError(_why_unreadable(source.place, error)) from error
    parts = {_SPLITS[split]: data for split, data in found.items() if split in _SPLITS and len(data)}
    if "train" not in parts:
        raise InputError(
            f"{source.place} has no training images; expected a split `train`, found {', '.join(found)}"
        )
    return parts


def _fetch(repository: str) -> Any:
    """Load from the hub, or what was fetched from it before."""
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError
    from rich.console import Console

    offline = datasets.config.HF_HUB_OFFLINE
    try:
        with Console(stderr=True).status(f"fetching {repository} from the Hugging Face hub"):
            try:
                HfApi().dataset_info(repository, timeout=10)
            except RepositoryNotFoundError:
                raise InputError(
                    f"{repository} is neither a folder nor a data set that the hub shows you; "
                    "check its spelling, or log in with `hf auth login` if it is private"
                ) from None
            except Exception:
                datasets.config.HF_HUB_OFFLINE = True  # use its cache now, not after half a minute of retries
            return datasets.load_dataset(repository, _CONFIGS.get(repository))
    except ConnectionError as error:
        raise InputError(
            f"cannot reach the Hugging Face hub for {repository}; give a local folder of parquet or images, "
            "or put it at $DOUBLEBACK_DATA/<name> for mnist, svhn or celeba"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


def _why_unreadable(place: Path | str, error: Exception) -> str:
    """One line on why `datasets` could not read a place, naming the damaged file if there is one."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    for path in sorted(place.rglob("*.parquet")) if isinstance(place, Path) else ():
        try:
            with parquet.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    file.read_row_group(group)
        except Exception as damage:
            return f"{path} is not readable parquet ({_first_line(damage)}); replace it"
    expected = "expected parquet with an image column, or a folder of images"
    return f"{place} cannot be read ({_first_line(error)}); {expected}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _decode(folder: Path, source: _Source, splits: Mapping[str, Any]) -> None:
    """Write each part's images and labels as .npy, and images.json, which says what these must be."""
    column = _image_column(source, splits["train"])
    labels, names = _labels(splits)
    rows = {part: (part, torch.arange(len(data))) for part, data in splits.items()}
    if "test" not in rows:
        order, fifth = _shuffled(len(splits["train"]), 0), max(1, len(splits["train"]) // 5)
        rows["train"], rows["test"] = (
            ("train", chosen.sort().values) for chosen in (order[fifth:], order[:fifth])
        )
    reads = {part: (split, _limited(chosen, source.limit).tolist()) for part, (split, chosen) in rows.items()}
    if not reads["train"][1]:
        raise InputError(
            f"{source.place} holds 1 image; expected at least 3: to train, to validate and to test"
        )
    encoded = {split: data.select_columns([column]) for split, data in splits.items()}
    shape = _write_images(folder, source, encoded, reads)
    for part, (split, chosen) in reads.items():
        if labels is not None:
            np.save(folder / f"{part}-labels.npy", labels[split][chosen])
    counts = {part: len(chosen) for part, (_, chosen) in reads.items()}
    record = {"shape": shape, "counts": counts, "labelled": labels is not None, "label_names": names}
    (folder / "images.json").write_text(json.dumps(record))


def _image_column(source: _Source, data: Any) -> str:
    import datasets

    for name, feature in data.features.items():
        if isinstance(feature, datasets.Image):
            return str(name)
    for name in ("image", "img"):
        # Parquet written without the features' record: {bytes, path} or the bytes alone.
        feature = data.features.get(name)
        bare = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
        if bare or (isinstance(feature, dict) and set(feature) == {"bytes", "path"}):
            return name
    raise InputError(
        f"{source.place} has no column of images (columns: {', '.join(data.column_names)}); "
        "expected encoded images in a column `image` or `img`"
    )


def _labels(splits: Mapping[str, Any]) -> tuple[dict[str, NDArray[np.int64]] | None, list[str] | None]:
    """Return every split's labels by row and the labels' names; None where there are none."""
    import datasets

    features = splits["train"].features
    column = next((name for name in ("label", "labels") if name in features), None)
    feature = features.get(column)
    if not isinstance(feature, (datasets.ClassLabel, datasets.Value)):
        return None, None
    values = {split: data[column][:] for split, data in splits.items()}
    if any(None in split_values for split_values in values.values()):
        raise InputError(f"some images have no {column}; label every image, or remove that column")
    names = list(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    if feature.dtype in ("string", "large_string"):
        names = sorted(set().union(*values.values()))
        number = {name: index for index, name in enumerate(names)}
        values = {split: [number[name] for name in split_names] for split, split_names in values.items()}
    elif "int" not in feature.dtype:
        return None, None
    return {split: np.array(numbers, np.int64) for split, numbers in values.items()}, names


def _write_images(
    folder: Path, source: _Source, encoded: Mapping[str, Any], reads: Mapping[str, tuple[str, list[int]]]
) -> tuple[int, ...]:
    """Decode the rows to read of every part into one .npy each; return the (C, H, W) that all share.

    Images are written one after another, not through a map of the file: on a full disk that would end the
    process, and this is an error to recover from.
    """
    import datasets

    shape: tuple[int, ...] = ()
    first = ""
    with _progress(sum(len(rows) for _, rows in reads.values())) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata
        for part, (split, rows) in reads.items():
            data = encoded[split].select(rows)
            (column,) = data.column_names
            data = data.cast_column(column, datasets.Image(decode=False))
            with (folder / f"{part}.npy").open("wb") as stream:
                for index, (row, record) in enumerate(zip(rows, data, strict=True)):
                    image = record[column] or {}
                    where = f"{split} row {row} of {image.get('path') or source.place}"
                    array = _array(image, where, shape[0] if shape else None, source.image_size)
                    shape, first = shape or array.shape, first or where
                    if array.shape != shape:
                        one, other = (f"{width}x{height}" for _, height, width in (array.shape, shape))
                        raise InputError(
                            f"images differ in size: {where} is {one}, {first} is {other}; "
                            "pass --image-size (image_size) to bring all to one size"
                        )
                    if index == 0:
                        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *shape)}
                        np.lib.format.write_array_header_1_0(stream, header)
                    stream.write(array.tobytes())
                    advance()
    return shape


def _array(
    image: Mapping[str, Any], where: str, channels: int | None, image_size: int | None
) -> NDArray[np.uint8]:
    """Decode one image to (C, H, W); without `channels`, grey stays grey and all else becomes RGB."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(image["bytes"]) if image.get("bytes") else image["path"]) as opened:
            opened.load()
            picture: Image.Image = opened
            if opened.mode.startswith("I"):  # 16 bits: `convert` would clip them
                picture = Image.fromarray((np.asarray(opened).clip(0, 65535) >> 8).astype(np.uint8))
            grey = picture.mode in ("1", "L", "LA") if channels is None else channels == 1
            if opened.getexif().get(0x0112, 1) != 1:  # held sideways
                picture = ImageOps.exif_transpose(picture)
            picture = picture.convert("L" if grey else "RGB")
        if image_size is not None:
            picture = ImageOps.fit(picture, (image_size, image_size), Image.Resampling.BICUBIC)
    except Exception as error:
        raise InputError(
            f"{where} is not a readable image ({_first_line(error)}); replace or remove it"
        ) from error
    array = np.asarray(picture)
    return array[None] if grey else array.transpose(2, 0, 1)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each image; it shows a bar once more than two seconds are expected."""
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    bar.disable = not bar.console.is_terminal
    task, start, done = bar.add_task("decoding images", total=total), time.monotonic(), 0

    def advance() -> None:
        nonlocal done
        done += 1
        bar.advance(task)
        elapsed = time.monotonic() - start
        if not bar.live.is_started and elapsed > 0.3 and elapsed * total > 2 * done:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
