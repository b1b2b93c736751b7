"""The reader of PyTorch's files: what it reads, and that nothing else ever happens than a reading or a refusal."""

import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import TORCH_CHECKPOINTS
from torch_pickles import MAGIC, ONE_TENSOR, SYSTEM, VALUES, legacy, number, protocol_2, state, storage, tensor, text

from keras_edsr.checkpoints import CheckpointError
from keras_edsr.checkpoints.description import open_checkpoint
from keras_edsr.checkpoints.layouts import shapes
from keras_edsr.checkpoints.pickles import MAX_OPCODES
from keras_edsr.checkpoints.reader import parse, read_file
from keras_edsr.checkpoints.tensors import DTYPES, Tensor
from keras_edsr.checkpoints.writer import write_torch_zip
from keras_edsr.network import Network

# === Files made by hand ===


def zipped(pickled=ONE_TENSOR, entries=None, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    entries = {"data/0": VALUES.tobytes(), "version": b"3\n"} if entries is None else entries
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in ({"data.pkl": pickled} | entries).items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def safetensors(header, values=bytes(VALUES)):
    header = header if isinstance(header, bytes) else repr(header).replace("'", '"').encode()
    return struct.pack("<Q", len(header)) + header + values


ONE_ENTRY = {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}


def refusal(data):
    with pytest.raises(CheckpointError) as caught:
        parse(data)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


# === What is read ===


@pytest.mark.parametrize("data", [zipped(), legacy(), safetensors(ONE_ENTRY)], ids=["zip", "legacy", "safetensors"])
def test_three_formats_give_the_same_tensor(data):
    _, tree = parse(data)
    np.testing.assert_array_equal(tree["w"].read(), VALUES.reshape(2, 3))


@pytest.mark.parametrize("make", [zipped, legacy])
def test_strides_offset_and_shared_storage_are_honoured(make):
    views = {
        "transposed": tensor(storage(6), (3, 2), (1, 3)),
        "column": tensor(storage(6), (2,), (3,), offset=1),
        "scalar": tensor(storage(6), (), (), offset=5),
        "empty": tensor(storage(6), (0, 3), (3, 1)),
    }
    _, tree = parse(make(protocol_2(state(**views))))
    np.testing.assert_array_equal(tree["transposed"].read(), VALUES.reshape(2, 3).T)
    np.testing.assert_array_equal(tree["column"].read(), [1, 4])
    np.testing.assert_array_equal(tree["scalar"].read(), 5)
    assert tree["scalar"].read().shape == ()
    assert tree["empty"].read().shape == (0, 3)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("Double", "<f8"),
        ("Half", "<f2"),
        ("Long", "<i8"),
        ("Int", "<i4"),
        ("Short", "<i2"),
        ("Char", "i1"),
        ("Bool", "?"),
    ],
)
def test_types_are_read(kind, dtype):
    values = np.array([0, 1, 1, 0, 1, 0], dtype)
    pickled = protocol_2(state(w=tensor(storage(6, kind=kind.encode() + b"Storage"))))
    _, tree = parse(zipped(pickled, {"data/0": values.tobytes()}))
    assert tree["w"].read().dtype == values.dtype
    np.testing.assert_array_equal(tree["w"].read(), values.reshape(2, 3))


def test_bfloat16_is_read_exactly():
    values = np.array([1, -2.5, 3e38, 1e-38, 0, np.inf], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    pickled = protocol_2(state(w=tensor(storage(6, kind=b"BFloat16Storage"))))
    _, tree = parse(zipped(pickled, {"data/0": halves.tobytes()}))
    np.testing.assert_array_equal(tree["w"].read().view(np.uint32).ravel(), halves.astype(np.uint32) << 16)


def test_a_part_of_a_storage_as_old_pytorch_wrote_is_read():
    part = b"(" + text("1") + number(2) + number(4) + b"t"
    _, tree = parse(legacy(protocol_2(state(w=tensor(storage(6, part=part), (2, 2), (2, 1))))))
    np.testing.assert_array_equal(tree["w"].read(), [[2, 3], [4, 5]])


def test_python_2_strings_and_ordered_dicts_are_read():
    name = b"U\x01w"
    pickled = protocol_2(b"ccollections\nOrderedDict\n(](](", name, tensor(storage(6)), b"eetR")
    _, tree = parse(legacy(pickled))
    np.testing.assert_array_equal(tree["w"].read(), VALUES.reshape(2, 3))


def test_what_lies_beside_the_weights_is_passed_over():
    pickled = protocol_2(
        b"}(", text("args"), b"cargparse\nNamespace\n)\x81}", text("lr"), b"G?\x1a6\xe2\xeb\x1cC-sb",
        text("state"), b"}(K\x07", tensor(storage(6)), b"u", text("none"), b"N", b"u",
    )  # fmt: skip
    _, tree = parse(zipped(pickled))
    assert tree["none"] is None
    assert isinstance(tree["state"][7], Tensor)


@pytest.mark.parametrize(
    "name", sorted(path.name for path in TORCH_CHECKPOINTS.iterdir() if path.suffix != ".npz" and path.suffix != ".png")
)
def test_files_that_pytorch_wrote_are_read_without_it(name):
    before = set(sys.modules)
    tensors, description = open_checkpoint(TORCH_CHECKPOINTS / name)
    assert not any(module.split(".")[0] == "torch" for module in set(sys.modules) - before)
    assert set(shapes(description.network, description.layout)) <= set(tensors)
    assert description.file_format == (
        "safetensors" if name.endswith("safetensors") else "torch-legacy" if "legacy" in name else "torch"
    )
    for tensor_ in tensors.values():
        assert np.isfinite(tensor_.read()).all()


def test_the_two_formats_of_one_network_hold_the_same():
    (new, _), (old, _) = (open_checkpoint(TORCH_CHECKPOINTS / name) for name in ("mdsr.pt", "mdsr_legacy.pt"))
    assert list(new) == list(old)
    for name in new:
        np.testing.assert_array_equal(new[name].read(), old[name].read())


# === Malice ===


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Stated:
    def __reduce__(self):
        return dict, (), {"x": 1}, None, iter([("k", Call(os.mkdir, "made-by-a-pickle"))])


MALICE = {
    "os.mkdir": Call(os.mkdir, "made-by-a-pickle"),
    "os.system": Call(os.system, "mkdir made-by-a-pickle"),
    "eval": Call(eval, "__import__('os').mkdir('made-by-a-pickle')"),
    "exec": Call(exec, "import os; os.mkdir('made-by-a-pickle')"),
    "import": Call(__import__, "antigravity"),
    "getattr": Call(getattr, Call(__import__, "os"), "mkdir"),
    "nested": {"state_dict": {"head.0.weight": [1, (2, {"x": Call(os.mkdir, "made-by-a-pickle")})]}},
    "state": Stated(),
    "pickle in a pickle": Call(pickle.loads, pickle.dumps(Call(os.mkdir, "made-by-a-pickle"))),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("make", [zipped, legacy])
@pytest.mark.parametrize("name", MALICE)
def test_a_pickle_that_calls_anything_is_refused_and_calls_nothing(name, make, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    imported = set(sys.modules)
    message = refusal(make(pickle.dumps(MALICE[name], protocol)))
    assert "keras_edsr did not run it" in message or "opcode" in message
    assert list(tmp_path.iterdir()) == []
    assert "antigravity" not in set(sys.modules) - imported


@pytest.mark.parametrize("place", range(5))
def test_every_pickle_of_a_legacy_file_is_read_without_trust(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = [pickle.dumps(value, 2) for value in (MAGIC, 1001, SYSTEM)] + [ONE_TENSOR, pickle.dumps(["0"], 2)]
    parts[place] = pickle.dumps(MALICE["os.mkdir"], 2)
    assert "mkdir" in refusal(b"".join(parts) + struct.pack("<q", 6) + VALUES.tobytes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "pickled",
    [
        protocol_2(b"cos\nsystem\n"),
        protocol_2(b"ctorch.hub\nload\n"),
        protocol_2(b"ctorch\nload\n(", text("x"), b"tR"),
        protocol_2(b"c__builtin__\neval\n(", text("1"), b"tR"),
        protocol_2(b"(", text("1"), b"i__builtin__\neval\n"),
        protocol_2(b"(cos\nsystem\n", text("true"), b"o"),
        b"\x80\x04" + b"\x8c\x0bcollections\x8c\x15OrderedDict.__class__\x93.",
        b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93.",
        protocol_2(b"\x82\x01"),
        protocol_2(b"ctorch\nFloatStorage\n", number(1), b"\x85R"),
        protocol_2(b"ccollections\nOrderedDict\n", b"}", text("fromkeys"), b"K\x01sb"),
        protocol_2(text("not a name"), b")R"),
        protocol_2(b"ccollections\nOrderedDict\n", text("no list"), b"\x85R"),
        protocol_2(state(w=tensor(storage(6, kind=b"Size")))),
        b"\x80\x04K\x01K\x02\x93.",
        protocol_2(b"}", text("__class__"), b"K\x01sK\x02b", b")R"),
    ],
)
@pytest.mark.parametrize("make", [zipped, legacy])
def test_names_and_opcodes_off_the_list_are_refused(pickled, make):
    assert refusal(make(pickled))


@pytest.mark.parametrize(
    "pickled",
    [
        protocol_2(b"B" + struct.pack("<I", 2**32 - 1)),
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62),
        protocol_2(b"X" + struct.pack("<I", 2**31)),
        protocol_2(state(w=tensor(storage(2**39)))),
        protocol_2(state(w=tensor(storage(2**62)))),
        protocol_2(state(w=tensor(storage(-6)))),
        protocol_2(state(w=tensor(storage(6), (2**20, 2**20), (0, 0)))),
        protocol_2(state(w=tensor(storage(6), (2**20, 2**20), (1, 1)))),
        protocol_2(state(w=tensor(storage(6), (2, 3), (-3, 1)))),
        protocol_2(state(w=tensor(storage(6), (2, 3), (3, 1), offset=1))),
        protocol_2(state(w=tensor(storage(6), (2, 3), (3, 1), offset=-1))),
        protocol_2(state(w=tensor(storage(6), (1,) * 9, (1,) * 9))),
        protocol_2(state(w=tensor(storage(6), (2, 3), (3,)))),
        protocol_2(state(w=tensor(storage(6, part=b"(" + text("1") + number(4) + number(4) + b"t")))),
        protocol_2(state(a=tensor(storage(6)), b=tensor(storage(5), (5,), (1,)))),
        protocol_2(state(a=tensor(storage(6)), b=tensor(storage(6, kind=b"HalfStorage")))),
    ],
)
@pytest.mark.parametrize("make", [zipped, legacy])
def test_declared_sizes_that_are_not_there_are_refused_before_memory_is_taken(pickled, make):
    data = make(pickled)
    refusal(data)  # imports what it needs
    tracemalloc.start()
    refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_a_large_memo_index_takes_no_memory():
    tracemalloc.start()
    parse(zipped(protocol_2(state(w=tensor(storage(6))), b"r" + struct.pack("<I", 2**32 - 1))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


BOMBS = {
    "marks": b"(" * 200,
    "opcodes": b"N" * (MAX_OPCODES + 1),
    "tuples nested as a key": b"}" + b")" + b"\x85" * 100_000 + b"Ns",
    "one list made a dict a thousand times": (
        b"ccollections\nOrderedDict\nq\x00](" + (text("k") + b"N\x86") * 10_000 + b"e\x85q\x01" + b"h\x00h\x01R" * 1000
    ),
    "stack underflow": b"0" * 3 + b"R",
    "no mark": b"t",
    "no memo": b"h\x07",
    "five thousand digits": b"\x8b" + struct.pack("<I", 5000) + b"\x7f" * 5000,
    "name without an end": b"c" + b"a" * 1000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_grow_or_nest_without_bound_are_refused(name):
    refusal(zipped(protocol_2(BOMBS[name])))


def test_a_dict_that_holds_itself_is_refused(tmp_path):
    path = tmp_path / "loop.pt"
    path.write_bytes(zipped(protocol_2(b"}q\x00", text("state_dict"), b"h\x00s")))
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


def test_tensors_that_share_their_values_cannot_make_a_network_larger_than_the_file(tmp_path):
    path = tmp_path / "shared.pt"
    state_ = {
        name: np.ones(tensor_.shape, np.float32)
        for name, tensor_ in open_checkpoint(TORCH_CHECKPOINTS / "edsr_x2.pt")[0].items()
    }
    largest = max(state_.values(), key=np.size)
    views = {
        name: tensor(storage(largest.size), a.shape, [int(np.prod(a.shape[i + 1 :])) for i in range(a.ndim)])
        for name, a in state_.items()
    }
    path.write_bytes(zipped(protocol_2(state(**views)), {"data/0": largest.tobytes()}))
    with pytest.raises(CheckpointError, match="overlap"):
        open_checkpoint(path)


def test_more_tensors_than_any_network_has_are_refused(monkeypatch):
    views = {f"w{i}": tensor(storage(6)) for i in range(4)}
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    for module in ("pickles", "safetensors"):
        monkeypatch.setattr(f"keras_edsr.checkpoints.{module}.MAX_TENSORS", 3)
    assert "more than 3 tensors" in refusal(zipped(protocol_2(state(**views))))
    assert "more than 3 tensors" in refusal(safetensors(dict.fromkeys(views, entry), b""))


def test_a_pickle_or_a_file_over_the_cap_is_refused(monkeypatch, tmp_path):
    assert "too large" in refusal(zipped(ONE_TENSOR[:-1] + b"C" + bytes(5 * 2**20)))
    (tmp_path / "x.pt").write_bytes(zipped())
    monkeypatch.setattr("keras_edsr.checkpoints.reader.MAX_FILE_BYTES", 100)
    with pytest.raises(CheckpointError, match="larger than"):
        read_file(tmp_path / "x.pt")


# === Odd archives ===


def test_compressed_entries_are_refused_unopened():
    entries = {"data/0": VALUES.tobytes(), "bomb": bytes(10**7)}
    data = zipped(entries=entries, compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    assert "compressed" in refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("name", ["../x", "../../etc/passwd", "./x", "a//b", "a\0b", ".."])
def test_entries_with_paths_that_lead_elsewhere_are_refused(name):
    file = io.BytesIO(zipped())
    with zipfile.ZipFile(file, "a") as archive:
        info = zipfile.ZipInfo("archive/x")
        info.filename = f"archive/{name}/z"
        archive.writestr(info, b"")
    assert "odd path" in refusal(file.getvalue())


def test_an_absolute_path_is_refused():
    file = io.BytesIO(zipped())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("/etc/x", b"")
    assert "odd path" in refusal(file.getvalue())


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/passwd", "", "a/b", "..", "1\n"])
def test_a_storage_key_is_no_path(key):
    refusal(zipped(protocol_2(state(w=tensor(storage(6, key=key))))))


def test_two_entries_of_one_name_are_refused():
    file = io.BytesIO(zipped())
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", VALUES[::-1].tobytes())
    assert "two entries" in refusal(file.getvalue())


def test_a_damaged_value_is_found_by_its_check_sum():
    data = bytearray(zipped())
    data[data.index(VALUES.tobytes()) + 5] ^= 1
    assert "checksum" in refusal(bytes(data))


def test_a_check_sum_of_zero_is_none():
    data = bytearray(zipped())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        crc = struct.pack("<I", archive.getinfo("archive/data/0").CRC)
    _, tree = parse(bytes(data).replace(crc, bytes(4)))
    np.testing.assert_array_equal(tree["w"].read(), VALUES.reshape(2, 3))


@pytest.mark.parametrize("field", [20, 24])
def test_an_entry_longer_than_the_file_is_refused(field):
    data = bytearray(zipped())
    entry = data.rindex(b"archive/data/0") - 46  # in the list at the end
    data[entry + field : entry + field + 4] = struct.pack("<I", 2**31)
    refusal(bytes(data))


def test_a_list_of_entries_that_is_too_long_is_refused():
    data = bytearray(zipped())
    end = data.rindex(b"PK\x05\x06")
    padding = bytes(3 * 2**20)
    data[end + 12 : end + 16] = struct.pack("<I", len(padding))
    assert "too long" in refusal(bytes(data[:end] + padding + data[end:]))


# === Odd files ===


def test_big_endian_files_are_refused():
    entries = {"data/0": VALUES.tobytes(), "byteorder": b"big"}
    assert "big-endian" in refusal(zipped(entries=entries))
    assert "big-endian" in refusal(legacy(system=SYSTEM | {"little_endian": False}))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b\x08", "unpack"),
        (bytes(257) + b"ustar\x0000", "unpack"),
        (b"what is this", "not a checkpoint"),
        (zipped(entries={"code/x.py": b"", "constants.pkl": b"x"}), "TorchScript"),
        (pickle.dumps({"a": 1}, 2), "not one that torch.save wrote"),
        (legacy(magic=1), "not one that torch.save wrote"),
        (legacy(version=1000), "version"),
        (legacy(keys=("0", "1")), "without a tensor"),
        (legacy(keys=("0", "0")), "twice"),
        (legacy(keys=()), "no storage 0"),
        (legacy(stored=b""), "cut off"),
        (legacy(stored=struct.pack("<q", 5) + VALUES.tobytes()), "length"),
        (zipped(entries={}), "no storage 0"),
        (zipped(entries={"data/0": b"123"}), "declares 6 values"),
        (b"PK\x03\x04", "damaged zip"),
        (b"PK\x05\x06" + bytes(18), "not one that torch.save wrote"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_its_name(data, says):
    assert says in refusal(data)


def test_a_keras_file_is_recognized():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    assert "Keras" in refusal(file.getvalue())


@pytest.mark.parametrize("beginning", [b"\x80\x00", b"PK"])
def test_a_header_as_long_as_another_format_begins_is_safetensors(beginning):
    length = int.from_bytes(beginning, "little")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    kind, tree = parse(struct.pack("<Q", length) + header + struct.pack("<f", 2.5))
    assert kind == "safetensors"
    assert tree["w"].read() == [2.5]


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b"{", b""),
        (b"{}", b"rest"),
        (b"{[]}", b""),
        (b'{"__metadata__":{}}', b"rest"),
        (b'{"a":' + b"[" * 100_000, b""),
        (b"{" + b'"w":1' + b"}", b""),
        (b'{"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"w":1}', VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "shape": [3, 3]}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "shape": [-2, -3]}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "shape": [2.0, 3.0]}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "dtype": "F8_E4M3"}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "data_offsets": [0, 10**30]}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "data_offsets": [24, 0]}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "data_offsets": [-24, 0]}}, VALUES.tobytes()),
        ({"w": {**ONE_ENTRY["w"], "data_offsets": [4, 28]}}, bytes(28)),
        ({"a": ONE_ENTRY["w"], "b": ONE_ENTRY["w"]}, VALUES.tobytes()),
        (ONE_ENTRY, VALUES.tobytes()[:-1]),
        (ONE_ENTRY, VALUES.tobytes() + b"x"),
    ],
)
def test_safetensors_whose_header_and_bytes_disagree_are_refused(header, values):
    refusal(safetensors(header, values))


def test_a_header_longer_than_the_file_is_refused():
    assert "header" in refusal(struct.pack("<Q", 2**63) + b"{}")


def test_a_name_from_the_file_cannot_write_to_the_terminal():
    message = refusal(zipped(protocol_2(b"cos\x1b[31m\nsystem\r\n")))
    assert message.isprintable()


def test_paths_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing.pt", "a\0b"):
        with pytest.raises(CheckpointError):
            read_file(path)


# === Anything else ===


def small_network():
    expected = shapes(Network("EDSR", (2,), 1, 1), "edsr-pytorch")
    return {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(expected.items())}


def seeds():
    state_ = small_network()
    file = io.BytesIO()
    write_torch_zip(file, state_)
    with zipfile.ZipFile(file) as archive:
        pickled = archive.read("archive/data.pkl")
    stored = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in state_.values())
    old = legacy(pickled, [str(i) for i in range(len(state_))], stored)
    header, end = {}, 0
    for name, array in state_.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    return {
        "torch": file.getvalue(),
        "torch-legacy": old,
        "safetensors": safetensors(header, b"".join(array.tobytes() for array in state_.values())),
        "pickle": pickled,
    }


SEEDS = seeds()

changes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 2**16), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), st.integers(0, 2**16), st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("delete"), st.integers(0, 2**16), st.integers(1, 100)),
        st.tuples(st.just("copy"), st.integers(0, 2**16), st.integers(0, 2**16)),
        st.tuples(st.just("cut"), st.integers(0, 2**16), st.just(0)),
    ),
    min_size=1,
    max_size=4,
)


def changed(data, edits):
    data = bytearray(data)
    for kind, where, what in edits:
        where %= len(data) + 1
        if kind == "set":
            data[where : where + len(what)] = what
        elif kind == "insert":
            data[where:where] = what
        elif kind == "delete":
            del data[where : where + what]
        elif kind == "copy":
            start = what % (len(data) + 1)
            data[where:where] = data[start : start + 60]
        else:
            del data[where:]
    return bytes(data)


def read_or_refuse(data, folder):
    path = folder / "fuzz.pt"
    path.write_bytes(data)
    try:
        tensors, found = open_checkpoint(path)
    except CheckpointError as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    for name, shape in shapes(found.network, found.layout).items():
        values = tensors[name].read()
        assert values.shape == shape
        assert values.dtype == (
            np.float32
            if tensors[name].dtype == "bfloat16"
            else bool
            if tensors[name].dtype == "bool"
            else DTYPES[tensors[name].dtype]
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", ["torch", "torch-legacy", "safetensors"])
def test_the_seeds_of_the_fuzzing_are_read(name):
    assert parse(SEEDS[name])[0] == name


@pytest.mark.parametrize("name", ["torch", "torch-legacy", "safetensors"])
@given(edits=changes)
@settings(max_examples=250, deadline=None)
def test_a_changed_file_is_read_or_refused(name, edits, folder):
    read_or_refuse(changed(SEEDS[name], edits), folder)


@given(edits=changes)
@settings(max_examples=250, deadline=None)
def test_a_changed_pickle_in_a_sound_archive_is_read_or_refused(edits, folder):
    with zipfile.ZipFile(io.BytesIO(SEEDS["torch"])) as archive:
        entries = {i.filename.removeprefix("archive/"): archive.read(i) for i in archive.infolist()[1:]}
    read_or_refuse(zipped(changed(SEEDS["pickle"], edits), entries), folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "torch-legacy", "safetensors"])
@given(edits=changes)
@settings(max_examples=5000, deadline=None)
def test_five_thousand_changed_files_are_read_or_refused(name, edits, folder):
    read_or_refuse(changed(SEEDS[name], edits), folder)


@given(data=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data, folder):
    for start in (b"", b"\x80\x02", b"PK\x03\x04", pickle.dumps(MAGIC, 2), legacy()[:100]):
        read_or_refuse(start + data, folder)
