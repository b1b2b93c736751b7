"""The command `export`."""

import click

from ._help import Command, option
from ._shared import import_tensorflow, logger

# The options that are valid for some formats only.
_OF_FORMAT = {
    "saved_model": ("version", "self_ensemble", "uint8_output", "max_pixels"),
    "tflite": ("quantize", "calibration", "input_size"),
    "onnx": ("range", "float16"),
    "ncnn": (),
}


def _input_size(context, parameter, value):
    if value is None:
        return None
    try:
        sides = tuple(int(side) for side in value.lower().split("x"))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a valid size. Pass height x width, such as 360x640, or one integer."
        ) from None
    if len(sides) > 2 or min(sides) < 1:
        raise click.BadParameter(f"{value!r} is not a valid size. Pass the height and the width, both above 0.")
    return sides * 2 if len(sides) == 1 else sides


@click.command(
    cls=Command,
    examples=(
        "keras-edsr export edsr_compact_x2 serving/edsr --format saved_model",
        "keras-edsr export best.keras edsr.tflite --format tflite --quantize int8 --calibration photos/",
        "keras-edsr export best.keras edsr.onnx --format onnx --overwrite",
    ),
)
@click.argument("model", type=click.Path())
@click.argument("out", type=click.Path())
@option(
    "--format",
    "file_format",
    group="Output",
    required=True,
    type=click.Choice(list(_OF_FORMAT)),
    help="Format to write: saved_model and ncnn make a folder, tflite and onnx a file.",
)
@option("--overwrite", group="Output", is_flag=True, help="Replace OUT, or this version of a SavedModel in OUT.")
@option(
    "--version",
    group="SavedModel",
    type=click.IntRange(1),
    help="Number of the version, and name of its folder in OUT. Default: 1.",
)
@option(
    "--self-ensemble",
    group="SavedModel",
    is_flag=True,
    help="Average eight flips and rotations (EDSR+); takes 8 times as long.",
)
@option(
    "--uint8-output",
    group="SavedModel",
    is_flag=True,
    help="Return uint8 instead of floats from serving_default.",
)
@option(
    "--max-pixels",
    group="SavedModel",
    type=click.IntRange(1),
    help="Largest request in LR pixels; larger ones fail. Default: as many as need 4 GB.",
)
@option(
    "--quantize",
    group="TensorFlow Lite",
    type=click.Choice(["float16", "dynamic", "int8"]),
    help="Format of the weights; int8 also takes and returns uint8, and needs --calibration. Default: float32.",
)
@option(
    "--calibration",
    group="TensorFlow Lite",
    type=click.Path(),
    help="Folder of images like those to upscale, for --quantize int8. Default: none.",
)
@option(
    "--input-size",
    group="TensorFlow Lite",
    metavar="HxW",
    callback=_input_size,
    help="Fixed size of the input in pixels, such as 360x640, or 256 for 256x256. Default: any size.",
)
@option(
    "--range",
    group="ONNX",
    type=click.Choice(["0-255", "0-1"]),
    help="Range of the pixels; 0-1 for other programs, such as vs-mlrt and chaiNNer. Default: 0-255.",
)
@option(
    "--float16",
    group="ONNX",
    is_flag=True,
    help="Store the weights in half precision; the file still takes and returns float32.",
)
@option("--quantised-output", group="SavedModel", is_flag=True, hidden=True, help="The old name of --uint8-output.")
def export(model, out, file_format, overwrite, quantised_output, **options):
    """Export MODEL to OUT for TensorFlow Serving, phones, ONNX or ncnn.

    MODEL is a preset, or a .keras, .pt, .pth or .safetensors file. The command runs the export in a new process on a
    photograph and compares the result with that of MODEL; it keeps OUT only if they agree. `keras-edsr upscale` and
    `evaluate` take OUT as --model.
    """
    if quantised_output:
        logger.warning("--quantised-output is deprecated; use --uint8-output.")
        options["uint8_output"] = True
    given = {name: value for name, value in options.items() if value not in (None, False)}
    _check_export_options(file_format, given)
    import_tensorflow()
    from .. import export as formats
    from ..models import load_model

    run = getattr(formats, f"export_{file_format}")
    click.echo(run(load_model(model), out, overwrite=overwrite, **given))


def _check_export_options(file_format, given):
    for name in given:
        formats = [key for key, names in _OF_FORMAT.items() if name in names]
        if file_format not in formats:
            flag = name.replace("_", "-")
            raise click.UsageError(f"--{flag} needs --format {' or '.join(formats)}.")
    if (given.get("quantize") == "int8") != ("calibration" in given):
        raise click.UsageError("--quantize int8 and --calibration need each other.")
