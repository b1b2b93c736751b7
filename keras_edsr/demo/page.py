"""The page: its components and their event handlers."""

import html
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from .choices import Choice, scales_of
from .pictures import MAX_PIXELS, advise, describe, read_upload, upscale_upload, write_preview
from .running import Running, Stopped

logger = logging.getLogger("keras_edsr")

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"
CSS = HERE / "page.css"
THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],  # fonts of the user's system: the page downloads none
    font_mono=["ui-monospace", "monospace"],
)

_AT_A_TIME = 1  # one image already occupies all cores
_WAITING = 32
_KEPT = (600, 3600)  # seconds between clean-ups, and the age at which a file is deleted

_TITLE = """# Super-resolution
Upscale images by a factor of {times} with EDSR and MDSR ([Lim et al., 2017](https://arxiv.org/abs/1707.02921)).
"""
_RESULT = "Drag the line to compare; scroll or pinch to zoom in. The download has the full resolution."


def build_page(choices: list[Choice], max_pixels: int = MAX_PIXELS) -> gr.Blocks:
    """Builds the page; the caller launches it.

    Args:
        choices: Models that the page offers, at least one.
        max_pixels: The largest number of pixels that an image may have, all frames together.
    """
    does = _Handlers(choices, max_pixels)
    scales = scales_of(choices)
    models = list(does.choices)  # all, for clients of the page's API; `offer` keeps those of the scale
    with gr.Blocks(title="Super-resolution", delete_cache=_KEPT, analytics_enabled=False) as page:
        gr.Markdown(_TITLE.format(times=_listed(scales)), elem_id="title")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=300):
                picture = gr.File(label="Picture", file_types=["image"], elem_id="picture", height=130)
                samples = _samples()
                scale = gr.Radio([(f"x{s}", s) for s in scales], value=scales[0], label="Scale", elem_id="scale")
                model = gr.Dropdown(models, value=models[0], label="Model", elem_id="model", filterable=False)
                ensemble = gr.Checkbox(
                    label="Self-ensemble", info="Slightly better, and eight times as slow", elem_id="ensemble"
                )
                go = gr.Button("Upscale", variant="primary", elem_id="go", interactive=False)
                stop = gr.Button("Stop", elem_id="stop", visible=False)
            with gr.Column(scale=5, min_width=300, elem_id="stage"):
                note = gr.HTML(does.hint, elem_id="note")
                preview = gr.Image(
                    label="Preview", show_label=False, interactive=False, buttons=[], elem_id="preview", height=480
                )
                slider = gr.ImageSlider(
                    label="Bicubic | network",
                    show_label=False,
                    visible=False,
                    buttons=["fullscreen"],
                    elem_id="slider",
                    max_height=640,
                )
                download = gr.DownloadButton("Download PNG", visible=False, elem_id="download")
        quietly = {"api_visibility": "private", "show_progress": "hidden"}
        shown = [note, go, stop, preview, slider, download]
        samples.select(does.pick, None, picture, queue=False, **quietly)
        gr.on([page.load, scale.change], does.offer, [scale, model], model, queue=False, **quietly)
        begun = go.click(does.begin, None, shown, queue=False, **quietly)
        run = begun.then(
            does.run,
            [picture, scale, model, ensemble],
            [note, preview, slider, download],
            api_name="upscale",
            concurrency_limit=_AT_A_TIME,
            show_progress_on=preview,
            scroll_to_output=True,
        )
        run.then(does.end, None, [go, stop], queue=False, **quietly)
        stop.click(does.stop, None, [go, stop], cancels=[run], queue=False, **quietly)
        changed = [picture.change, scale.change]
        gr.on(changed, does.look, [picture, scale], shown, cancels=[run], concurrency_limit=4, **quietly)
        page.unload(does.leave)
    return page.queue(max_size=_WAITING)


def _samples() -> gr.Gallery:
    paths = sample_paths()
    return gr.Gallery(
        [(str(path), path.stem) for path in paths],
        label="Or one of these",
        columns=len(paths),
        rows=1,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="samples",
    )


def sample_paths() -> list[Path]:
    """Returns the paths of the sample images."""
    return sorted(path for path in SAMPLES.iterdir() if path.suffix in (".png", ".webp"))


class _Handlers:
    """Event handlers; each returns values for the components that `build_page` passes as its outputs."""

    def __init__(self, choices: Iterable[Choice], max_pixels: int):
        self.choices = {choice.label: choice for choice in choices}
        self.max_pixels = max_pixels
        self.running = Running()
        self.hint = _said(f"PNG, JPEG, WebP, TIFF, GIF or BMP, up to {max_pixels / 1e6:.3g} megapixels.")

    def pick(self, event: gr.SelectData):
        """Selects a sample as the picture."""
        return str(sample_paths()[event.index])

    def offer(self, scale, model):
        """Offers the models that have the scale, and replaces the selected one if it does not have it."""
        labels = [label for label, choice in self.choices.items() if scale in choice.scales]
        return gr.Dropdown(labels, value=model if model in labels else labels[0])

    def look(self, path, scale, request: gr.Request):
        """Stops the session's earlier work; shows the picture and its result's size, or the reason to reject it."""
        self.running.stop(request.session_hash)
        if path is None:
            yield self.hint, *_controls(ready=False), *_stage(None)
            return
        try:
            picture = read_upload(path, self.max_pixels)
        except (ValueError, OSError) as error:
            yield _said(str(error), "error"), *_controls(ready=False), *_stage(None)
            return
        with tempfile.TemporaryDirectory() as folder:
            preview = write_preview(Path(folder), picture)
            said = describe(Path(path).name, picture, scale) + advise(path, scale, self.choices)
            yield _said(said), *_controls(), *_stage(str(preview))

    def begin(self):
        """Clears the last result and shows the Stop button."""
        return gr.skip(), *_controls(busy=True), gr.Image(visible=True), *_stage(None)[1:]

    def run(self, picture, scale, model, self_ensemble, request: gr.Request, progress=gr.Progress()):  # noqa: B008
        """Upscales the picture; deletes the files once Gradio has copied them."""
        if picture is None:
            raise gr.Error("Choose a picture first.", print_exception=False)
        with self.running(request.session_hash) as stop, tempfile.TemporaryDirectory() as folder:

            def show(done, total):
                if stop.is_set():
                    raise Stopped
                progress(done / total, desc="Upscaling" if done < total else "Writing")

            progress(0, desc="Upscaling")
            with _errors_shown():
                made = upscale_upload(
                    picture, Path(folder), self.choices[model], scale, self_ensemble, self.max_pixels, progress=show
                )
            yield (
                _said(_RESULT),
                gr.Image(visible=False),
                gr.ImageSlider(value=(str(made.before), str(made.after)), visible=True),
                gr.DownloadButton(value=str(made.download), visible=True, label=f"Download {made.download.name}"),
            )

    def end(self):
        """Shows the Upscale button again."""
        return gr.Button(visible=True), gr.Button(visible=False)

    def stop(self, request: gr.Request):
        """Stops the session's work."""
        self.running.stop(request.session_hash)
        return self.end()

    def leave(self, request: gr.Request):
        """Stops the work of a user who closed the page, so that others need not wait for it."""
        self.running.stop(request.session_hash)


def _controls(ready=True, busy=False):
    """Returns the buttons Upscale and Stop."""
    return gr.Button(visible=not busy, interactive=ready), gr.Button(visible=busy)


def _stage(preview):
    """Returns the components for a picture before it is upscaled: its preview, no slider, no download."""
    return (
        gr.Image(value=preview, visible=True),
        gr.ImageSlider(value=None, visible=False),
        gr.DownloadButton(visible=False),
    )


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Shows errors on the page; logs unexpected ones and shows them without internal details."""
    try:
        yield
    except Stopped:
        logger.info("Upscaling was stopped.")
        raise gr.Error("Stopped.", duration=3, print_exception=False) from None
    except (ValueError, OSError) as error:
        raise gr.Error(html.escape(str(error)), duration=None, print_exception=False) from error
    except Exception as error:
        logger.exception("The demo could not upscale a picture.")
        raise gr.Error("The server failed. Its log has the details.", print_exception=False) from error


def _said(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{html.escape(text)}</p>'


def _listed(numbers: list[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last
