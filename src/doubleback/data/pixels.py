"""From an encoded image to pixels as a person sees them, or a refusal. Only the formats named here are opened."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doubleback.errors import InputError, reason
from doubleback.settings.images import Background

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
_GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_WIDE_BITS = 16
_WIDE = 1 << _WIDE_BITS
_DEPTH, _KIND = 24, 25  # the bytes of a PNG that say how many bits a value has, and what values a pixel has
_GREY_AND_ALPHA = 4
_EXIF_IN_JPEG2000 = b"JpgTiffExif->JP2"  # what the camera says follows
_PHOTOMETRIC, _SAMPLE_FORMAT, _SIGNED = 262, 339, 2  # tags of TIFF, and a value


@dataclass(frozen=True)
class Looks:
    """What an image's header says.

    Attributes:
        grey: it holds no colour.
        frames: how many pictures are in the file.
    """

    grey: bool
    frames: int


@cache
def formats() -> tuple[str, ...]:
    """Those of the formats that this Pillow can read."""
    from PIL import Image

    Image.init()
    return tuple(form for form in _FORMATS if form in Image.OPEN)


def is_image(path: Path) -> bool:
    """Whether a file is an image by its content."""
    from PIL import Image

    try:
        with Image.open(path, formats=formats()):
            return True
    except Exception:  # whatever error Pillow raises, the image cannot be read
        return False


def looks(content: bytes, where: str) -> Looks:
    """Read an image's header.

    Raises:
        InputError: it is damaged, or no image.
    """
    with _opened(content, where) as image:
        grey = image.mode in _GREY or (image.format == "PNG" and content[_KIND] == _GREY_AND_ALPHA)
        return Looks(grey, int(getattr(image, "n_frames", 1)))


@dataclass(frozen=True)
class Pixels:
    """An image as numbers.

    Attributes:
        array: (C, H, W), 0..255.
        brightest: the largest value of an image of 16 bits; None for others.
    """

    array: NDArray[np.uint8]
    brightest: int | None


def to_pixels(content: bytes, where: str, grey: bool, image_size: int | None, background: Background) -> Pixels:
    """Decode an image: its first picture, turned as its camera says, in 8 bits, on a background.

    Images of 16 bits are divided by 256. Images of floating-point numbers hold 0..1. Other ranges are refused: they
    would have to be guessed.

    Args:
        content: the encoded image.
        where: what to call it in an error.
        grey: one channel; else RGB.
        image_size: crop it to its centred square, and resize that to this height and width.
        background: what is seen through transparent pixels.

    Raises:
        InputError: it is damaged, no image, or its values have no stated range.
    """
    from PIL import Image, ImageOps

    with _opened(content, where) as opened:
        depth = content[_DEPTH] if opened.format == "PNG" else 8
        image, brightest = _in_8_bits(_upright(opened, content, depth), str(opened.format), where)
        if depth == _WIDE_BITS and brightest is None:
            brightest = 257 * _brightest(image)  # Pillow keeps the upper 8 bits
        if image.has_transparency_data:
            image = image.convert("RGBA")
            below = Image.new("RGBA", image.size, background)
            image = Image.alpha_composite(below, image).convert("RGB")
        image = image.convert("L" if grey else "RGB")
        if image_size is not None:
            image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
        array = np.asarray(image)
        return Pixels(array[None] if grey else array.transpose(2, 0, 1), brightest)


def _upright(opened: Any, content: bytes, depth: int) -> Any:
    """An image turned as its camera says; what a PNG calls transparent, in the values that the image has now."""
    from PIL import ImageOps

    if opened.format == "JPEG2000" and _EXIF_IN_JPEG2000 in content:  # Pillow does not look there
        opened.info["exif"] = b"Exif\0\0" + content.partition(_EXIF_IN_JPEG2000)[2]
    image = ImageOps.exif_transpose(opened)
    key = opened.info.get("transparency")
    if opened.format == "PNG" and image.mode == "L" and isinstance(key, int) and depth < 8:
        image.info["transparency"] = key * 255 // ((1 << depth) - 1)
    elif image.mode == "RGB" and isinstance(key, tuple) and depth == _WIDE_BITS:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return image


def _in_8_bits(image: Any, form: str, where: str) -> tuple[Any, int | None]:
    """An image of numbers of more than 8 bits by a stated rule; others as they are."""
    from PIL import Image

    if image.mode == "F":
        values = np.asarray(image)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InputError(f"{where} holds numbers outside 0..1; floating-point images are read as 0..1: rescale it")
        return Image.fromarray((values * 255).round().astype(np.uint8)), None
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if (image.mode == "I" and form == "TIFF") or values.min() < 0 or values.max() >= _WIDE:
            raise InputError(f"{where} holds numbers of 32 bits, whose range is not known; store it in 8 or 16 bits")
        grey = Image.fromarray((values >> 8).astype(np.uint8))
        if isinstance(key := image.info.get("transparency"), int):
            grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
        return grey, int(values.max())
    return image, None


def _brightest(image: Any) -> int:
    """The largest value of any channel but the transparency."""
    return int(max(image.getchannel(band).getextrema()[1] for band in image.getbands() if band != "A"))


@contextmanager
def _opened(content: bytes, where: str) -> Iterator[Any]:
    """An image, opened; whatever goes wrong while it is used is an InputError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=formats()) as image:
            if getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED:
                raise InputError(f"{where} holds numbers with a sign, whose range is not known; store it without")
            if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0 and image.mode not in ("1", "L", "P"):
                raise InputError(f"{where} holds more than 8 bits with white as 0; store it with black as 0")
            yield image
    except InputError:
        raise
    except Exception as error:
        why = "of no format that is read" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise InputError(f"{where} is not a readable image ({why}); replace or remove it") from error
