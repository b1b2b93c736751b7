"""PyTorch's files, written opcode by opcode."""

import pickle
import struct

import numpy as np


def protocol_2(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def storage(count, key="0", kind=b"FloatStorage", module=b"torch", part=b""):
    return (
        b"("
        + text("storage")
        + b"c"
        + module
        + b"\n"
        + kind
        + b"\n"
        + text(key)
        + text("cpu")
        + number(count)
        + part
        + b"tQ"
    )


def tensor(stored, shape=(2, 3), stride=(3, 1), offset=0, function=b"_rebuild_tensor_v2"):
    sides, steps = (b"(" + b"".join(map(number, values)) + b"t" for values in (shape, stride))
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n" + function + b"\n(" + stored + number(offset) + sides + steps + b"\x89" + hooks + b"tR"


def state(**values):
    items = b"".join(text(name) + value for name, value in values.items())
    return b"ccollections\nOrderedDict\n)R(" + items + b"u"


VALUES = np.arange(6, dtype="<f4")


SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


MAGIC = 0x1950A86A20F9469CFC6C


ONE_TENSOR = protocol_2(state(w=tensor(storage(6))))


def legacy(pickled=ONE_TENSOR, keys=("0",), stored=None, magic=MAGIC, version=1001, system=SYSTEM):
    head = b"".join(pickle.dumps(value, 2) for value in (magic, version, system))
    stored = struct.pack("<q", 6) + VALUES.tobytes() if stored is None else stored
    return head + pickled + pickle.dumps(list(keys), 2) + stored
