"""`keras-edsr demo`: a page in the browser that upscales images.

Serving needs Gradio (the extra `demo`), which is imported only then.
"""

from .choices import Choice, list_choices
from .server import Server, check_installed, serve

__all__ = ["Choice", "Server", "check_installed", "list_choices", "serve"]
