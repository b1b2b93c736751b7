"""The command `upscale`."""

import contextlib
import os
import sys

import click

from ..files import one_line, reason
from ._help import Command, option
from ._shared import import_tensorflow, open_bar, print_beside
from ._videos import find_videos, upscale_videos


def _tile_size(context, parameter, value):
    if value == "auto":
        return value
    try:
        size = int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a valid size. Pass an integer of LR pixels, 0, or auto.") from None
    if size < 0:
        raise click.BadParameter(f"{value} is not a valid size. Pass 0 or more.")
    return size or None


def _fit(context, parameter, value):
    if value is None:
        return None
    try:
        width, height = (int(side) for side in value.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a valid size. Pass width x height, such as 3840x2160.") from None
    if min(width, height) < 1:
        raise click.BadParameter(f"{value} is not a valid size. Both sides must be above 0.")
    return width, height


@click.command(
    cls=Command,
    examples=(
        "keras-edsr upscale photo.jpg -o large.png",
        "keras-edsr upscale photos/ -o large/ --fit 3840x2160 --skip-existing",
        "keras-edsr upscale clip.mp4 -o large.mp4",
        "cat a.jpg | keras-edsr upscale - -o - --suffix .png > b.png",
    ),
)
@click.argument("inputs", nargs=-1, required=True, type=click.Path())
@option(
    "--model",
    group="Model",
    type=click.Path(),
    help="Preset, .keras, .pt, .pth or .safetensors file, or an export. Default: a network of the package, "
    "edsr_compact_x2, _x3 or _x4 for these scales, otherwise mdsr_compact; see --kind and --effort.",
)
@option(
    "--kind",
    group="Model",
    type=click.Choice(["auto", "photo", "clean"]),
    help="Images for which to choose the default model: photographs that lost quality, or clean images. Default: auto, "
    "which is photo for JPEG files of a quality below about 90.",
)
@option(
    "--effort",
    group="Model",
    type=click.Choice(["fast", "best"]),
    help="Size of the default model: the compact network, or a larger one that takes several times as long. Default: "
    "fast.",
)
@option(
    "--self-ensemble",
    group="Model",
    is_flag=True,
    help="Average eight flips and rotations (EDSR+); takes 8 times as long.",
)
@option(
    "--scale",
    group="Size",
    type=float,
    help="Factor on width and height, above 1; required if the model has several scales. Default: the model's scale.",
)
@option(
    "--width",
    group="Size",
    type=click.IntRange(1),
    help="Width of the result in pixels, instead of --scale. Default: by the aspect ratio.",
)
@option(
    "--height",
    group="Size",
    type=click.IntRange(1),
    help="Height of the result in pixels, instead of --scale. Default: by the aspect ratio.",
)
@option(
    "--fit",
    group="Size",
    metavar="WxH",
    callback=_fit,
    help="Box in pixels, such as 3840x2160, that the result fills as far as the aspect ratio allows, instead of "
    "--scale. Default: none.",
)
@option(
    "-o",
    "--output",
    group="Output",
    required=True,
    type=click.Path(),
    help="File or folder to write: a folder if it exists as one, ends in a separator, or takes several images; - is "
    "standard output.",
)
@option(
    "--suffix",
    group="Output",
    default="",
    help="Text to add to the names in a folder: _x2 makes a_x2.jpg of a.jpg, .png makes a.png. Default: none.",
)
@option("--overwrite", group="Output", is_flag=True, help="Replace existing files.")
@option("--skip-existing", group="Output", is_flag=True, help="Keep existing files and make the others.")
@option(
    "--quality",
    group="Output",
    type=click.IntRange(1, 100),
    help="Quality of JPEG, WebP and AVIF files, 1 to 100. Default: 95.",
)
@option(
    "--subsampling",
    group="Output",
    type=click.Choice(["4:4:4", "4:2:2", "4:2:0"]),
    help="Chroma subsampling of JPEG and AVIF files. Default: 4:4:4.",
)
@option("--lossless", group="Output", is_flag=True, default=None, help="Write WebP and AVIF files without loss.")
@option(
    "--runtime",
    group="Execution",
    type=click.Choice(["auto", "tensorflow", "ncnn"]),
    default="auto",
    show_default=True,
    help="Library that runs the network; auto selects ncnn if it is installed and TensorFlow has no GPU.",
)
@option(
    "--device",
    group="Execution",
    type=click.Choice(["cpu", "gpu"]),
    help="Processor to use; with ncnn, gpu is any GPU with Vulkan. Default: the CPU, or TensorFlow's GPU.",
)
@option(
    "--tile-size",
    group="Execution",
    default="auto",
    callback=_tile_size,
    show_default=True,
    help="Side of a tile in LR pixels; 0 upscales the whole image at once.",
)
@option(
    "--max-pixels",
    group="Execution",
    type=click.IntRange(1),
    help="Largest number of pixels of an input, all frames together; larger files fail. Default: 89478485, Pillow's "
    "limit.",
)
@option(
    "--codec",
    group="Video",
    type=click.Choice(["libx264", "libx265", "libsvtav1", "ffv1"]),
    default="libx264",
    show_default=True,
    help="Video codec; ffv1 is lossless and needs an .mkv file.",
)
@option(
    "--crf",
    group="Video",
    type=click.IntRange(0, 63),
    default=18,
    show_default=True,
    help="Constant rate factor, 0 to 63: lower is better.",
)
@option("--start", group="Video", type=click.FloatRange(0), default=0.0, help="Start in seconds. Default: 0.")
@option(
    "--duration",
    group="Video",
    type=click.FloatRange(0, min_open=True),
    help="Duration in seconds. Default: to the end.",
)
def upscale(
    inputs, output, model, kind, effort, runtime, device, suffix, overwrite, skip_existing, max_pixels, **options
):
    """Upscale images, videos, folders of them, and patterns of file names.

    Quote a pattern, such as 'photos/**/*.jpg'; - is standard input. The suffix selects the format: PNG, JPEG, WebP,
    AVIF, GIF, TIFF or BMP. If the format cannot store a detail, the command logs a warning; if it cannot store
    transparency or frames, the file fails. One bad file does not stop the others: the command reports it and exits with
    status 1.

    For videos (extra `video`) the command upscales the frames, and keeps sound, subtitles, chapters and timestamps.
    """
    if overwrite and skip_existing:
        raise click.UsageError("Pass --overwrite or --skip-existing, not both.")
    sizes = [options["scale"], options["width"] or options["height"], options["fit"]]
    if sum(size is not None for size in sizes) > 1:
        raise click.UsageError("Pass --scale, or --width and --height, or --fit.")
    if model is not None and (kind or effort):
        raise click.UsageError("--kind and --effort select the default model. Pass them without --model.")
    from ..inference import STDIN, STDOUT, choose_for, plan_files, upscale_files
    from ..runtimes import needs_tensorflow, open_runtime

    of_videos = {name: options.pop(name) for name in ("codec", "crf", "start", "duration")}
    if videos := find_videos(inputs):
        rest = {"suffix": suffix, "overwrite": overwrite, "skip_existing": skip_existing}
        model = model or _choose_for_videos(videos, sizes, kind, effort)
        if needs_tensorflow(model, runtime, device):
            import_tensorflow()
        _check_videos_only(inputs, videos, options)
        upscale_videos(videos, output, model, runtime=runtime, device=device, **rest, **of_videos, **options)
        return

    inputs = [STDIN if path == "-" else path for path in inputs]
    output = STDOUT if output == "-" else output
    pairs = plan_files(inputs, output, overwrite, skip_existing=skip_existing, suffix=suffix)
    if not pairs:
        return
    models = {model: [source for source, _ in pairs]}
    if model is None:
        scale, *others = sizes
        models = choose_for(models[None], scale, any(others), kind or "auto", effort or "fast")
    written = {name: options.pop(name) for name in ("quality", "subsampling", "lossless")}
    written = {name: value for name, value in written.items() if value is not None}
    limit = {} if max_pixels is None else {"max_pixels": max_pixels}
    if any(needs_tensorflow(model, runtime, device) for model in models):
        import_tensorflow()
    model_of = {source: model for model, sources in models.items() for source in sources}
    groups = {model: [pair for pair in pairs if model_of[pair[0]] == model] for model in models}
    pairs = [pair for group in groups.values() for pair in group]
    with _stdout_for_an_image(pairs) as stdout, open_bar("{task.fields[note]}") as bar:
        show = _FilesShown(bar, pairs)
        failed = []
        try:
            for model, group in groups.items():
                failed += upscale_files(
                    group,
                    open_runtime(model, runtime, device),
                    report=show.file_done,
                    progress=show.tile_done,
                    overwrite=overwrite,
                    stdout=stdout,
                    write_options=written,
                    **limit,
                    **options,
                )
        except KeyboardInterrupt:
            raise click.ClickException(
                f"Stopped; {show.count} of {len(pairs)} images are done. Add --skip-existing to make the others."
            ) from None
    for source, error in failed:
        click.echo(f"{source}: {_reason(error)}", err=True)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(pairs)} images failed.")


def _choose_for_videos(videos, sizes, kind, effort):
    from ..inference import choose_for

    scale, *others = sizes
    (model,) = choose_for([videos[0][0]], scale, any(others), kind or "clean", effort or "fast")
    return model


def _check_videos_only(inputs, videos, options):
    if len({root for _, root in videos}) < len(inputs):
        raise click.UsageError("Upscale videos and images apart: give either.")
    for name in ("quality", "subsampling", "lossless"):
        if options.pop(name) is not None:
            raise click.UsageError(f"--{name} is for images. For a video, use --codec and --crf.")


def _reason(error):
    return f"{reason(error)}." if isinstance(error, OSError) else one_line(error)


@contextlib.contextmanager
def _stdout_for_an_image(pairs):
    """Yields standard output as a stream of bytes if an image goes there, else None.

    Other output, including that of C++ libraries, goes to standard error in the meantime.
    """
    from ..inference import is_stdout

    if not any(is_stdout(target) for _, target in pairs):
        yield None
        return
    stream = sys.stdout.buffer
    if stream.isatty():
        raise click.UsageError("Cannot write an image to a terminal. Redirect it: -o - > FILE.")
    try:
        number = stream.fileno()
    except OSError:  # not a file, as in tests
        yield stream
        return
    sys.stdout.flush()
    with open(os.dup(number), "wb") as kept:
        os.dup2(2, number)
        try:
            yield kept
            kept.flush()
        finally:
            os.dup2(kept.fileno(), number)


class _FilesShown:
    """A progress bar of images, and one of pixels, which estimates the remaining time."""

    def __init__(self, bar, pairs):
        from ..image_io import count_pixels
        from ..inference import is_input_stream

        self.bar = bar
        self.count = 0
        sources = [source for source, _ in pairs]
        # 0 for an unreadable header, whose file fails at once, and for a stream, which can be read only once
        self.pixels = {
            source: 0 if bar.disable or is_input_stream(source) else count_pixels(source) for source in sources
        }
        self.before = 0
        self.sources = iter(sources)
        self.images = bar.add_task("images", total=len(pairs), note="")
        self.tiles = bar.add_task("pixels", total=sum(self.pixels.values()) or None, note="")

    def file_done(self, target, error):
        from ..inference import is_stdout

        self.before += self.pixels[next(self.sources)]
        self.bar.advance(self.images)
        self.bar.update(self.tiles, completed=self.before)
        if error is None:
            self.count += 1
            if not is_stdout(target):
                print_beside(self.bar, target)

    def tile_done(self, source, done, total):
        self.bar.update(self.tiles, completed=self.before + self.pixels[source] * done // total, note=source.name)
