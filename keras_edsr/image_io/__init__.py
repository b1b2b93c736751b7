"""Files to arrays and back: every common format, 8 and 16 bits, written whole or not at all.

`read_picture` and `write_picture` keep what a file holds: frames, alpha, depth, EXIF, colour profile. `read_image` and
`write_image` are for who wants pixels alone. What a format can't hold is refused, or said by the logger `keras_edsr`.
"""

from .find import find_images
from .formats import SUFFIXES, check_fits
from .picture import Picture
from .pillow import MAX_PIXELS, eight_bits, from_pillow, to_pillow
from .reading import count_pixels, decode_image, decode_picture, read_image, read_picture, read_size
from .writing import replace_folder, whole_file, write_image, write_picture

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Picture",
    "check_fits",
    "count_pixels",
    "decode_image",
    "decode_picture",
    "eight_bits",
    "find_images",
    "from_pillow",
    "read_image",
    "read_picture",
    "read_size",
    "replace_folder",
    "to_pillow",
    "whole_file",
    "write_image",
    "write_picture",
]
