"""Writes scores and pictures as one HTML page that needs no other files than its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..scores import border
from .crops import REGION, Box, gradient

GENERATOR = "keras-edsr evaluate --report"  # marks a page that this package wrote

_STAGE = 720  # screen pixels that a picture may take; the page enlarges it by whole numbers

Results = Mapping[str, Mapping[str, Any]]  # label of a model to what `evaluate` returns


@dataclass(frozen=True)
class About:
    """Contents of the heading.

    Attributes:
        sources: Label of each model to its description; the baseline first.
        hr: Description of the HR images.
        lr: Description of the LR images.
        notes: Other options, in words.
        version: Version of the package.
        date: Date and time, in words.
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
    """One image on the page.

    Attributes:
        name: Name of the image.
        width: Width of the HR image, as compared.
        height: Height of the HR image, as compared.
        region: Part that the crops show.
        view: Part that the slider shows.
        gain: Factor on the errors.
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
    """Writes the page as text.

    Args:
        about: Contents of the heading.
        results: Scores of every label of `about.sources`, in the same order.
        shown: The images, in the order of the scores.

    Returns:
        HTML, with the names of files and models escaped.
    """
    labels = list(results)
    baseline, *others = labels
    protocol, scale = results[baseline]["protocol"], results[baseline]["scale"]
    images = []
    for index, item in enumerate(shown):
        scores = {label: result["images"][index] for label, result in results.items()}
        # The slider begins with the baseline and the best other image.
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
