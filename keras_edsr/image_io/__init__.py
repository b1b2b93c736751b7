"""Reads and writes image files of every common format, with 8 and 16 bits and atomic writes.

`read_picture` and `write_picture` keep what a file holds: frames, alpha, depth, EXIF, color profile. `read_image` and
`write_image` handle pixels only. If a format cannot store something, writing fails or the logger `keras_edsr` warns.
"""

from .find import find_entries, find_images, is_called_like_an_image, unreadable_folder
from .formats import READ_SUFFIXES, SUFFIXES, check_fits
from .jpeg_quality import jpeg_quality
from .picture import Picture
from .pillow import MAX_PIXELS, eight_bits, from_pillow, to_pillow
from .reading import count_pixels, decode_image, decode_picture, read_image, read_picture, read_size, suffix_of
from .writing import encode_picture, write_image, write_picture

__all__ = [
    "MAX_PIXELS",
    "READ_SUFFIXES",
    "SUFFIXES",
    "Picture",
    "check_fits",
    "count_pixels",
    "decode_image",
    "decode_picture",
    "eight_bits",
    "encode_picture",
    "find_entries",
    "find_images",
    "from_pillow",
    "is_called_like_an_image",
    "jpeg_quality",
    "read_image",
    "read_picture",
    "read_size",
    "suffix_of",
    "to_pillow",
    "unreadable_folder",
    "write_image",
    "write_picture",
]
