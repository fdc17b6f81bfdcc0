"""Images by name, folder or hub id, as uint8 tensors: `load_images`.

Folders are listed file by file: nothing is a pattern, and every image is used, or named as left out. The hub goes
through Hugging Face `datasets`. All but the bundled digits is decoded once, and kept on disk under $DOUBLEBACK_CACHE,
$XDG_CACHE_HOME/doubleback or ~/.cache/doubleback (safe to delete at any time). A later call maps those files into
memory, copy on write: only what is touched takes memory, and no caller can change the files. $DOUBLEBACK_DATA/<name>,
where it exists, comes before the hub and before a folder of that name here.
"""

from doubleback.data.images import ImageData, Split, as_classes, digests, fingerprint
from doubleback.data.loading import load_images
from doubleback.data.records import UNLABELLED
from doubleback.data.sources import settled, stored

__all__ = [
    "UNLABELLED",
    "ImageData",
    "Split",
    "as_classes",
    "digests",
    "fingerprint",
    "load_images",
    "settled",
    "stored",
]
