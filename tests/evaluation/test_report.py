import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import keras
import numpy as np
import pytest
from PIL import Image
from runs import photo

import keras_edsr
from keras_edsr import imresize
from keras_edsr.evaluation import crops, evaluate, evaluate_images, report, short_names, write_report
from keras_edsr.image_io import read_image, write_image

ODD = 'b "x" <i>&amp;\' 50% #1.png'
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    def __init__(self, file):
        super().__init__()
        self.text = file.read_text("utf-8")
        self.elements, self._open = [], []
        self.feed(self.text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        element = {"tag": tag, "within": [e["tag"] for e in self._open], "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag, within=None):
        return [e for e in self.elements if e["tag"] == tag and (within is None or within in e["within"])]

    def numbers(self, within):
        return [float(e["value"]) for e in self.all("data", within)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of HR images, one name of which is hard to write, and one of SR images."""
    root = tmp_path_factory.mktemp("images")
    images = {"a.png": photo(121, 140), ODD: photo(104, 133, seed=1), "gray.png": photo(100, 98, seed=2)[..., 0]}
    for name, image in images.items():
        for folder, content in (("hr", image), ("sr", nearly(image))):
            (root / folder).mkdir(exist_ok=True)
            write_image(root / folder / name, content)
    return root


def nearly(hr):
    noise = np.random.default_rng(5).integers(-9, 10, hr.shape)
    return np.clip(hr + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras_edsr.EDSR(scale=2, num_blocks=1, filters=4, residual_scaling=1.0)


@pytest.fixture(scope="module")
def written(folders, network, tmp_path_factory):
    """A report of bicubic, a network and SR images; its folder, what was returned, what progress was told."""
    folder, calls = tmp_path_factory.mktemp("out") / "deeper" / "report", []
    results = write_report(
        folder,
        {"EDSR <tiny>": network},
        folders / "hr",
        2,
        sr={"others": folders / "sr"},
        progress=lambda *done: calls.append(done),
    )
    return folder, results, calls


@pytest.fixture(scope="module")
def page(written):
    return Page(written[0] / "index.html")


# === Numbers ===


def test_the_scores_are_evaluates(written, folders, network):
    results = written[1]
    assert list(results) == ["bicubic", "EDSR <tiny>", "others"]
    assert results["bicubic"] == evaluate("bicubic", folders / "hr", 2)
    assert results["EDSR <tiny>"] == evaluate(network, folders / "hr", 2)
    assert results["others"] == evaluate_images(folders / "sr", folders / "hr", 2)


def test_the_page_has_all_scores(written, page):
    results = written[1].values()
    rows = zip(*([*result["images"], result] for result in results), strict=True)
    expected = [row[key] for by_model in rows for key in ("psnr", "ssim") for row in by_model]
    assert page.numbers("table") == expected
    means = [result[key] for result in results for key in ("psnr", "ssim")]
    assert [float(e["value"]) for e in page.all("data") if "section" in e["within"] and "p" in e["within"]] == means
    captions = [
        image[key]
        for images in zip(*(result["images"] for result in results), strict=True)
        for image in images
        for key in ("psnr", "ssim")
    ]
    assert page.numbers("figcaption") == captions


def test_scores_are_shown_rounded_as_papers_do(page):
    for number in page.all("data"):
        assert abs(float(number["text"]) - float(number["value"])) <= 0.005
        assert re.fullmatch(r"-?\d+\.\d\d(\d\d)?", number["text"])


def test_the_best_of_each_row_is_marked(written, page):
    best = [float(e["value"]) for e in page.all("data", "table") if "strong" in e["within"]]
    rows = zip(*([*result["images"], result] for result in written[1].values()), strict=True)
    assert best == [max(row[key] for row in by_model) for by_model in rows for key in ("psnr", "ssim")]


def test_other_protocols_and_lr_images_are_taken(folders, tmp_path):
    lr = tmp_path / "lr"
    lr.mkdir()
    for path in (folders / "hr").iterdir():
        write_image(lr / path.name, read_image(path)[:-1:2, :-1:2])
    results = write_report(tmp_path / "r", {}, folders / "hr", 2, lr, "div2k")
    assert results == {"bicubic": evaluate("bicubic", folders / "hr", 2, lr, "div2k")}
    assert "RGB" in (tmp_path / "r" / "index.html").read_text("utf-8")


def test_progress_is_told_after_each_image(written):
    assert written[2] == [(1, 3), (2, 3), (3, 3)]


# === The page ===


def test_the_page_is_whole_html(page):
    assert page.text.startswith("<!doctype html>")
    ids = [e["id"] for e in page.elements if "id" in e]
    assert len(set(ids)) == len(ids)
    links = [e["href"] for e in page.all("a")]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    labeled = [e["aria-labeledby"] for e in page.elements if "aria-labeledby" in e]
    assert set(labeled) <= set(ids)


def test_all_files_of_the_page_are_there_and_no_others(written, page):
    folder = written[0]
    sources = {e["src"] for e in page.all("img")} | {e["value"] for e in page.all("option")}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {unquote(source) for source in sources} == sources
    assert files == sources | {"index.html"}
    for source in sources:
        with Image.open(folder / source) as image:
            assert image.format == "PNG"
            image.load()


def test_the_page_needs_nothing_from_elsewhere(page):
    assert not page.all("link")
    assert not [e for e in page.all("script") if "src" in e]
    for element in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert not re.match(r"[a-z]+:|//", element.get(name, ""))
    assert "://" not in page.text
    assert not re.search(r"@import|url\(", page.text)


def test_names_are_escaped(written, page):
    assert page.all("a")[1]["text"] == ODD
    assert "<i>" not in page.text
    assert "<tiny>" not in page.text
    assert [e["text"] for e in page.all("h2")][:3] == list(written[1])


def test_the_heading_says_what_was_done(page):
    facts = dict(zip([e["text"] for e in page.all("dt")], [e["text"] for e in page.all("dd")], strict=True))
    assert page.all("h1")[0]["text"] == "hr ×2"  # noqa: RUF001
    assert (facts["Protocol"], facts["Scale"], facts["Images"]) == ("benchmark", "×2", "3, of hr")  # noqa: RUF001
    assert "imresize" in facts["LR images"]
    assert re.fullmatch(
        rf"20\d\d-\d\d-\d\d \d\d:\d\d UTC, keras_edsr {re.escape(keras_edsr.__version__)}", facts["Made"]
    )
    assert all(label in facts["Models"] for label in ("bicubic", "EDSR <tiny>", "others"))


def test_each_image_has_a_slider_that_the_keyboard_moves(page):
    ranges = page.all("input")
    assert len(ranges) == 3
    assert all(e["type"] == "range" and "label" in e["within"] and e["aria-label"] for e in ranges)
    chosen = [e["text"].strip() for e in page.all("option") if "selected" in e]
    assert chosen == ["bicubic", "others"] * 3  # the best
    names = [e["text"].strip() for e in page.all("option")]
    assert names == ["bicubic", "EDSR <tiny>", "others", "HR"] * 6


def test_each_image_says_what_it_shows(page):
    assert all(e["alt"] for e in page.all("img"))
    assert any(e["alt"] == f"{ODD}, crop, LR" for e in page.all("img"))


# === Pictures ===


def sections(page, name):
    """The files of one image by what they show."""
    return {e["alt"].removeprefix(f"{name}, "): e["src"] for e in page.all("img") if e["alt"].startswith(f"{name}, ")}


def test_the_crops_are_the_pixels_of_one_region(written, page, folders):
    files = sections(page, "a.png")
    hr = read_image(folders / "hr" / "a.png")[:120, :140]
    lr = imresize(hr, 1 / 2)
    crops_of = {label: read_image(written[0] / files[f"crop, {label}"]) for label in ("LR", "bicubic", "others", "HR")}
    left, top = map(int, re.findall(r"[xy] = (\d+)", page.text)[:2])
    box = np.s_[top : top + 96, left : left + 96]
    assert np.array_equal(crops_of["HR"], hr[box])
    assert np.array_equal(crops_of["bicubic"], imresize(lr, 2)[box])
    assert np.array_equal(crops_of["others"], read_image(folders / "sr" / "a.png")[box])
    assert np.array_equal(crops_of["LR"], lr[top // 2 : top // 2 + 48, left // 2 : left // 2 + 48])


def test_the_error_map_is_the_error_times_the_gain_that_is_told(written, page):
    files = sections(page, "a.png")
    sr, hr = (read_image(written[0] / files[f"crop, {label}"]) for label in ("others", "HR"))
    gain = int(re.search(r"gain ×(\d+)", page.text)[1])  # noqa: RUF001
    shown = read_image(written[0] / files["errors of others"])
    assert np.array_equal(shown, crops.in_color(crops.error(sr, hr, "benchmark"), gain))
    assert f"{255 / gain:.0f} or more" in page.text


def test_two_runs_write_the_same_pictures(written, folders, tmp_path):
    write_report(tmp_path / "again", {}, folders / "hr", 2, sr={"others": folders / "sr"})
    write_report(tmp_path / "once more", {}, folders / "hr", 2, sr={"others": folders / "sr"})
    for path in (tmp_path / "again" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "once more" / "images" / path.name).read_bytes()


def test_models_of_similar_names_get_files_of_their_own(folders, tmp_path):
    sr = dict.fromkeys(("A b", "a_B", "lr", "hr", "é", "ü", "x" * 300, "x" * 301), folders / "sr")
    write_report(tmp_path / "r", {}, folders / "hr" / "a.png", 2, sr=sr)
    assert len(list((tmp_path / "r" / "images").iterdir())) == 3 + 3 * (1 + len(sr))


# === The folder ===


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_holds_something_is_left_as_it_is(folders, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    with pytest.raises(ValueError, match="is not empty"):
        write_report(tmp_path / "mine", {}, folders / "hr", 2)
    with pytest.raises(ValueError, match="never overwritten"):
        write_report(tmp_path / "mine", {}, folders / "hr", 2, overwrite=True)
    assert (tmp_path / "mine" / "index.html").read_text() == "my page"
    with pytest.raises(ValueError, match="is a file"):
        write_report(tmp_path / "mine" / "index.html", {}, folders / "hr", 2, overwrite=True)


def test_a_report_is_replaced_only_when_told(folders, tmp_path):
    target = tmp_path / "r"
    target.mkdir()
    write_report(target, {}, folders / "hr" / "a.png", 2)
    with pytest.raises(ValueError, match="is not empty"):
        write_report(target, {}, folders / "hr", 2)
    write_report(target, {}, folders / "hr", 2, overwrite=True)
    assert len(Page(target / "index.html").all("input")) == 3
    assert left(tmp_path) == ["r"]
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="never overwritten"):
        write_report(target, {}, folders / "hr", 2, overwrite=True)


@pytest.mark.parametrize("existed", [False, True])
def test_a_report_that_fails_leaves_what_was_there(folders, tmp_path, existed):
    before = []
    if existed:
        write_report(tmp_path / "r", {}, folders / "hr" / "a.png", 2)
        before = [path.read_bytes() for path in sorted((tmp_path / "r").rglob("*.*"))]

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path / "r", {}, folders / "hr", 2, overwrite=True, progress=stop)
    assert left(tmp_path) == (["r"] if existed else [])
    assert [path.read_bytes() for path in sorted((tmp_path / "r").rglob("*.*"))] == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name must be text")
def test_a_name_that_is_no_text_is_no_obstacle(tmp_path):
    (tmp_path / "hr").mkdir()
    name = os.fsdecode(b"\xff\xfe.png")
    write_image(tmp_path / "hr" / name, photo(40, 40))
    results = write_report(tmp_path / "r", {}, tmp_path / "hr", 2)
    assert results["bicubic"]["images"][0]["name"] == name
    assert "??.png" in Page(tmp_path / "r" / "index.html").all("a")[0]["text"]


# === Refusals ===


def test_an_sr_image_of_another_size_is_named(folders, tmp_path):
    (tmp_path / "sr").mkdir()
    write_image(tmp_path / "sr" / "a.png", photo(100, 100))
    with pytest.raises(ValueError, match=r"hr/a\.png and .*sr/a\.png: .*the same shape"):
        write_report(tmp_path / "r", {}, folders / "hr" / "a.png", 2, sr={"s": tmp_path / "sr"})
    assert left(tmp_path) == ["sr"]


def test_labels_must_differ(folders, tmp_path):
    with pytest.raises(ValueError, match="needs its own label"):
        write_report(tmp_path / "r", {}, folders / "hr", 2, sr={"bicubic": folders / "sr"})


def test_a_self_ensemble_needs_a_network(folders, tmp_path):
    with pytest.raises(ValueError, match="`self_ensemble`"):
        write_report(tmp_path / "r", {"bicubic": "bicubic"}, folders / "hr", 2, self_ensemble=True)


def test_a_self_ensemble_is_of_the_network_and_is_told(folders, network, tmp_path):
    hr = folders / "hr" / "a.png"
    results = write_report(tmp_path / "r", {"net": network}, hr, 2, self_ensemble=True)
    assert results == {"bicubic": evaluate("bicubic", hr, 2), "net": evaluate(network, hr, 2, self_ensemble=True)}
    assert "self-ensemble" in (tmp_path / "r" / "index.html").read_text("utf-8")


# === Names ===


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["edsr_compact_x2"], ["edsr_compact_x2"]),
        (["models/a.keras", "models/b.keras"], ["a.keras", "b.keras"]),
        (["RUN/best.keras"], ["RUN/best.keras"]),
        (["best.keras"], ["best.keras"]),
        (["x/one/m.keras", "x/two/m.keras", "n.keras"], ["one/m.keras", "two/m.keras", "n.keras"]),
        (["m.keras", "x/m.keras", "y/x/m.keras"], ["m.keras", "x/m.keras", "y/x/m.keras"]),
        (["m.keras", "./m.keras"], ["m.keras", "m.keras"]),
    ],
)
def test_models_are_called_by_as_much_of_their_path_as_tells_them_apart(paths, names):
    assert short_names(map(Path, paths)) == [str(Path(name)) for name in names]


# === What it is made of ===


def test_a_report_without_networks_does_not_import_tensorflow(folders, tmp_path):
    code = (
        "import sys\n"
        "from keras_edsr.evaluation import write_report\n"
        f"write_report({str(tmp_path / 'r')!r}, {{}}, {str(folders / 'hr' / 'a.png')!r}, 2)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_the_templates_go_into_the_wheel():
    project = Path(report.__file__).parents[2] / "pyproject.toml"
    if not project.is_file():
        pytest.skip("the package is not tested in its tree")
    assert '"evaluation/templates/*"' in project.read_text()
