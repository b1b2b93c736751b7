"""From scores and pictures to one HTML page that needs nothing but the pictures beside it."""

# ruff: noqa: RUF001 - the signs × and − are meant: people read this page

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from ..scores import border
from .crops import REGION, Box, gradient

GENERATOR = "keras-edsr evaluate --report"  # by which a page of ours is known

_TEMPLATES = Path(__file__).parent / "templates"
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
    first = results[labels[0]]
    scale, protocol = first["scale"], first["protocol"]
    heading = f"{about.hr} ×{scale}"
    return _fill(
        "page.html",
        generator=GENERATOR,
        title=_text(f"{heading}: {', '.join(labels)}"),
        heading=_text(heading),
        facts=_facts(about, len(shown), scale, protocol),
        css=_template("page.css").substitute(gradient=gradient()),
        js=(_TEMPLATES / "page.js").read_text("utf-8"),
        means="\n".join(_mean_card(label, results) for label in labels),
        table_head=_table_head(labels),
        table_rows="\n".join(
            _table_row(f'<a href="#image-{number}">{_text(item.name)}</a>', item.name, _rows(results, number - 1))
            for number, item in enumerate(shown, 1)
        ),
        table_mean=_table_row("mean", "mean", results),
        protocol_note=_text(_PROTOCOLS[protocol].format(border=border(scale, protocol))),
        images="\n".join(
            _image(f"image-{number}", item, _rows(results, number - 1), scale) for number, item in enumerate(shown, 1)
        ),
        how_regions=_text(_how_regions(labels)),
        how_errors=_text(_how_errors(protocol)),
        version=_text(about.version),
        date=_text(about.date),
    )


# === Words ===

_PROTOCOLS = {
    "benchmark": "PSNR (peak 255) and SSIM (Gaussian window of 11×11) are of the luma, BT.601's Y, without a border of "
    "{border} pixels.",
    "div2k": "PSNR (peak 255) and SSIM (Gaussian window of 11×11) are of RGB, without a border of {border} pixels.",
}


def _how_regions(labels: Sequence[str]) -> str:
    what = f"the models' images differ most from {labels[0]}'s" if len(labels) > 1 else f"{labels[0]} errs most"
    return f"Of each image, the crops show the square of about {REGION} pixels a side where {what}."


def _how_errors(protocol: str) -> str:
    of_what = "luma" if protocol == "benchmark" else "RGB, averaged over the channels,"
    return (
        f"An error map shows the absolute difference in {of_what} to the original, times the gain under it: the same "
        "for all models of an image, not for all images."
    )


def _facts(about: About, count: int, scale: int, protocol: str) -> str:
    models = "".join(
        f"<li>{_text(label)}{f'<span>{_text(source)}</span>' if source != label else ''}</li>"
        for label, source in about.sources.items()
    )
    facts = {
        "Protocol": _text(protocol),
        "Scale": f"×{scale}",
        "Images": _text(f"{count}, of {about.hr}"),
        "LR images": _text(about.lr),
        "Models": f"<ul>{models}</ul>",
        "Made": _text(f"{about.date}, keras_edsr {about.version}"),
    }
    if about.notes:
        facts["Notes"] = _text("; ".join(about.notes))
    return "\n".join(f"<dt>{term}</dt><dd>{value}</dd>" for term, value in facts.items())


# === Scores ===


def _rows(results: Results, index: int) -> dict[str, Mapping[str, Any]]:
    """The scores of one image, by label."""
    return {label: result["images"][index] for label, result in results.items()}


def _psnr(value: float) -> str:
    return f'<data value="{value!r}">{value:.2f}</data>'


def _ssim(value: float) -> str:
    return f'<data value="{value!r}">{value:.4f}</data>'


_FORMATS = {"psnr": _psnr, "ssim": _ssim}


def _mean_card(label: str, results: Results) -> str:
    result, baseline = results[label], next(iter(results))
    gain = "the baseline" if label == baseline else f"{_difference(result, results[baseline])} to {_text(baseline)}"
    return (
        f'<div class="mean"><h2>{_text(label)}</h2>'
        f'<p class="psnr">{_psnr(result["psnr"])} <small>dB</small></p>'
        f"<p>SSIM {_ssim(result['ssim'])} · {gain}</p></div>"
    )


def _difference(row: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """PSNR above or below the baseline's, with a sign that can be seen without colours."""
    difference = round(row["psnr"] - baseline["psnr"], 2)
    sign, kind = ("+", "more") if difference >= 0 else ("−", "less")
    return f'<span class="{kind}">{sign}{abs(difference):.2f} dB</span>'


def _table_head(labels: Sequence[str]) -> str:
    names = "".join(
        f'<th scope="col"{_starts(i)}><span>{_text(label)}</span></th>'
        for _ in _FORMATS
        for i, label in enumerate(labels)
    )
    span = len(labels)
    return (
        f'<tr><th scope="col" rowspan="2">image</th><th scope="colgroup" class="starts" colspan="{span}">PSNR / dB</th>'
        f'<th scope="colgroup" class="starts" colspan="{span}">SSIM</th></tr>\n<tr>{names}</tr>'
    )


def _table_row(shown_name: str, name: str, scores: Mapping[str, Mapping[str, Any]]) -> str:
    cells = []
    for key, in_words in _FORMATS.items():
        best = max(row[key] for row in scores.values())
        for i, row in enumerate(scores.values()):
            text = in_words(row[key])
            if row[key] == best and len(scores) > 1:
                text = f'<strong class="best">{text}</strong>'
            cells.append(f"<td{_starts(i)}>{text}</td>")
    return f'<tr><th scope="row" title="{_text(name)}">{shown_name}</th>{"".join(cells)}</tr>'


def _starts(column: int) -> str:
    return ' class="starts"' if column == 0 else ""


# === One image ===


def _image(id_: str, item: Shown, scores: Mapping[str, Mapping[str, Any]], scale: int) -> str:
    labels = list(item.srs)
    left, right = labels[0], max(labels[1:], key=lambda label: scores[label]["psnr"], default="HR")
    views = {label: pictures.view for label, pictures in item.srs.items()} | {"HR": item.hr.view}
    alts = {label: _text(f"{item.name}, {label}") for label in views}
    region, view = item.region, item.view
    whole = (view.width, view.height) == (item.width, item.height)
    return _fill(
        "image.html",
        id=id_,
        name=_text(item.name),
        size=f"{item.width} × {item.height} pixels",
        region=f"{region.width} × {region.height} pixels at x = {region.left}, y = {region.top}",
        crop_width=288 if len(labels) + 2 <= 4 else 192,  # 3 or 2 times 96, such that a row has room for them
        figures="\n".join(_figures(item, scores, scale)),
        view_width=view.width,
        view_height=view.height,
        stage_width=view.width * max(1, _STAGE // max(view.width, view.height)),
        view_note="" if whole else f"The picture is a part of the image, {view.width} × {view.height} pixels.",
        left_src=views[left],
        left_alt=alts[left],
        left_label=_text(left),
        left_options=_options(views, alts, left),
        right_src=views[right],
        right_alt=alts[right],
        right_label=_text(right),
        right_options=_options(views, alts, right),
        mark_left=_percent(region.left - view.left, view.width),
        mark_top=_percent(region.top - view.top, view.height),
        mark_width=_percent(region.width, view.width),
        mark_height=_percent(region.height, view.height),
    )


def _figures(item: Shown, scores: Mapping[str, Mapping[str, Any]], scale: int) -> list[str]:
    """Columns of a crop, a caption and an error map; LR's has the maps' legend instead, HR's nothing."""
    region, baseline = item.region, next(iter(item.srs))
    size = f"<span>{region.width // scale} × {region.height // scale} pixels, nearest</span>"
    figures = [_figure(item, item.lr, region, "LR", size, _legend(item.gain))]
    for label, pictures in item.srs.items():
        row = scores[label]
        caption = f"{_psnr(row['psnr'])} dB / {_ssim(row['ssim'])}"
        if label != baseline:
            caption += f"<br>{_difference(row, scores[baseline])}"
        map_alt = _text(f"{item.name}, errors of {label}")
        error = _img(pictures.error, map_alt, region)
        figures.append(_figure(item, pictures.crop, region, label, caption, error))
    figures.append(_figure(item, item.hr.crop, region, "HR", "<span>the original</span>", ""))
    return figures


def _figure(item: Shown, crop: str, region: Box, label: str, caption: str, below: str) -> str:
    picture = _img(crop, _text(f"{item.name}, crop, {label}"), region)
    below = below or "<span></span>"
    return f"<figure>{picture}\n<figcaption><b>{_text(label)}</b>{caption}</figcaption>\n{below}</figure>"


def _img(src: str, alt: str, box: Box) -> str:
    return f'<img src="{src}" alt="{alt}" width="{box.width}" height="{box.height}" loading="lazy">'


def _legend(gain: int) -> str:
    return (
        '<div class="legend"><span class="bar"></span>'
        f'<span class="ends"><span>0</span><span>{255 / gain:.0f} or more</span></span>'
        f"|SR − HR| in grey levels,<br>gain ×{gain}</div>"
    )


def _options(views: Mapping[str, str], alts: Mapping[str, str], chosen: str) -> str:
    return "\n".join(
        f'<option value="{view}" data-alt="{alts[label]}"{" selected" if label == chosen else ""}>'
        f"{_text(label)}</option>"
        for label, view in views.items()
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f}"


# === Templates ===


def _text(text: str) -> str:
    return html.escape(text, quote=True)


@cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / name).read_text("utf-8"))


def _fill(template: str, /, **values: object) -> str:
    return _template(template).substitute(values)
