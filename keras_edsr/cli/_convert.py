"""The command `convert`."""

import click

from ._help import Command, option
from ._shared import import_tensorflow


@click.command(
    cls=Command,
    examples=(
        "keras-edsr convert edsr_baseline_x2.pt edsr_baseline_x2.keras",
        "keras-edsr convert runs/photos/best.keras best.pth --layout basicsr",
        "keras-edsr convert edsr-baseline-liif.pth start_x2.keras --scale 2 --fit-tail photos/",
    ),
)
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@option(
    "--layout",
    group="PyTorch",
    type=click.Choice(["edsr-pytorch", "basicsr", "super-image"]),
    help="Names of the tensors. Default: detected when reading, edsr-pytorch when writing.",
)
@option(
    "--residual-scaling",
    group="PyTorch",
    type=float,
    help="Factor on the residuals of the network. Default: 0.1 for an EDSR of 256 filters or more, otherwise 1.",
)
@option(
    "--scale",
    group="LIIF",
    type=click.IntRange(1),
    help="Scale of the upsampler that is made for the encoder of a LIIF checkpoint. Default: none.",
)
@option(
    "--fit-tail",
    "fit_tail_on",
    group="LIIF",
    type=click.Path(),
    metavar="DIR",
    help="Fit that upsampler to the HR images of a folder, in closed form. Default: random, to be trained.",
)
@option("--overwrite", group="Output", is_flag=True, help="Replace OUT if it exists.")
def convert(source, target, **options):
    """Convert a PyTorch checkpoint to a .keras file, or a .keras file to a checkpoint.

    Checkpoints end in .pt, .pth or .safetensors. It does not need torch. It writes to standard
    error which network and layout it found.
    """
    if str(target).endswith(".keras"):
        import_tensorflow()
    from .._convert import convert as run

    run(source, target, **options)
    click.echo(target)
