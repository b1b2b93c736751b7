"""From scores and pictures to one HTML page that needs nothing but the pictures beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..scores import border
from .crops import REGION, Box, gradient

GENERATOR = "keras-edsr evaluate --report"  # by which a page of ours is known

_STAGE = 720  # pixels of the screen that a picture may take; it is enlarged by whole numbers

Results = Mapping[str, Mapping[str, Any]]  # label of a model to what `evaluate` returns


@dataclass(frozen=True)
class About:
    """What the heading says.

    Attributes:
        sources: Label of each model to what it is; the baseline first.
        hr: Where the HR images are from.
        lr: Where the LR images are from, in words.
        notes: Other things that were asked for, in words.
        version: Of the package.
        date: In words.
    """

    sources: Mapping[str, str]
    hr: str
    lr: str
    notes: Sequence[str]
    version: str
    date: str


@dataclass(frozen=True)
class Pictures:
    """The files of one SR or HR image, relative to the page."""

    crop: str
    view: str
    error: str = ""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one image.

    Attributes:
        name: Of the image.
        width: Of the HR image, as it was compared.
        height: As well.
        region: What the crops show.
        view: What the slider shows.
        gain: By which errors are multiplied.
        lr: File of the LR crop, relative to the page.
        hr: Files of the HR image.
        srs: Label of each model to its files.
    """

    name: str
    width: int
    height: int
    region: Box
    view: Box
    gain: int
    lr: str
    hr: Pictures
    srs: Mapping[str, Pictures]


def page(about: About, results: Results, shown: Sequence[Shown]) -> str:
    """Writes the page.

    Args:
        about: What the heading says.
        results: Scores of every label of `about.sources`, in the same order.
        shown: What to show of each image, in the order of the scores.

    Returns:
        The HTML text; names of files and models are escaped.
    """
    labels = list(results)
    baseline, *others = labels
    protocol, scale = results[baseline]["protocol"], results[baseline]["scale"]
    images = []
    for index, item in enumerate(shown):
        scores = {label: result["images"][index] for label, result in results.items()}
        # The slider begins with the baseline and the best of the others.
        psnrs = {label: row["psnr"] for label, row in scores.items()}
        best = max(others, key=psnrs.__getitem__, default="HR")
        views = {label: pictures.view for label, pictures in item.srs.items()} | {"HR": item.hr.view}
        width = item.view.width * max(1, _STAGE // max(item.view.width, item.view.height))
        image = {"item": item, "scores": scores, "views": views, "stage_width": width, "left": baseline, "right": best}
        images.append(image)
    return (
        _templates()
        .get_template("page.html")
        .render(
            about=about,
            baseline=baseline,
            border=border(scale, protocol),
            generator=GENERATOR,
            gradient=gradient(),
            images=images,
            labels=labels,
            protocol=protocol,
            region=REGION,
            results=results,
            scale=scale,
        )
    )


@cache
def _templates():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_edsr.evaluation"),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda part, whole: f"{100 * part / whole:.3f}"
    return environment
