"""The command `export`."""

import click

from ._shared import import_tensorflow

# The options that only some formats have.
_OF_FORMAT = {
    "saved_model": ("version", "self_ensemble", "quantised", "max_pixels"),
    "tflite": ("quantize", "calibration", "input_size"),
    "onnx": (),
    "ncnn": (),
}


def _input_size(context, parameter, value):
    if value is None:
        return None
    try:
        sides = tuple(int(side) for side in value.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither of the form 360x640 nor an integer.") from None
    if len(sides) > 2 or min(sides) < 1:
        raise click.BadParameter(f"{value!r} is not the height and the width, each above 0.")
    return sides * 2 if len(sides) == 1 else sides


@click.command()
@click.argument("model", type=click.Path())
@click.argument("out", type=click.Path())
@click.option(
    "--format",
    "file_format",
    required=True,
    type=click.Choice(list(_OF_FORMAT)),
    help="saved_model and ncnn write a folder, tflite and onnx a file.",
)
@click.option(
    "--quantize",
    type=click.Choice(["float16", "dynamic", "int8"]),
    help="tflite: smaller weights; int8 is uint8 in and out, and needs --calibration.",
)
@click.option("--calibration", type=click.Path(), help="tflite, int8: a folder of images like those to upscale.")
@click.option(
    "--input-size",
    metavar="HxW",
    callback=_input_size,
    help="tflite: images of this size alone, such as 360x640, or 256 for 256x256. Default: any size.",
)
@click.option("--version", type=click.IntRange(1), help="saved_model: the folder in OUT. Default: 1.")
@click.option(
    "--self-ensemble", is_flag=True, help="saved_model: average eight flips and rotations (EDSR+); 8 x the time."
)
@click.option(
    "--quantised-output", "quantised", is_flag=True, help="saved_model: serving_default gives uint8 instead of floats."
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="saved_model: refuse requests of more LR pixels. Default: as many as take 4 GB.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT, of a SavedModel this version of it.")
def export(model, out, file_format, overwrite, **options):
    """Write MODEL to OUT for elsewhere: TensorFlow Serving, phones, ONNX, ncnn.

    MODEL is a preset, or a .keras, .pt, .pth or .safetensors file. What was written is read again by a new process, run
    on a photograph and compared with MODEL; if it differs, nothing is kept.

    `keras-edsr upscale` and `evaluate` take OUT as --model.
    """
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
            flag = "--quantised-output" if name == "quantised" else f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{flag} is for --format {' or '.join(formats)}.")
    if (given.get("quantize") == "int8") != ("calibration" in given):
        raise click.UsageError("--quantize int8 and --calibration go together.")
