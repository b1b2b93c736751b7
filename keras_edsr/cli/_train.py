"""The command `train`."""

import shlex
import sys
from pathlib import Path

import click

from ._shared import import_tensorflow, open_bar


def _scales(context, parameter, value):
    try:
        scales = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no integer, nor integers with commas.") from None
    return scales if len(scales) > 1 else scales[0]


@click.command()
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
@click.option(
    "--fit-tail",
    is_flag=True,
    help="Set the upsampler in closed form after --init-from, so that another scale begins above bicubic.",
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
    import_tensorflow()
    from ..training import Stopped, TrainConfig
    from ..training import train as run

    settings = TrainConfig.load(Path(config), **given) if config else TrainConfig(**given)
    with open_bar("{task.fields[note]}") as bar:
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
