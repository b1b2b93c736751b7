"""The command `demo`."""

import click

from ._shared import import_tensorflow


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(),
    help="A preset, a .keras, .pt, .pth or .safetensors file, or an export; may be repeated. Default: the presets that "
    "are here.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True, help="Of TCP.")
@click.option("--max-pixels", type=click.IntRange(1), help="Of a picture. Default: 2000000.")
@click.option("--share", is_flag=True, help="Ask Gradio's servers for a public address; pictures pass through them.")
def demo(models, max_pixels, **options):
    """Serve a page in the browser that upscales pictures, until Ctrl-C.

    It needs the extra demo. Without --share nothing leaves this machine, nor without --host is it reached from others.
    """
    from ..demo import check_installed, list_choices, serve
    from ..runtimes import needs_tensorflow

    check_installed()
    choices = [] if models else list_choices()
    if any(needs_tensorflow(model, "auto") for model in [*models, *(choice.model for choice in choices)]):
        import_tensorflow()
    limit = {} if max_pixels is None else {"max_pixels": max_pixels}
    serve(choices or list_choices(models), **limit, **options)
