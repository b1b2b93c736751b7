"""The part of the command `upscale` that handles videos."""

import os
import time
from pathlib import Path

import click

from ..files import one_line
from ._shared import open_bar, print_beside


def find_videos(inputs):
    """Returns the videos among the inputs: files by their suffix, and those in folders without images."""
    from ..image_io import is_called_like_an_image
    from ..inference.video import VIDEO_SUFFIXES

    found = []
    for path in map(Path, inputs):
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            if any(map(is_called_like_an_image, files)):
                continue
        found += [(file, path) for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    return found


def upscale_videos(videos, output, model, suffix, skip_existing, overwrite, **options):
    """Upscales videos, one after the other; raises ClickException at the end if one failed."""
    from ..inference.video import upscale_video
    from ..runtimes import open_runtime

    pairs = _plan(videos, output, suffix)
    if skip_existing:
        pairs = [(source, target) for source, target in pairs if not target.exists()]
    opened = open_runtime(model, options.pop("runtime"), options.pop("device"))
    failed = 0
    with open_bar("{task.fields[note]}") as bar:
        for source, target in pairs:
            task = bar.add_task(source.name, total=None, note="")
            started = time.monotonic()

            def show(done, total, task=task, started=started):
                rate = done / max(time.monotonic() - started, 1e-9)
                bar.update(task, completed=done, total=total, note=f"{rate:.1f} frames/s")

            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                upscale_video(source, target, opened, overwrite=overwrite, progress=show, **options)
                print_beside(bar, target)
            except ModuleNotFoundError as error:
                raise click.ClickException(str(error)) from None
            except KeyboardInterrupt:
                raise click.ClickException(f"Stopped; {target} was not written.") from None
            except (ValueError, OSError) as error:
                failed += 1
                click.echo(one_line(error), err=True)
            bar.remove_task(task)
    if failed:
        raise click.ClickException(f"{failed} of {len(pairs)} videos failed.")


def _plan(videos, output, suffix):
    """Returns pairs (source, target); a folder's videos keep their places in its tree."""
    from ..inference.video import WRITTEN_SUFFIXES

    is_folder = os.path.isdir(output) or output.endswith(os.sep) or len(videos) > 1
    output = Path(output)
    if not is_folder:
        return [(videos[0][0], output)]
    if output.suffix and not output.is_dir():
        raise click.UsageError(f"--output must be a folder for several videos. Received: {output}. Name a folder.")
    kind = Path(f"a{suffix}").suffix.lower()
    text = suffix[: -len(kind)] if kind in WRITTEN_SUFFIXES else suffix
    pairs = []
    for source, root in videos:
        place = output / (source.name if source == root else source.relative_to(root))
        ending = kind if kind in WRITTEN_SUFFIXES else place.suffix.lower()
        pairs.append((source, place.with_name(f"{place.stem}{text}{ending if ending in WRITTEN_SUFFIXES else '.mkv'}")))
    targets = [target for _, target in pairs]
    repeated = next((target for target in targets if targets.count(target) > 1), None)
    if repeated:
        raise click.UsageError(f"Several videos would become {repeated}. Upscale them separately.")
    return pairs
