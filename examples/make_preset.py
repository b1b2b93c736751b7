"""Makes a preset of a finished run: weights, config.json, the curve of its training, and a model card.

python examples/make_preset.py RUN edsr_compact_x2 --eval ../shared/data/eval --output keras_edsr/weights
python examples/make_preset.py net.pt edsr_liif_x2 --rounds rounds.md --curve curve.json --float16 --hd --eval …

What the card says is read from the run (configuration, history, TensorBoard logs) and measured on Set5 and Set14. For a
network that another program trained, RUN is its checkpoint, `--rounds` a file with the section "Training" of its card,
and `--curve` a JSON list of rows such as {"step": 100, "x2": 37.1}. It was run for each of the presets that ship.
"""

import argparse
import json
import shlex
import textwrap
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import keras_edsr
from keras_edsr.files import atomic_file
from keras_edsr.models import MDSR, load_model
from keras_edsr.training import TrainConfig

SETS = ("Set5", "Set14")
LICENSE = "Apache-2.0; trained in part on BSDS500, whose images are for non-commercial research"
SOURCE = "keras_edsr: MODEL_CARD.md beside the weights"

CARD = """---
library_name: keras
pipeline_tag: image-to-image
license: other
license_name: apache-2.0-trained-on-images-with-other-terms
tags: [super-resolution, {family}, keras_edsr]
metrics: [psnr, ssim]
---

# {name}

{what}

![PSNR on Set5 during the training](curve.svg)

## Scores

Measured with `keras-edsr evaluate --model {name} --protocol benchmark`:
PSNR (dB) / SSIM on Y of BT.601, a border of `scale` pixels left out, LR made by MATLAB's bicubic, uint8 results, no
self-ensemble.

{scores}
{degraded}
Set5 was watched while it trained and not used to choose: these are the weights after the last step.

## Training

{rounds}

{data}

## Limits

{limits}

## License

{license}.
"""

DATA = """\
Data: T91 (91 images; Yang et al., 2010), BSDS500's train and test images (397; Arbelaez et al., 2011), Kodak24 (24) and
16 images of Sun-Hays80 (Sun and Hays, 2012): 528 photographs{hd}.
Nothing of Set5 and Set14 is among them (tests/test_weights.py compares the content).

**Terms**: BSDS500 is for non-commercial research and education; Kodak's images were released for unrestricted use; T91
and Sun-Hays80 came with research papers and state no license.{hd_terms} If you need weights
without such terms, train on images of your own with the commands above."""

HD = ",\nand 771 crops of large photographs, reduced in size (184 megapixels)"
HD_TERMS = """ The crops are from freely licensed
photographs: CC BY and CC BY-SA (among them CID22 and Wikimedia Commons), CC0, Unsplash and Pexels."""

LIMITS = """\
{first}
- Optimized for L1: what cannot be known is blurred rather than invented.
- {parameters:,} parameters; the paper's network has 43 million and is {behind:.1f} dB better on Set5 x{scale}."""

CLEAN = """\
- Trained for bicubic LR of clean photographs: noise and JPEG's blocks are sharpened with the rest, and a camera's own
  blur is not undone."""

PHOTO = """\
- Trained for photographs with slight blur, noise and JPEG compression (quality 30 to 95). On clean images it is less
  sharp than the network that learned bicubic LR only. Heavy noise and strong blur are not undone."""

PUBLISHED = {2: 38.11, 3: 34.65, 4: 32.46}  # EDSR on Set5 (Lim et al., table 3)


def main():
    """Writes the folder of the preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--eval", type=Path, required=True, help="folder with Set5 and Set14")
    parser.add_argument("--output", type=Path, default=Path("keras_edsr/weights"))
    parser.add_argument("--from-preset", default=None, help="name of the preset that the run began from")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="runs before it, for the curve")
    parser.add_argument("--prepared-by", default=None, help="commands that made the run's HR folder, for the card")
    parser.add_argument("--rounds", type=Path, help="of a checkpoint: what the card says about its training")
    parser.add_argument("--curve", type=Path, help="of a checkpoint: JSON rows of step and PSNR on Set5")
    parser.add_argument("--hd", action="store_true", help="the crops of large photographs were trained on, too")
    parser.add_argument("--photo", action="store_true", help="it was trained on degraded images")
    parser.add_argument("--float16", action="store_true", help="ship the weights in half precision")
    args = parser.parse_args()
    is_run = args.run.is_dir()
    model = load_model(args.run / "last.keras" if is_run else args.run)
    folder = args.output / args.name
    model.save_to_preset(folder, overwrite=True)
    if args.float16:
        halve(folder)
        model = load_model(folder)
    scores = {name: measure(model, args.eval / name) for name in SETS}
    about = json.loads((folder / "config.json").read_text())
    about["config"]["name"] = args.name
    about |= {
        "source": SOURCE,
        "license": LICENSE,
        **{
            metric: {
                f"{name} (Y)": {f"x{s}": round(row[metric], 4) for s, row in rows.items()}
                for name, rows in scores.items()
            }
            for metric in ("psnr", "ssim")
        },
    }
    write(folder / "config.json", json.dumps(about, indent=1) + "\n")
    if is_run:
        config = TrainConfig.load(args.run / "config.json")
        histories = [read_history(run) for run in [*args.earlier, args.run]]
        further = args.from_preset == args.name  # a further round: the card says all of them
        rounds = training(config, histories[-1], args.run, args.from_preset, args.prepared_by, further)
        if further:
            rounds = training_of_card((folder / "MODEL_CARD.md").read_text()) + "\n\n" + rounds
    else:
        histories = [read_curve(args.curve, model.scales)]
        rounds = args.rounds.read_text().strip()
    write(folder / "curve.svg", curve(histories, model.scales))
    write(folder / "MODEL_CARD.md", card(args, model, scores, rounds))
    print(folder)


def halve(folder):
    """Rewrites the weights of a preset in half precision."""
    path = folder / "model.safetensors"
    save_file({name: array.astype(np.float16) for name, array in load_file(path).items()}, path)


def read_curve(path, scales):
    """Returns the rows of another program's history as those of a run."""
    names = {f"x{s}": "val_psnr" if len(scales) == 1 else f"val_psnr_x{s}" for s in scales}
    return [{"step": row["step"], **{names[key]: row[key] for key in names}} for row in json.loads(path.read_text())]


def read_history(run):
    """Returns the rows of a run, one for each epoch."""
    return json.loads((run / "history.json").read_text())


def measure(model, images):
    """Returns evaluate's result for each scale."""
    return {scale: keras_edsr.evaluate(model, images, scale) for scale in model.scales}


# === The model card ===


def card(args, model, scores, rounds):
    """Returns MODEL_CARD.md."""
    scale = model.scales[0]
    size = "compact" if model.filters < 64 else "baseline-sized"
    scales = ", ".join(f"x{s}" for s in model.scales)
    family = "MDSR, one network for" if isinstance(model, MDSR) else "EDSR"
    what = (
        f"A {size} {family} {scales}: {model.num_blocks} residual blocks of {model.filters} filters, "
        f"{model.count_params():,} parameters, for upscaling {'compressed and noisy ' * args.photo}photographs."
    )
    what = textwrap.fill(what, 120)
    head = "| | " + " | ".join(f"x{s}" for s in model.scales) + " |\n|---|" + "---|" * len(model.scales)
    degraded = degraded_scores(model, args.eval / "Set14") if args.photo else ""
    rows = [
        f"| {test_set} | " + " | ".join(f"{r['psnr']:.2f} / {r['ssim']:.4f}" for r in by_scale.values()) + " |"
        for test_set, by_scale in scores.items()
    ]
    limits = LIMITS.format(
        first=PHOTO if args.photo else CLEAN,
        parameters=model.count_params(),
        behind=PUBLISHED[scale] - scores["Set5"][scale]["psnr"],
        scale=scale,
    )
    data = DATA.format(hd=HD if args.hd else "", hd_terms=HD_TERMS if args.hd else "")
    return CARD.format(
        name=args.name,
        family=type(model).__name__.lower(),
        data=data,
        degraded=degraded,
        what=what,
        scores="\n".join([head, *rows]),
        rounds=rounds,
        limits=limits,
        license=LICENSE,
    )


def degraded_scores(model, images, qualities=(80, 60, 40)):
    """Returns a table of PSNR on JPEGs, beside bicubic and the network that was trained on clean images."""
    scale = model.scales[0]
    clean = f"edsr_compact_x{scale}" if model.filters < 64 else f"edsr_liif_x{scale}"
    lines = [f"| Set14, LR saved as JPEG of quality | bicubic | `{clean}` | this |", "|---|---|---|---|"]
    for quality in qualities:
        degradation = f"jpeg-{quality}"
        row = [keras_edsr.evaluate(m, images, scale, degradation=degradation) for m in ("bicubic", clean, model)]
        lines.append(f"| {quality} | " + " | ".join(f"{result['psnr']:.2f}" for result in row) + " |")
    return "\n" + "\n".join(lines) + "\n"


def training(config, history, run, begun_from, prepared_by, further):
    """Returns what a run took, and its commands."""
    begun = "the round before" if further else f"`{begun_from}`"
    begun = f" It began from the weights of {begun}." if begun_from else ""
    text = (
        f"{config.steps:,} steps of {config.batch_size} LR patches of {config.patch_size}x{config.patch_size}, seed "
        f"{config.seed}, {hours(run, config, history):.1f} hours on two AMD EPYC cores that did other work beside it, "
        f"{date(run)}.{begun}"
    )
    commands = "\n".join(filter(None, [prepared_by, command(config, begun_from)]))
    return f"{textwrap.fill(text, 120)}\n\n```sh\n{commands}\n```"


def training_of_card(text):
    """Returns what a model card says about the rounds until now."""
    return text.split("## Training\n\n")[1].split("\n\nData: ")[0]


def command(config, begun_from):
    """Returns the command line of a run, with the folders' names instead of their paths."""
    # Against the command line's own defaults: it guards against loss spikes, TrainConfig does not.
    default = TrainConfig(output="", hr="", model=config.model, scale=config.scale, loss_spike_factor=3.0)
    words = ["keras-edsr", "train"]
    for name, value in vars(config).items():
        if value in (None, vars(default)[name]) and name not in ("model", "scale", "num_blocks", "filters", "seed"):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if name == "init_from":
            value = begun_from
        elif name in ("hr", "output", "validation"):
            value = Path(value).name
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    lines = textwrap.wrap(shlex.join(words), 105, break_long_words=False, break_on_hyphens=False)
    return " \\\n    ".join(lines)


def hours(run, config, history):
    """Returns how long the steps took, by the patches a second that were logged for TensorBoard."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "logs"), size_guidance={"tensors": 0, "images": 1})
    events.Reload()
    rates = {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("images_per_second")}
    steps = [row["step"] for row in history]
    taken = dict(zip(steps, [b - a for a, b in zip([0, *steps], steps, strict=False)], strict=True))
    return sum(taken[step] * config.batch_size / rates[step] for step in steps) / 3600


def date(run):
    """Returns the day on which a run was last started."""
    return json.loads((run / "starts.jsonl").read_text().splitlines()[-1])["date"][:10]


# === The curve ===


def curve(rounds, scales, width=640, height=300, margin=52):
    """Returns an SVG of the PSNR on Set5 against the steps, a line for each scale; `rounds` are histories, in a row."""
    names = ["val_psnr"] if len(scales) == 1 else [f"val_psnr_x{s}" for s in scales]
    history, ends = [], []
    for rows in rounds:
        before = ends[-1] if ends else 0
        history += [{**row, "step": before + row["step"]} for row in rows]
        ends.append(history[-1]["step"])
    steps = [row["step"] for row in history]
    values = [row[name] for row in history for name in names]
    low, high = min(values) - 0.1, max(values) + 0.1

    def at(step, value):
        x = margin + (width - 2 * margin) * step / steps[-1]
        return f"{x:.1f},{height - margin - (height - 2 * margin) * (value - low) / (high - low):.1f}"

    parts = []
    for name, scale, color in zip(names, scales, ("#1f6feb", "#c2410c", "#15803d"), strict=False):
        points = " ".join(at(row["step"], row[name]) for row in history)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = at(steps[-1], history[-1][name]).split(",")
        label = f"x{scale} {history[-1][name]:.2f} dB"
        parts.append(f'<text x="{x}" y="{float(y) - 6:.1f}" text-anchor="end" fill="{color}">{label}</text>')
    for value in (low, high):
        y = at(0, value).split(",")[1]
        parts.append(f'<text x="{margin - 6}" y="{y}" text-anchor="end">{value:.1f}</text>')
    for step in (0, *ends):
        x, y = at(step, low).split(",")
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x}" y2="{margin}" stroke="#bbb" stroke-dasharray="2 4"/>')
        parts.append(f'<text x="{x}" y="{float(y) + 18:.1f}" text-anchor="middle">{step}</text>')
    box = f'<rect x="{margin}" y="{margin}" width="{width - 2 * margin}" height="{height - 2 * margin}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{width}" height="{height}" fill="white"/>{box} fill="none" stroke="#bbb"/>'
        f'<text x="{margin}" y="{margin - 12}">PSNR on Set5 (Y, dB) against steps</text>{"".join(parts)}</svg>\n'
    )


def write(path, text):
    """Writes a file, whole or not at all."""
    with atomic_file(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()
