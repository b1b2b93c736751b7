"""The command `info`."""

import json

import click

from ._shared import import_tensorflow


@click.command()
@click.argument("model", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(model, as_json):
    """Tell what MODEL is; without it, list the presets.

    MODEL is a preset, a .keras, .pt, .pth, .safetensors, .tflite or .onnx file, a SavedModel, or a .param of ncnn or a
    folder of them.
    """
    from ..info.presets import list_presets
    from ..info.text import page, table
    from ..presets import weights_folder

    if model is not None:
        import_tensorflow()
        from ..info.describe import describe

        about = describe(model)
        click.echo(json.dumps(about, indent=1) if as_json else page(about))
        return
    presets, folder = list_presets(), str(weights_folder())
    if as_json:
        click.echo(json.dumps({"presets": presets, "weights_folder": folder}, indent=1))
    else:
        click.echo(f"{table(presets)}\nWeights are looked for in {folder}, and downloaded to it (KERAS_EDSR_WEIGHTS)")
