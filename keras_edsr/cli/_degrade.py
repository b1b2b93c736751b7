"""The command `degrade`."""

import click

from ._shared import open_bar


@click.command()
@click.argument("hr", type=click.Path())
@click.argument("lr", type=click.Path())
@click.option(
    "--degradation",
    default="photo",
    show_default=True,
    help="photo, jpeg, jpeg-40 (or another quality), realesrgan, bicubic, or a .json file.",
)
@click.option("--scale", default=2, show_default=True, type=click.IntRange(1), help="At 1 the size stays.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def degrade(hr, lr, degradation, scale, seed, overwrite):
    """Write degraded LR images of HR, a folder or a file, to folder LR: 0801.png becomes 0801x2.png.

    LR/degradation.json has the degradation, the seed, and what was drawn for each image. evaluate with the same
    --degradation and --seed makes the same images.
    """
    from ..data import degrade as run

    with open_bar() as bar:
        task = bar.add_task("images", total=None)

        def show(done, total):
            bar.update(task, completed=done, total=total)

        written = run(hr, lr, scale, degradation, seed, overwrite=overwrite, progress=show)
    click.echo(f"{len(written)} images in {lr}")
