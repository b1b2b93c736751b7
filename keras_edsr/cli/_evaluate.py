"""The command `evaluate`."""

import json
from pathlib import Path

import click

from ._shared import import_tensorflow, logger, open_bar


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(),
    help="A preset, a .keras, .pt, .pth or .safetensors file, what `export` wrote, or bicubic; may be repeated.",
)
@click.option(
    "--sr",
    type=click.Path(),
    help="Instead of a model, in a report also beside it: a folder of images that were made elsewhere.",
)
@click.option("--hr", required=True, type=click.Path(), help="Folder of HR images.")
@click.option("--lr", type=click.Path(), help="Folder of their LR images; made by imresize if not given.")
@click.option(
    "--degradation",
    help="How LR images are made instead of by imresize: photo, jpeg, jpeg-40, realesrgan, or a .json file.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the degradation. Default: 0.")
@click.option("--scale", required=True, type=int)
@click.option(
    "--protocol",
    type=click.Choice(["benchmark", "div2k"]),
    default="benchmark",
    show_default=True,
    help="benchmark: Y, border of scale; div2k: RGB, border of scale + 6.",
)
@click.option("--self-ensemble", is_flag=True, help="Average eight flips and rotations (EDSR+).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(),
    help="Also write DIR/index.html to look at: scores, crops, errors and a slider, with bicubic as the baseline.",
)
@click.option("--overwrite", is_flag=True, help="Replace a report that is in DIR.")
def evaluate(models, sr, hr, lr, degradation, seed, scale, protocol, self_ensemble, as_json, report, overwrite):
    """PSNR and SSIM by the paper's protocol.

    The JSON has psnr, ssim, images, protocol and scale; of several models, models: by name what it has for one.
    With --degradation, each LR image hangs on --seed and the file's name alone, so every model gets the same.
    """
    if not (models or sr) or (models and sr and report is None):
        raise click.UsageError("Give either --model or --sr. A --report takes both.")
    if (self_ensemble and not models) or (lr is not None and not models and report is None):
        raise click.UsageError("--lr and --self-ensemble are for a --model: the images of --sr are made already.")
    if lr is not None and degradation is not None:
        raise click.UsageError("Give either --lr or --degradation.")
    if degradation is not None and not models and report is None:
        raise click.UsageError("--degradation is for a --model: the images of --sr are made already.")
    if seed is not None and degradation is None:
        raise click.UsageError("--seed is for --degradation.")
    if overwrite and report is None:
        raise click.UsageError("--overwrite is for --report.")
    from ..runtimes import needs_tensorflow

    if any(needs_tensorflow(model) for model in models if model != "bicubic"):
        import_tensorflow()
    from .. import evaluation

    labels = evaluation.short_names([*models, *filter(None, [sr])])
    named, folders = dict(zip(labels, models, strict=False)), dict(zip(labels[len(models) :], [sr], strict=False))
    with open_bar() as bar:
        task = bar.add_task("images", total=None)
        how = {"protocol": protocol, "progress": lambda done, total: bar.update(task, completed=done, total=total)}
        made = {"degradation": degradation, "seed": seed or 0}
        if report is not None:
            how |= made | {"sr": folders, "self_ensemble": self_ensemble, "overwrite": overwrite}
            results = evaluation.write_report(report, named, hr, scale, lr, **how)
            results = {label: results[label] for label in labels}  # without the baseline, unless that was asked for
        elif sr is not None:
            results = {label: evaluation.evaluate_images(sr, hr, scale, **how) for label in folders}
        else:
            results = {}
            for label, model in named.items():
                ensemble = self_ensemble and (model != "bicubic" or len(named) == 1)  # alone it is refused
                results[label] = evaluation.evaluate(model, hr, scale, lr, self_ensemble=ensemble, **made, **how)
    if report is not None:
        logger.info("Report: %s", Path(report) / evaluation.PAGE)
    if as_json:
        one = len(results) == 1
        click.echo(json.dumps(results[labels[0]] if one else {"models": results}, indent=1))
    else:
        click.echo(_table(results))


def _table(results):
    """Lines of names and scores; of several models, with their names above."""
    several = len(results) > 1
    names = [row["name"] for row in next(iter(results.values()))["images"]] + ["mean"]
    width = max(map(len, names))
    column = max([16, *map(len, results)]) if several else 16
    lines = [" " * width + "".join(f"  {label:>{column}}" for label in results)] if several else []
    lines.append(f"{'image':<{width}}" + f"  {'PSNR/dB':>{column - 8}}  {'SSIM':>6}" * len(results))
    scores = zip(*([*result["images"], result] for result in results.values()), strict=True)
    for name, row in zip(names, scores, strict=True):
        cells = [f"  {score['psnr']:{column - 8}.3f}  {score['ssim']:6.4f}" for score in row]
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return "\n".join(lines)
