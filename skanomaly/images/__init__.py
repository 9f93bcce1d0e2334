"""Images from folders, files, arrays and datasets."""

from ._images import Images
from ._read import load_npy, read_images
from ._sources import is_image_source

__all__ = ["Images", "is_image_source", "load_npy", "read_images"]
