"""The command `convert`."""

import click

from ._shared import import_tensorflow


@click.command()
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
    import_tensorflow()
    from ..convert import convert as run

    run(source, target, **options)
    click.echo(target)
