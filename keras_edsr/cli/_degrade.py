"""The command `degrade`."""

import click

from ._help import Command, option
from ._shared import open_bar


@click.command(
    cls=Command,
    examples=(
        "keras-edsr degrade photos/ lr/ --scale 4",
        "keras-edsr degrade photos/ lr/ --degradation jpeg-40 --seed 1",
    ),
)
@click.argument("hr", type=click.Path())
@click.argument("lr", type=click.Path())
@option(
    "--degradation",
    group="Images",
    default="photo",
    show_default=True,
    help="Name of a degradation (photo, jpeg, jpeg-40 or another quality, realesrgan, bicubic) or a .json file.",
)
@option(
    "--scale",
    group="Images",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Factor by which to shrink; with 1 the size stays.",
)
@option(
    "--seed",
    group="Images",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Seed of the random parameters of each image.",
)
@option("--overwrite", group="Output", is_flag=True, help="Replace existing files.")
def degrade(hr, lr, degradation, scale, seed, overwrite):
    """Write degraded LR images of the folder or file HR to the folder LR.

    At scale 2, 0801.png becomes 0801x2.png. The command records the degradation, the seed and each image's parameters
    in LR/degradation.json. `keras-edsr evaluate` with the same --degradation and --seed makes the same images.
    """
    from ..data import degrade as run

    with open_bar() as bar:
        task = bar.add_task("images", total=None)

        def show(done, total):
            bar.update(task, completed=done, total=total)

        written = run(hr, lr, scale, degradation, seed, overwrite=overwrite, progress=show)
    click.echo(f"{len(written)} images in {lr}")
