"""Upscaling of images of any size, in exact tiles and bounded memory; of files and folders."""

from .choice import EFFORTS, KINDS, choose, choose_for
from .files import plan_files, upscale_files
from .image import upscale
from .streams import STDIN, STDOUT, is_input_stream, is_stdout

__all__ = [
    "EFFORTS",
    "KINDS",
    "STDIN",
    "STDOUT",
    "choose",
    "choose_for",
    "is_input_stream",
    "is_stdout",
    "plan_files",
    "upscale",
    "upscale_files",
]
