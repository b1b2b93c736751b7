"""The command `evaluate`."""

import json
from pathlib import Path

import click

from ._help import Command, option
from ._shared import import_tensorflow, logger, open_bar


@click.command(
    cls=Command,
    examples=(
        "keras-edsr evaluate --model edsr_compact_x2 --hr Set5/HR --scale 2",
        "keras-edsr evaluate --model bicubic --model best.keras --hr HR --lr LR --scale 4 --report report/",
        "keras-edsr evaluate --sr results/ --hr HR --scale 2 --json",
    ),
)
@option(
    "--model",
    "models",
    group="Methods",
    multiple=True,
    type=click.Path(),
    help="Preset, .keras, .pt, .pth or .safetensors file, an export, or bicubic; may be repeated. Default: none.",
)
@option(
    "--sr",
    group="Methods",
    type=click.Path(),
    help="Folder of images that another program made, instead of a model; with --report also beside models. "
    "Default: none.",
)
@option("--self-ensemble", group="Methods", is_flag=True, help="Average eight flips and rotations (EDSR+).")
@option("--hr", group="Images", required=True, type=click.Path(), help="Folder of HR images.")
@option(
    "--lr", group="Images", type=click.Path(), help="Folder of LR images. Default: made from the HR images by imresize."
)
@option(
    "--degradation",
    group="Images",
    help="Name of a degradation that makes the LR images (photo, jpeg, jpeg-40, realesrgan) or a .json file. "
    "Default: imresize.",
)
@option("--seed", group="Images", type=click.IntRange(0), help="Seed of the degradation. Default: 0.")
@option(
    "--scale", group="Images", required=True, type=int, help="Size of the HR images divided by that of the LR images."
)
@option(
    "--protocol",
    group="Scores",
    type=click.Choice(["benchmark", "div2k"]),
    default="benchmark",
    show_default=True,
    help="benchmark compares luma without a border of `scale` pixels, div2k compares RGB without `scale + 6` pixels.",
)
@option("--json", "as_json", group="Output", is_flag=True, help="Print one JSON object.")
@option(
    "--report",
    group="Output",
    metavar="DIR",
    type=click.Path(),
    help="Folder for an HTML report with scores, crops, error maps and a slider, and with bicubic as the baseline. "
    "Default: none.",
)
@option("--overwrite", group="Output", is_flag=True, help="Replace a report in DIR.")
def evaluate(models, sr, hr, lr, degradation, seed, scale, protocol, self_ensemble, as_json, report, overwrite):
    """Compute PSNR (dB) and SSIM of models by the paper's protocol.

    With --json the output has the keys psnr, ssim, images, protocol and scale. For several models, the key `models` has
    such an object for each name.
    """
    if not (models or sr) or (models and sr and report is None):
        raise click.UsageError("Pass --model or --sr; with --report you can pass both.")
    if (self_ensemble and not models) or (lr is not None and not models and report is None):
        raise click.UsageError("--lr and --self-ensemble need --model: --sr names finished images.")
    if lr is not None and degradation is not None:
        raise click.UsageError("Pass --lr or --degradation, not both.")
    if degradation is not None and not models and report is None:
        raise click.UsageError("--degradation needs --model: --sr names finished images.")
    if seed is not None and degradation is None:
        raise click.UsageError("--seed needs --degradation.")
    if overwrite and report is None:
        raise click.UsageError("--overwrite needs --report.")
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
            results = {label: results[label] for label in labels}  # without the baseline, unless the user named it
        elif sr is not None:
            results = {label: evaluation.evaluate_images(sr, hr, scale, **how) for label in folders}
        else:
            results = {}
            for label, model in named.items():
                ensemble = self_ensemble and (
                    model != "bicubic" or len(named) == 1
                )  # for bicubic alone `evaluate` rejects it
                results[label] = evaluation.evaluate(model, hr, scale, lr, self_ensemble=ensemble, **made, **how)
    if report is not None:
        logger.info("Report: %s", Path(report) / evaluation.PAGE)
    if as_json:
        one = len(results) == 1
        click.echo(json.dumps(results[labels[0]] if one else {"models": results}, indent=1))
    else:
        click.echo(_table(results))


def _table(results):
    """Returns lines of names and scores, for several models with a header of their names."""
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
