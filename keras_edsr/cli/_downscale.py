"""The command `downscale`."""

import click

from ._help import Command, option
from ._shared import open_bar


@click.command(
    cls=Command,
    examples=(
        "keras-edsr downscale DIV2K_train_HR lr/ --scale 2",
        "keras-edsr downscale photos/ lr/ --scale 4 --overwrite",
    ),
)
@click.argument("hr", type=click.Path())
@click.argument("lr", type=click.Path())
@option("--scale", group="Images", required=True, type=int, help="Factor by which to shrink: 2, 3, 4 or 8.")
@option("--overwrite", group="Output", is_flag=True, help="Replace existing files.")
def downscale(hr, lr, scale, overwrite):
    """Write bicubic LR images of the folder HR to the folder LR.

    The images equal those of MATLAB's imresize. At scale 2, 0801.png becomes 0801x2.png.
    """
    from ..data import downscale as run

    with open_bar() as bar:
        task = bar.add_task("images", total=None)
        written = run(
            hr, lr, scale, overwrite=overwrite, progress=lambda n, total: bar.update(task, completed=n, total=total)
        )
    click.echo(f"{len(written)} images in {lr}")
