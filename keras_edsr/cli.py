"""The door: each command parses, calls one verb and prints.

Results go to stdout, progress and logs to stderr. Exit 0 done, 1 failed, 2 wrongly called.
TensorFlow is imported inside the commands, so that `--help` answers at once.
"""

import json
import logging
import os
import shlex
import sys
from pathlib import Path

import click

from ._version import __version__

logger = logging.getLogger("keras_edsr")


class Door(click.Group):
    """A group whose commands end with one line and exit 1 when a verb refuses."""

    def invoke(self, ctx):
        """Runs the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader, such as `head`, has enough: click knows what to do
        except (ValueError, OSError, ArithmeticError) as error:
            raise click.ClickException(_one_line(error)) from error


class _Stderr(logging.Handler):
    """Writes to `sys.stderr` as it is when a line comes: above a progress bar while there is one."""

    def emit(self, record):
        print(self.format(record), file=sys.stderr)


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keras-edsr")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors on stderr.")
def main(quiet):
    """EDSR and MDSR: single-image super-resolution (Lim et al., CVPRW 2017)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not logger.handlers:  # a second call in one process, as in tests
        logger.addHandler(_Stderr())
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _import_tensorflow():
    """Imports TensorFlow without the notes that its libraries write to stderr whatever the log level.

    They are written by C++, past `sys.stderr`, while it is loaded and while it looks for devices.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


# === train ===


def _scales(context, parameter, value):
    try:
        scales = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no integer, nor integers with commas.") from None
    return scales if len(scales) > 1 else scales[0]


@main.command()
@click.option("--hr", type=click.Path(path_type=str), help="Folder of HR images to train on.")
@click.option("--lr", type=click.Path(), help="Folder of their LR images; made by imresize if not given.")
@click.option(
    "--div2k",
    type=click.Path(),
    help="Instead of --hr: DIV2K's folder, TFDS's, or its zips'. Without --validation, 0801 to 0810 are validated on.",
)
@click.option("--degradation", type=click.Choice(["bicubic", "unknown"]), help="Of DIV2K. Default: bicubic.")
@click.option("--model", type=click.Choice(["edsr", "mdsr"]), help="Default: edsr.")
@click.option(
    "--scale",
    callback=_scales,
    default="2",
    show_default=True,
    help="2, 3, 4 or 8; for mdsr 2,3,4.",
)
@click.option("--output", required=True, type=click.Path(), help="Folder of the run; goes on if it holds one.")
@click.option("--num-blocks", type=int, help="Default: 32, for mdsr 80 (the paper's final models).")
@click.option("--filters", type=int, help="Default: 256, for mdsr 64.")
@click.option("--residual-scaling", type=float, help="Default: 0.1 from 256 filters on, else 1.")
@click.option("--validation", type=click.Path(), help="Folder of HR images to validate on.")
@click.option("--validation-lr", type=click.Path(), help="Folder of their LR images.")
@click.option("--patch-size", type=int, help="LR pixels. Default: 48.")
@click.option("--skip-small", is_flag=True, default=None, help="Leave out images smaller than a patch.")
@click.option("--batch-size", type=int, help="Default: 16.")
@click.option("--steps", type=int, help="Updates in all. Default: 300000.")
@click.option("--learning-rate", type=float, help="Default: 1e-4.")
@click.option("--schedule", type=click.Choice(["halving", "cosine"]), help="Default: halving.")
@click.option("--halve-every", type=int, help="Updates, for halving. Default: 200000.")
@click.option("--final-learning-rate", type=float, help="For cosine. Default: 0.")
@click.option("--beta-1", type=float, help="Adam's. Default: 0.9.")
@click.option("--beta-2", type=float, help="Adam's. Default: 0.999.")
@click.option("--epsilon", type=float, help="Adam's. Default: 1e-8.")
@click.option("--clip-norm", type=float, help="Largest norm of all gradients together. Default: none.")
@click.option("--average", type=float, help="Decay of a moving average of the weights. Default: none.")
@click.option(
    "--loss-spike-factor",
    type=float,
    default=3.0,
    show_default=True,
    help="Skip a step whose loss is above so many times the running mean; 0 takes all.",
)
@click.option("--seed", type=int, help="Of the first weights and every batch. Default: 0.")
@click.option(
    "--checkpoint-every",
    type=int,
    help="Updates between checkpoints and validations. Default: 1000.",
)
@click.option(
    "--init-from",
    type=click.Path(),
    help="A model to take the fitting weights from: a .keras file, PyTorch's checkpoint, or a preset.",
)
@click.option("--precision", help="Such as mixed_bfloat16. Default: float32.")
@click.option("--devices", type=int, help="GPUs, or CPUs, that share each batch. Default: all GPUs.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help="The config.json of a run to do again; options given beside it replace its values.",
)
def train(config, **options):
    """Train EDSR or MDSR; the defaults are the paper's recipe.

    The folder OUTPUT gets config.json, starts.jsonl (commands, dates, versions), history.json, last.keras, best.keras
    (by PSNR, where there are images to validate on), a checkpoint, and logs for TensorBoard.
    The same command goes on with a run that was stopped, with the same result as if it had not been; --steps may be
    more than before, unless the schedule is cosine.

    Where the environment variable TF_CONFIG names several workers, the same command on each trains with all of them
    (MultiWorkerMirroredStrategy): OUTPUT and the images lie where all see them, and --devices counts each one's GPUs.
    """
    given = _given(options, config)
    if config is None and ("hr" in given) == ("div2k" in given):
        raise click.UsageError("Give either --hr or --div2k.")
    _import_tensorflow()
    from .training import Stopped, TrainConfig
    from .training import train as run

    settings = TrainConfig.load(Path(config), **given) if config else TrainConfig(**given)
    with _bar("{task.fields[note]}") as bar:
        task = bar.add_task("training", total=settings.steps, note="")

        def show(step, steps, loss):
            bar.update(task, completed=step, note=f"loss {loss:.3f}")

        try:
            best = run(settings, show)
        except Stopped:
            best = None
    if best is None:
        click.echo(f"Go on with: {_this_command()}", err=True)
    else:
        click.echo(best)


def _given(options, config):
    """The options to take; beside a configuration only those of the command line, not the defaults."""
    given = {name: value for name, value in options.items() if value is not None}
    if config is None:
        return given
    source = click.get_current_context().get_parameter_source
    given = {n: v for n, v in given.items() if source(n) is click.core.ParameterSource.COMMANDLINE}
    # Images from elsewhere take the place of the configuration's, and of what belongs to those.
    if "hr" in given:
        given = {"lr": None, "div2k": None, "degradation": "bicubic", **given}
    elif "div2k" in given:
        given = {"hr": None, "lr": None, **given}
    return {"validation_lr": None, **given} if "validation" in given else given


def _this_command():
    """The command line that this process was started with, to be pasted."""
    program = sys.argv[:1]
    if program[0].endswith("__main__.py"):
        program = [sys.executable, "-m", "keras_edsr"]
    return shlex.join([*program, *sys.argv[1:]])


# === upscale ===


def _tile_size(context, parameter, value):
    if value == "auto":
        return value
    try:
        size = int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither an integer nor auto.") from None
    if size < 0:
        raise click.BadParameter(f"{value} is below 0.")
    return size or None


def _fit(context, parameter, value):
    if value is None:
        return None
    try:
        width, height = (int(side) for side in value.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not of the form 3840x2160.") from None
    if min(width, height) < 1:
        raise click.BadParameter(f"{value} has a side below 1.")
    return width, height


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A file, or a folder.")
@click.option(
    "--model",
    type=click.Path(),
    help="A preset, a .keras, .pt, .pth or .safetensors file, or what `export` wrote. Default: the weights that ship, "
    "edsr_compact_x2, _x3 or _x4 by --scale, x2 without; mdsr_compact for other sizes.",
)
@click.option("--scale", type=float, help="One of the model's scales, or any above 1; needed when it has several.")
@click.option("--width", type=click.IntRange(1), help="Instead of --scale: pixels of the result.")
@click.option("--height", type=click.IntRange(1), help="As --width; both together may change the shape.")
@click.option("--fit", metavar="WxH", callback=_fit, help="Instead of --scale: as large as fits, such as 3840x2160.")
@click.option(
    "--tile-size",
    default="auto",
    callback=_tile_size,
    show_default=True,
    help="LR pixels of a tile's side; 0 for the whole image at once.",
)
@click.option("--self-ensemble", is_flag=True, help="Average eight flips and rotations (EDSR+); 8 x the time.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "tensorflow", "ncnn"]),
    default="auto",
    show_default=True,
    help="What runs the network; auto takes ncnn where it is installed and TensorFlow has no GPU.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "gpu"]),
    help="gpu with ncnn is any with Vulkan. Default: the CPU, or TensorFlow's GPU.",
)
@click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG and WebP. Default: 95.")
@click.option("--subsampling", type=click.Choice(["4:4:4", "4:2:2", "4:2:0"]), help="Of JPEG. Default: 4:4:4.")
@click.option("--lossless", is_flag=True, default=None, help="Of WebP.")
@click.option("--suffix", default="", help="Added to names in a folder: _x2 makes a_x2.jpg of a.jpg, .png makes a.png.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave files that exist, and do the others.")
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse files of more, frames counted together. Default: 89478485, Pillow's own limit.",
)
def upscale(inputs, output, model, runtime, device, suffix, overwrite, skip_existing, max_pixels, **options):
    """Upscale images, folders of images, and patterns such as 'photos/**/*.jpg'.

    Read and written, by suffix: PNG, JPEG, WebP, GIF, TIFF and BMP. Gray, transparency, 16 bits (PNG, TIFF), EXIF,
    colour profiles and animation are kept; what a format can't hold is refused or told.

    A size that is no scale of the model's is made by the next that is, or by several passes, and taken down by bicubic.

    A folder's tree is mirrored. One bad file does not stop the others; it is reported, and the exit status is 1.
    """
    if overwrite and skip_existing:
        raise click.UsageError("Give either --overwrite or --skip-existing.")
    sizes = [options["scale"], options["width"] or options["height"], options["fit"]]
    if sum(size is not None for size in sizes) > 1:
        raise click.UsageError("Give --scale, or --width and --height, or --fit.")
    from .inference import plan_files, upscale_files
    from .runtimes import needs_tensorflow, open_runtime

    pairs = plan_files(inputs, output, overwrite, skip_existing=skip_existing, suffix=suffix)
    if not pairs:
        return
    if model is None:
        model = _default_model(*sizes)
        logger.info("Model: %s, the default for this size.", model)
    written = {name: options.pop(name) for name in ("quality", "subsampling", "lossless")}
    written = {name: value for name, value in written.items() if value is not None}
    limit = {} if max_pixels is None else {"max_pixels": max_pixels}
    if needs_tensorflow(model, runtime, device):
        _import_tensorflow()
    model = open_runtime(model, runtime, device)
    with _bar("{task.fields[note]}") as bar:
        show = _FilesShown(bar, pairs)
        try:
            failed = upscale_files(
                pairs,
                model,
                report=show.file_done,
                progress=show.tile_done,
                overwrite=overwrite,
                write_options=written,
                **limit,
                **options,
            )
        except KeyboardInterrupt:
            raise click.ClickException(
                f"Stopped; {show.count} of {len(pairs)} images are done. --skip-existing does the others."
            ) from None
    for source, error in failed:
        click.echo(f"{source}: {_one_line(error)}", err=True)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(pairs)} images failed.")


def _default_model(scale, *other_sizes):
    """The preset that ships for a size: a network of that one scale, or the one that has all."""
    if scale in (None, 2, 3, 4) and not any(other_sizes):
        return f"edsr_compact_x{scale or 2:.0f}"
    return "mdsr_compact"


class _FilesShown:
    """A bar of images and one of pixels, by which the time that is left is told."""

    def __init__(self, bar, pairs):
        from .image_io import count_pixels

        self.bar = bar
        self.count = 0
        sources = [source for source, _ in pairs]
        # 0 where the header can't be read: that file will fail at once
        self.pixels = {source: 0 if bar.disable else count_pixels(source) for source in sources}
        self.before = 0
        self.sources = iter(sources)
        self.images = bar.add_task("images", total=len(pairs), note="")
        self.tiles = bar.add_task("pixels", total=sum(self.pixels.values()) or None, note="")

    def file_done(self, target, error):
        self.before += self.pixels[next(self.sources)]
        self.bar.advance(self.images)
        self.bar.update(self.tiles, completed=self.before)
        if error is None:
            self.count += 1
            _print_beside(self.bar, target)

    def tile_done(self, source, done, total):
        self.bar.update(self.tiles, completed=self.before + self.pixels[source] * done // total, note=source.name)


# === evaluate ===


@main.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(),
    help="A preset, a .keras, .pt, .pth or .safetensors file, what `export` wrote, or bicubic; may be repeated.",
)
@click.option(
    "--sr",
    type=click.Path(),
    help="Instead of a model, in a report also beside it: a folder of images that were made elsewhere.",
)
@click.option("--hr", required=True, type=click.Path(), help="Folder of HR images.")
@click.option("--lr", type=click.Path(), help="Folder of their LR images; made by imresize if not given.")
@click.option("--scale", required=True, type=int)
@click.option(
    "--protocol",
    type=click.Choice(["benchmark", "div2k"]),
    default="benchmark",
    show_default=True,
    help="benchmark: Y, border of scale; div2k: RGB, border of scale + 6.",
)
@click.option("--self-ensemble", is_flag=True, help="Average eight flips and rotations (EDSR+).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(),
    help="Also write DIR/index.html to look at: scores, crops, errors and a slider, with bicubic as the baseline.",
)
@click.option("--overwrite", is_flag=True, help="Replace a report that is in DIR.")
def evaluate(models, sr, hr, lr, scale, protocol, self_ensemble, as_json, report, overwrite):
    """PSNR and SSIM by the paper's protocol.

    The JSON has psnr, ssim, images, protocol and scale; of several models, models: by name what it has for one.
    """
    if not (models or sr) or (models and sr and report is None):
        raise click.UsageError("Give either --model or --sr. A --report takes both.")
    if (self_ensemble and not models) or (lr is not None and not models and report is None):
        raise click.UsageError("--lr and --self-ensemble are for a --model: the images of --sr are made already.")
    if overwrite and report is None:
        raise click.UsageError("--overwrite is for --report.")
    from .runtimes import needs_tensorflow

    if any(needs_tensorflow(model) for model in models if model != "bicubic"):
        _import_tensorflow()
    from . import evaluation

    labels = evaluation.short_names([*models, *filter(None, [sr])])
    named, folders = dict(zip(labels, models, strict=False)), dict(zip(labels[len(models) :], [sr], strict=False))
    with _bar() as bar:
        task = bar.add_task("images", total=None)
        how = {"protocol": protocol, "progress": lambda done, total: bar.update(task, completed=done, total=total)}
        if report is not None:
            how |= {"sr": folders, "self_ensemble": self_ensemble, "overwrite": overwrite}
            results = evaluation.write_report(report, named, hr, scale, lr, **how)
            results = {label: results[label] for label in labels}  # without the baseline, unless that was asked for
        elif sr is not None:
            results = {label: evaluation.evaluate_images(sr, hr, scale, **how) for label in folders}
        else:
            results = {}
            for label, model in named.items():
                ensemble = self_ensemble and (model != "bicubic" or len(named) == 1)  # alone it is refused
                results[label] = evaluation.evaluate(model, hr, scale, lr, self_ensemble=ensemble, **how)
    if report is not None:
        logger.info("Report: %s", Path(report) / evaluation.PAGE)
    if as_json:
        one = len(results) == 1
        click.echo(json.dumps(results[labels[0]] if one else {"models": results}, indent=1))
    else:
        click.echo(_table(results))


# === downscale ===


@main.command()
@click.argument("hr", type=click.Path())
@click.argument("lr", type=click.Path())
@click.option("--scale", required=True, type=int, help="2, 3, 4 or 8.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def downscale(hr, lr, scale, overwrite):
    """Write the LR images of folder HR to folder LR, by MATLAB's bicubic: 0801.png becomes 0801x2.png."""
    from .data import downscale as run

    with _bar() as bar:
        task = bar.add_task("images", total=None)
        written = run(
            hr, lr, scale, overwrite=overwrite, progress=lambda n, total: bar.update(task, completed=n, total=total)
        )
    click.echo(f"{len(written)} images in {lr}")


# === convert ===


@main.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@click.option(
    "--layout",
    type=click.Choice(["edsr-pytorch", "basicsr", "super-image"]),
    help="Names of the tensors. Default: found out; to write, edsr-pytorch.",
)
@click.option("--residual-scaling", type=float, help="To read PyTorch's. Default: 0.1 for EDSR of 256 filters, else 1.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def convert(source, target, **options):
    """Make OUT.keras of PyTorch's IN.pt, .pth or .safetensors; or PyTorch's OUT.pt or .pth of IN.keras.

    torch is not needed. What the file was found to be is written to stderr.
    """
    _import_tensorflow()
    from .convert import convert as run

    run(source, target, **options)
    click.echo(target)


# === export ===

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


@main.command()
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
    _import_tensorflow()
    from . import export as formats
    from .models import load_model

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


# === demo ===


@main.command()
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
    from .demo import check_installed, list_choices, serve
    from .runtimes import needs_tensorflow

    check_installed()
    choices = [] if models else list_choices()
    if any(needs_tensorflow(model, "auto") for model in [*models, *(choice.model for choice in choices)]):
        _import_tensorflow()
    limit = {} if max_pixels is None else {"max_pixels": max_pixels}
    serve(choices or list_choices(models), **limit, **options)


# === info ===


@main.command()
@click.argument("model", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(model, as_json):
    """Tell what MODEL is; without it, list the presets.

    MODEL is a preset, a .keras, .pt, .pth, .safetensors, .tflite or .onnx file, a SavedModel, or a .param of ncnn or a
    folder of them.
    """
    from .info.presets import list_presets
    from .info.text import page, table
    from .presets import weights_folder

    if model is not None:
        _import_tensorflow()
        from .info.describe import describe

        about = describe(model)
        click.echo(json.dumps(about, indent=1) if as_json else page(about))
        return
    presets, folder = list_presets(), str(weights_folder())
    if as_json:
        click.echo(json.dumps({"presets": presets, "weights_folder": folder}, indent=1))
    else:
        click.echo(f"{table(presets)}\nWeights are looked for in {folder}, and downloaded to it (KERAS_EDSR_WEIGHTS)")


def _table(results):
    """Lines of names and scores; of several models, with their names above."""
    several = len(results) > 1
    names = [row["name"] for row in next(iter(results.values()))["images"]] + ["mean"]
    width = max(map(len, names))
    column = max([16, *map(len, results)]) if several else 16
    lines = [" " * width + "".join(f"  {label:>{column}}" for label in results)] if several else []
    lines.append(f"{'image':<{width}}" + f"  {'PSNR/dB':>{column - 8}}  {'SSIM':>6}" * len(results))
    scores = zip(*([*result["images"], result] for result in results.values()), strict=True)
    for name, row in zip(names, scores, strict=True):
        cells = [f"  {score['psnr']:{column - 8}.3f}  {score['ssim']:6.4f}" for score in row]
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return "\n".join(lines)


def _bar(*columns):
    """A progress bar on stderr, shown only on a terminal and not with --quiet."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *map(TextColumn, columns),
        console=(console := Console(stderr=True)),
        disable=not console.is_terminal or logger.level > logging.INFO,
        transient=True,
        redirect_stdout=False,  # results are for stdout, and the bar is on stderr
    )


def _print_beside(bar, result):
    """Prints a result to stdout while a bar is on stderr: above the bar, if both are one terminal."""
    if sys.stdout.isatty() and not bar.disable:
        bar.console.print(str(result), markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(result)


def _one_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__
