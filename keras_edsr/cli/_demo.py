"""The command `demo`."""

import click

from ._help import Command, option
from ._shared import import_tensorflow


@click.command(
    cls=Command,
    examples=(
        "keras-edsr demo",
        "keras-edsr demo --model runs/photos/best.keras --model edsr_compact_x4",
        "keras-edsr demo --host 0.0.0.0 --port 8080",
    ),
)
@option(
    "--model",
    "models",
    group="Models",
    multiple=True,
    type=click.Path(),
    help="Preset, .keras, .pt, .pth or .safetensors file, or an export; may be repeated. Default: every preset on this "
    "machine.",
)
@option(
    "--host",
    group="Server",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve at; with 0.0.0.0 other machines can connect.",
)
@option(
    "--port",
    group="Server",
    type=click.IntRange(1, 65535),
    default=7860,
    show_default=True,
    help="TCP port to listen on.",
)
@option(
    "--max-pixels",
    group="Server",
    type=click.IntRange(1),
    help="Largest number of pixels of a picture, all frames together. Default: 2000000.",
)
@option(
    "--share",
    group="Server",
    is_flag=True,
    help="Ask Gradio's servers for a public address; pictures then pass through them.",
)
def demo(models, max_pixels, **options):
    """Serve a page in the browser that upscales pictures, until Ctrl-C.

    The command needs the extra `demo`. Without --share nothing leaves this machine, and without --host no other machine
    can connect.
    """
    from ..demo import check_installed, list_choices, serve
    from ..runtimes import needs_tensorflow

    check_installed()
    choices = [] if models else list_choices()
    if any(needs_tensorflow(model, "auto") for model in [*models, *(choice.model for choice in choices)]):
        import_tensorflow()
    limit = {} if max_pixels is None else {"max_pixels": max_pixels}
    serve(choices or list_choices(models), **limit, **options)
