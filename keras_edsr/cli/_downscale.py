"""The command `downscale`."""

import click

from ._shared import open_bar


@click.command()
@click.argument("hr", type=click.Path())
@click.argument("lr", type=click.Path())
@click.option("--scale", required=True, type=int, help="2, 3, 4 or 8.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def downscale(hr, lr, scale, overwrite):
    """Write the LR images of folder HR to folder LR, by MATLAB's bicubic: 0801.png becomes 0801x2.png."""
    from ..data import downscale as run

    with open_bar() as bar:
        task = bar.add_task("images", total=None)
        written = run(
            hr, lr, scale, overwrite=overwrite, progress=lambda n, total: bar.update(task, completed=n, total=total)
        )
    click.echo(f"{len(written)} images in {lr}")
