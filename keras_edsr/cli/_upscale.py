"""The command `upscale`."""

import contextlib
import os
import sys

import click

from ..files import one_line, reason
from ._shared import import_tensorflow, open_bar, print_beside
from ._videos import find_videos, upscale_videos


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


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    help="A file, or a folder: one that exists, ends in a separator, or takes several inputs; - is standard output.",
)
@click.option(
    "--model",
    type=click.Path(),
    help="A preset, a .keras, .pt, .pth or .safetensors file, or what `export` wrote. Default: the weights that ship, "
    "edsr_compact_x2, _x3 or _x4 by --scale, x2 without; mdsr_compact for other sizes; see --kind and --effort.",
)
@click.option(
    "--kind",
    type=click.Choice(["auto", "photo", "clean"]),
    help="Without --model: the network for photographs that lost quality, or the one for clean images. Default: auto, "
    "photo for JPEGs of a quality below about 90.",
)
@click.option(
    "--effort",
    type=click.Choice(["fast", "best"]),
    help="Without --model: the compact network, or the larger one, several times as slow. Default: fast.",
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
@click.option("--quality", type=click.IntRange(1, 100), help="Quality of JPEG, WebP and AVIF. Default: 95.")
@click.option(
    "--subsampling", type=click.Choice(["4:4:4", "4:2:2", "4:2:0"]), help="Chroma of JPEG, AVIF. Default: 4:4:4."
)
@click.option("--lossless", is_flag=True, default=None, help="WebP and AVIF without loss.")
@click.option("--suffix", default="", help="Added to names in a folder: _x2 makes a_x2.jpg of a.jpg, .png makes a.png.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave files that exist, and do the others.")
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse files of more, frames counted together. Default: 89478485, Pillow's own limit.",
)
@click.option(
    "--codec",
    type=click.Choice(["libx264", "libx265", "libsvtav1", "ffv1"]),
    default="libx264",
    show_default=True,
    help="Video codec. ffv1 is lossless and needs an .mkv file.",
)
@click.option(
    "--crf", type=click.IntRange(0, 63), default=18, show_default=True, help="Quality of a video: smaller is better."
)
@click.option("--start", type=click.FloatRange(0), default=0.0, help="Seconds of a video to skip.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Seconds of a video to take. Default: all.")
def upscale(
    inputs, output, model, kind, effort, runtime, device, suffix, overwrite, skip_existing, max_pixels, **options
):
    """Upscale images, videos, folders of them, and patterns such as 'photos/**/*.jpg'; - is standard input.

    Read and written, by suffix: PNG, JPEG, WebP, AVIF, GIF, TIFF and BMP. Gray, transparency, 16 bits (PNG, TIFF),
    EXIF, XMP, density, what tells the colors, and animation are kept. A detail that the format cannot keep is logged;
    transparency and frames that it cannot keep are an error.

    A size that is no scale of the model's is made by the next that is, or by several passes, and taken down by bicubic.

    Of a video, the frames are upscaled, and sound, subtitles, chapters and timestamps are kept (extra `video`).

    A folder's tree is mirrored. One bad file does not stop the others; it is reported, and the exit status is 1.

    In a pipe: cat a.jpg | keras-edsr upscale - -o - --suffix .png > b.png
    """
    if overwrite and skip_existing:
        raise click.UsageError("Give either --overwrite or --skip-existing.")
    sizes = [options["scale"], options["width"] or options["height"], options["fit"]]
    if sum(size is not None for size in sizes) > 1:
        raise click.UsageError("Give --scale, or --width and --height, or --fit.")
    if model is not None and (kind or effort):
        raise click.UsageError("--kind and --effort choose a model: give them without --model.")
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
                f"Stopped; {show.count} of {len(pairs)} images are done. --skip-existing does the others."
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
    """Gives standard output as a stream of bytes if an image goes there, else None.

    What else is printed there meanwhile goes to stderr, that of libraries written in C++ as well.
    """
    from ..inference import is_stdout

    if not any(is_stdout(target) for _, target in pairs):
        yield None
        return
    stream = sys.stdout.buffer
    if stream.isatty():
        raise click.UsageError("An image is not written to a terminal. Redirect it: -o - > FILE.")
    try:
        number = stream.fileno()
    except OSError:  # no file: a test's
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
    """A bar of images and one of pixels, by which the time that is left is told."""

    def __init__(self, bar, pairs):
        from ..image_io import count_pixels
        from ..inference import is_input_stream

        self.bar = bar
        self.count = 0
        sources = [source for source, _ in pairs]
        # 0 where the header can't be read: that file will fail at once; and of a stream, which is read once
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
