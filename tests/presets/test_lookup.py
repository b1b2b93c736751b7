import hashlib
import http.server
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_edsr.checkpoints.layouts import shapes
from keras_edsr.checkpoints.writer import write_torch_zip
from keras_edsr.network import Network, count_parameters
from keras_edsr.presets import find_model, how_to_get, locate, official, preset_names, read_config, weights_folder

NAMES = ["edsr_baseline_x2", "edsr_baseline_x3", "edsr_baseline_x4", "edsr_x2", "edsr_x3", "edsr_x4"]
NAMES += ["mdsr_baseline", "mdsr"]
TINY = Network("EDSR", (2,), 1, 4)


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """The user's weights folder, not made yet; and nothing ships."""
    monkeypatch.setattr("keras_edsr.presets.lookup.SHIPPED", tmp_path / "nothing ships")
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def tiny(monkeypatch):
    """Makes a published network small, so that its files are."""

    def shrink(name="edsr_baseline_x2", **changes):
        small = replace(official.OFFICIAL[name], network=TINY, **changes)
        monkeypatch.setitem(official.OFFICIAL, name, small)
        return small

    return shrink


def checkpoint(path, network=TINY):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        expected = shapes(network, "edsr-pytorch")
        write_torch_zip(file, {name: np.zeros(shape, np.float32) for name, shape in expected.items()})
    return path


def write_config(folder, class_name="EDSR", **about):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"class_name": class_name, "config": {}, **about}))
    return folder


# === What was published ===


def test_the_published_presets_are_there():
    assert list(official.OFFICIAL) == NAMES


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *(("edsr_baseline_x2", 1_369_859), ("edsr_baseline_x3", 1_554_499), ("edsr_baseline_x4", 1_517_571)),
        *(("edsr_x2", 40_729_603), ("edsr_x3", 43_680_003), ("edsr_x4", 43_089_923)),
        *(("mdsr_baseline", 3_227_203), ("mdsr", 7_953_987)),
    ],
)
def test_a_published_network_has_the_published_size(name, parameters):
    assert count_parameters(official.OFFICIAL[name].network) == parameters


def test_the_files_have_the_names_they_are_known_by():
    assert official.OFFICIAL["edsr_baseline_x3"].files[:4] == (
        "edsr_baseline_x3-abf2a44e.pt",
        "edsr64_x3.pt",
        "EDSR_baseline_x3.pt",
        "EDSR_Mx3_f64b16_DIV2K_official-6908f88a.pth",
    )
    assert official.OFFICIAL["edsr_x4"].files[:4] == (
        "edsr_x4-4f62e9ef.pt",
        "edsr_x4.pt",
        "EDSR_x4.pt",
        "EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth",
    )
    assert official.OFFICIAL["mdsr"].files[:2] == ("mdsr-4a78bedf.pt", "MDSR.pt")


def test_the_mirror_has_edsr_and_not_mdsr():
    place = "https://github.com/Coloquinte/torchSR/releases/download/v1.0.3"
    assert official.OFFICIAL["edsr_baseline_x4"].url == f"{place}/edsr64_x4.pt"
    assert official.OFFICIAL["edsr_x3"].url == f"{place}/edsr_x3.pt"
    assert official.OFFICIAL["mdsr"].url is None


@pytest.mark.parametrize("index", range(7))
def test_a_file_of_the_user_is_found_under_any_name(tiny, weights, index):
    path = checkpoint(weights / tiny().files[index])
    assert find_model("edsr_baseline_x2") == path


def test_the_authors_file_goes_before_others(tiny, weights):
    files = [checkpoint(weights / name) for name in tiny().files[1::-1]]
    assert find_model("edsr_baseline_x2") == files[1]


def test_what_no_mirror_has_is_said_with_what_to_do(weights):
    with pytest.raises(ValueError, match=r"mdsr are not here. No mirror has them: .*mdsr-4a78bedf\.pt") as raised:
        find_model("mdsr")
    assert str(weights) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_how_to_get_weights_is_told():
    assert "are downloaded from https://" in how_to_get(official.OFFICIAL["edsr_x2"])
    assert "MDSR" not in how_to_get(official.OFFICIAL["mdsr"])
    assert "mdsr-4a78bedf.pt" in how_to_get(official.OFFICIAL["mdsr"])


# === Downloads, from a server on this machine ===


class Server:
    """Serves files from a dict, name -> bytes, and counts what was asked for."""

    def __init__(self):
        self.files, self.asked, self.lie = {}, [], 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                server.asked.append(name)
                if name not in server.files:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.files[name]) + server.lie))
                self.end_headers()
                self.wfile.write(server.files[name])

            def log_message(self, *args):
                pass

        self._httpd = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._httpd.server_port}"
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._httpd.shutdown()
        self._thread.join()
        self._httpd.server_close()


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    monkeypatch.setattr(official, "MIRROR", server.url)
    server.files["edsr64_x2.pt"] = checkpoint(tmp_path / "served.pt").read_bytes()
    yield server
    server.close()


def refusal(error=ValueError):
    with pytest.raises(error) as raised:
        find_model("edsr_baseline_x2")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def left(weights):
    return sorted(path.name for path in weights.iterdir())


def test_weights_are_downloaded_once(tiny, mirror, weights):
    tiny()
    path = find_model("edsr_baseline_x2")
    assert path == weights / "edsr64_x2.pt"
    assert path.read_bytes() == mirror.files["edsr64_x2.pt"]
    assert find_model("edsr_baseline_x2") == path
    assert mirror.asked == ["edsr64_x2.pt"]
    assert left(weights) == ["edsr64_x2.pt"]


def test_progress_goes_to_stderr(tiny, mirror, capsys):
    tiny()
    find_model("edsr_baseline_x2")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "%|" in captured.err


def test_without_a_folder_of_the_users_the_cache_takes_them(tiny, mirror, monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_EDSR_WEIGHTS")
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))
    tiny()
    assert find_model("edsr_baseline_x2") == tmp_path / "cache" / "weights" / "edsr64_x2.pt"


@pytest.mark.parametrize("digits", [8, 64])
def test_a_hash_that_is_known_is_checked(tiny, mirror, digits):
    tiny(sha256=hashlib.sha256(mirror.files["edsr64_x2.pt"]).hexdigest()[:digits])
    assert find_model("edsr_baseline_x2").is_file()


def test_a_wrong_hash_is_refused_and_nothing_kept(tiny, mirror, weights):
    tiny(sha256="0badf00d")
    assert "must begin with 0badf00d" in refusal()
    assert left(weights) == []


@pytest.mark.parametrize(
    ("served", "says"),
    [
        (b"<!doctype html><p>Please log in</p>", "it is a web page"),
        (b"", "it is empty"),
        (b"PK\x03\x04 and so on", "damaged zip"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_not_kept(tiny, mirror, weights, served, says):
    tiny()
    mirror.files["edsr64_x2.pt"] = served
    assert says in refusal()
    assert left(weights) == []


def test_weights_of_another_size_are_refused(tiny, mirror, weights, tmp_path):
    tiny()
    mirror.files["edsr64_x2.pt"] = checkpoint(tmp_path / "x3.pt", replace(TINY, scales=(3,))).read_bytes()
    assert "should hold edsr_baseline_x2, EDSR(scale=2, num_blocks=1, filters=4), but holds EDSR(scale=3" in refusal()
    assert left(weights) == []


def test_a_download_that_breaks_off_leaves_nothing_and_may_be_tried_again(tiny, mirror, weights):
    tiny()
    mirror.lie = 1000
    assert "Cannot download the weights of edsr_baseline_x2" in refusal(OSError)
    assert left(weights) == []
    mirror.lie = 0
    assert find_model("edsr_baseline_x2").is_file()


def test_a_missing_file_is_one_line_that_says_what_to_do(tiny, mirror):
    tiny()
    mirror.files.clear()
    message = refusal(OSError)
    assert "404" in message
    assert "Try again; or if you have the authors' file, edsr_baseline_x2-1bc95232.pt, put it into" in message


def test_a_server_that_is_down_is_one_line_and_later_it_works(tiny, mirror, monkeypatch, weights):
    tiny()
    down = Server()
    down.close()
    with monkeypatch.context() as patch:
        patch.setattr(official, "MIRROR", down.url)
        assert "Cannot download the weights of edsr_baseline_x2" in refusal(OSError)
    assert left(weights) == []
    assert find_model("edsr_baseline_x2").is_file()


def test_a_folder_that_cannot_be_written_is_one_line(tiny, mirror, weights):
    tiny()
    weights.write_text("a file")
    assert "Cannot download" in refusal(OSError)


# === Names and places ===


def test_a_name_that_ships_goes_before_the_users_and_the_published(tmp_path, weights, monkeypatch):
    shipped = tmp_path / "shipped"
    monkeypatch.setattr("keras_edsr.presets.lookup.SHIPPED", shipped)
    mine = write_config(weights / "edsr_x2")
    assert locate("edsr_x2") == mine
    ours = write_config(shipped / "edsr_x2")
    assert locate("edsr_x2") == ours
    assert preset_names()[0] == "edsr_x2"
    assert len(preset_names()) == len(NAMES)


def test_a_folder_of_the_user_is_a_preset(weights):
    write_config(weights / "mine")
    assert locate("mine") == weights / "mine"
    assert preset_names() == ["mine", *NAMES]


def test_a_path_leads_to_a_folder(tmp_path, monkeypatch):
    write_config(tmp_path / "here")
    write_config(tmp_path / "mdsr")
    monkeypatch.chdir(tmp_path)
    assert locate("here") == Path("here")
    assert locate("./mdsr") == Path("mdsr")
    assert locate(tmp_path / "mdsr") == tmp_path / "mdsr"
    assert locate("mdsr") is official.OFFICIAL["mdsr"]


@pytest.mark.parametrize("name", ["", ".", "..", "edsr_x5", "a.keras", "no/such", "\0", "EDSR_X2"])
def test_anything_else_is_none(name):
    assert locate(name) is None


def test_a_path_that_is_no_preset_stays_itself():
    assert find_model("some/model.keras") == Path("some/model.keras")


def test_the_weights_folder_is_the_users_own(weights):
    assert weights_folder() == weights


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "{}", '{"class_name": "EDSR"}', '{"class_name": "Sequential", "config": {}}', "[" * 100_000],
)
def test_a_config_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"is not a preset that keras_edsr can load: config\.json: ") as raised:
        read_config(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_config(tmp_path)
