"""Upscaling: one image (`upscale`), or files and folders (`upscale_files`)."""

from .files import plan_files, upscale_files
from .image import upscale

__all__ = ["plan_files", "upscale", "upscale_files"]
