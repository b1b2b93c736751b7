"""A page in the browser that upscales pictures: `keras-edsr demo`. Gradio, the extra `demo`, is imported to serve."""

from .choices import Choice, list_choices
from .server import Server, check_installed, serve

__all__ = ["Choice", "Server", "check_installed", "list_choices", "serve"]
