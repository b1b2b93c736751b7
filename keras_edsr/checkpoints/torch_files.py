"""The two formats of torch.save: a zip archive since PyTorch 1.6, pickles and storages before."""

import io
import re
import struct
import zipfile
import zlib
from typing import Any

from .pickles import MAX_PICKLE_BYTES, PickleReader, shown
from .tensors import DTYPES, CheckpointError, Storage

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

# Limit for the list of a zip's entries; that of 10,000 tensors has 1 MB.
MAX_DIRECTORY_BYTES = 2 * 2**20


def read_torch_zip(data: bytes) -> Any:
    """Reads what torch.save writes since PyTorch 1.6.

    Args:
        data: The bytes of the file.

    Returns:
        The saved object, of dicts, lists, tuples, strings, numbers and `Tensor`.

    Raises:
        CheckpointError: If the file is damaged, of another kind, or not safe.
    """
    entries = _list_entries(data)
    view = memoryview(data)
    root = _find_root(entries)
    if entries.get(f"{root}/constants.pkl") or any(n.startswith(f"{root}/code/") for n in entries):
        raise CheckpointError("it is a TorchScript program; save `model.state_dict()` of its module, and read that")
    order = f"{root}/byteorder"
    if order in entries and bytes(_read_entry(view, entries[order])) != b"little":
        raise CheckpointError("it was written on a big-endian machine; save it again on another")
    pickled = _read_entry(view, entries[f"{root}/data.pkl"])
    if len(pickled) > MAX_PICKLE_BYTES:
        raise CheckpointError("its pickle is too large for one of weights")
    reader = PickleReader(pickled)
    tree = reader.read()
    for key, storage in reader.storages.items():
        if not re.fullmatch(r"\w{1,40}", key, re.ASCII) or f"{root}/data/{key}" not in entries:
            raise CheckpointError(f"it has no storage {shown(key)}, which it refers to")
        storage.place(_read_entry(view, entries[f"{root}/data/{key}"]))
    return tree


class _DirectoryFile(io.BytesIO):
    """The file from which zipfile reads the list of entries: of the declared size, up to a limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise CheckpointError("its list of entries is too long for a file of weights")
        return super().read(size)


def _list_entries(data: bytes) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(_DirectoryFile(data)) as archive:
            infos = archive.infolist()
    except CheckpointError:
        raise
    except Exception as error:  # BadZipFile, struct.error, OverflowError, NotImplementedError, ...
        raise CheckpointError("it is a damaged zip archive") from error
    entries = {info.filename: info for info in infos}
    if len(entries) < len(infos):
        raise CheckpointError("it is a zip archive with two entries of one name")
    if "metadata.json" in entries and "config.json" in entries:
        raise CheckpointError("it is a Keras model already")
    for info in infos:
        parts = info.orig_filename.split("/")
        if info.filename != info.orig_filename or {"", ".", ".."} & set(parts[:-1]):
            raise CheckpointError(f"it is a zip archive with the odd path {shown(info.filename)}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise CheckpointError("its entries are compressed, which torch.save never does")
    return entries


def _find_root(entries: dict[str, zipfile.ZipInfo]) -> str:
    roots = [name[: -len("/data.pkl")] for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise CheckpointError("it is a zip archive, but not one that torch.save wrote")
    return roots[0]


def _read_entry(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Returns the bytes of a stored entry where they lie, without a copy."""
    start = info.header_offset
    header = data[start : start + 30] if start >= 0 else b""
    if bytes(header[:4]) != b"PK\x03\x04" or len(header) < 30:
        raise CheckpointError("it is a damaged zip archive")
    name_length, extra_length = struct.unpack("<HH", header[26:])
    start += 30 + name_length + extra_length
    content = data[start : start + info.file_size]
    if not len(content) == info.file_size == info.compress_size:
        raise CheckpointError("it is a zip archive that declares more bytes than it has")
    # A CRC of 0 means none: torch can skip its computation.
    if info.CRC and zlib.crc32(content) != info.CRC:
        raise CheckpointError("it is damaged: an entry does not have the checksum it should")
    return content


def read_torch_legacy(data: bytes) -> Any:
    """Reads the format of torch.save before PyTorch 1.6, which it still writes on request.

    Five pickles (a magic number, a version, the machine's byte order, the object, the order of its
    storages), then each storage: its length in 8 bytes, its values.

    Args:
        data: The bytes of the file.

    Returns:
        As `read_torch_zip`.

    Raises:
        CheckpointError: If `read_torch_zip` raises it.
    """
    view = memoryview(data)
    reader = PickleReader(view)
    if reader.read() != LEGACY_MAGIC:
        raise CheckpointError("it is a pickle, but not one that torch.save wrote")
    version, system = reader.read(), reader.read()
    if version != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise CheckpointError("it is of a version of torch.save that is not known")
    if system.get("little_endian") is not True:
        raise CheckpointError("it was written on a big-endian machine; save it again on another")
    tree = reader.read()
    storages = dict(reader.storages)
    keys = reader.read()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("its list of storages is damaged")
    position = reader.position
    for key in keys:
        if key not in storages:
            raise CheckpointError(f"it holds a storage {shown(key)} twice, or without a tensor")
        position = _place(storages.pop(key), view, position)
    if storages:
        raise CheckpointError(f"it has no storage {shown(next(iter(storages)))}")
    return tree


def _place(storage: Storage, data: memoryview, position: int) -> int:
    start = position + 8
    end = start + storage.numel * DTYPES[storage.dtype].itemsize
    if end > len(data) or int.from_bytes(data[position:start], "little") != storage.numel:
        raise CheckpointError("it is cut off, or a storage has not the length that is declared")
    storage.place(data[start:end])
    return end
