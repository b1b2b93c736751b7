"""The command `info`."""

import json

import click

from ._help import Command, option


@click.command(
    cls=Command,
    examples=(
        "keras-edsr info",
        "keras-edsr info edsr_compact_x2",
        "keras-edsr info model.onnx --json",
    ),
)
@click.argument("model", required=False, type=click.Path())
@option("--json", "as_json", group="Output", is_flag=True, help="Print one JSON object.")
def info(model, as_json):
    """Describe a model, or list the presets.

    MODEL is a preset, a .keras, .pt, .pth, .safetensors, .tflite or .onnx file, a SavedModel, or one of ncnn's .param
    files or a folder of them.
    """
    from ..info.presets import list_presets
    from ..info.text import page, table
    from ..presets import weights_folder

    if model is not None:
        from ..info.describe import describe

        about = describe(model)
        click.echo(json.dumps(about, indent=1) if as_json else page(about))
        return
    presets, folder = list_presets(), str(weights_folder())
    if as_json:
        click.echo(json.dumps({"presets": presets, "weights_folder": folder}, indent=1))
    else:
        click.echo(
            f"{table(presets)}\nFolder of weights, also for downloads: {folder} (change it with KERAS_EDSR_WEIGHTS)"
        )
