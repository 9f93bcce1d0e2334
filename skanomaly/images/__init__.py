"""Images from folders, files, lists and datasets."""

from ._images import Images
from ._read import RESIZES, count_sizes, load_npy, read_images
from ._sources import is_image_source, list_images

__all__ = [
    "RESIZES",
    "Images",
    "count_sizes",
    "is_image_source",
    "list_images",
    "load_npy",
    "read_images",
]
