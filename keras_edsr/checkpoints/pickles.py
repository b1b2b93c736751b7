"""Reads the pickles of torch.save without pickle.

A pickle is a program. This is a machine for the part of that language which torch.save writes: it
knows no import and no call. A name is a name, looked up in a list; what `torch` would be called for
is done here, on records. So there is nothing to escape from, and every count is checked before
anything is sized by it.
"""

import pickle
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .tensors import MAX_RANK, MAX_TENSORS, CheckpointError, Storage, Tensor

# Limits for one pickle. That of MDSR with its optimizer's state has 0.1 MB and 30,000 opcodes.
MAX_PICKLE_BYTES = 4 * 2**20
MAX_OPCODES = 500_000
MAX_MARKS = 100
MAX_LINE = 200
_MAX_COUNT = 2**40

_STORAGES = {
    f"{kind}Storage": dtype
    for kind, dtype in {
        "Double": "float64",
        "Float": "float32",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
    }.items()
}
_PARAMETERS = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
}
# Found beside the weights in training checkpoints. They are stepped over, not made.
_PASSED_OVER = {
    "argparse.Namespace",
    "collections.Counter",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "_codecs.encode",
    "torch.device",
    "torch.Size",
}
_ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    *_PARAMETERS,
    *_PASSED_OVER,
    *(f"{module}.{name}" for module in ("torch", "torch.cuda") for name in _STORAGES),
}

_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False}
_EMPTY: dict[bytes, Any] = {pickle.EMPTY_DICT: dict, pickle.EMPTY_LIST: list}
_EMPTY[pickle.EMPTY_TUPLE] = tuple
_NUMBERS = {
    pickle.BININT: "<i",
    pickle.BININT1: "<B",
    pickle.BININT2: "<H",
    pickle.BINFLOAT: ">d",
}
_TEXTS = {
    pickle.BINUNICODE: "<I",
    pickle.SHORT_BINUNICODE: "<B",
    pickle.BINUNICODE8: "<Q",
    pickle.BINSTRING: "<I",  # Python 2's str
    pickle.SHORT_BINSTRING: "<B",
}
_BYTES = {pickle.BINBYTES: "<I", pickle.SHORT_BINBYTES: "<B", pickle.BINBYTES8: "<Q"}
_PUTS = {pickle.BINPUT: "<B", pickle.LONG_BINPUT: "<I"}
_GETS = {pickle.BINGET: "<B", pickle.LONG_BINGET: "<I"}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
_SKIPPED = {pickle.PROTO: 1, pickle.FRAME: 8}


@dataclass(frozen=True)
class Name:
    """A name that the pickle refers to, such as `torch.FloatStorage`; it is on the list."""

    name: str


class PassedOver:
    """Stands for an object that no weights are in."""


@dataclass(frozen=True, eq=False)
class _Slice:
    """What a persistent id stands for: a storage, or (before PyTorch 0.4) a part of one."""

    storage: Storage
    offset: int
    numel: int


def shown(text: str) -> str:
    """A name from a file, fit for one line of a message: short, and without control characters."""
    text = text if len(text) <= 80 else text[:77] + "..."
    return text.encode("unicode_escape", "backslashreplace").decode("ascii")


class PickleReader:
    """Reads pickles one after the other out of the bytes of a file.

    Args:
        data: The bytes.
        position: Integer, where the first pickle begins.

    Attributes:
        position: Where the last pickle that was read ends.
        storages: The storages that were named, by their keys; their bytes are not there yet.
    """

    def __init__(self, data: memoryview, position: int = 0):
        self._data = data
        self.position = position
        self.storages: dict[str, Storage] = {}
        self._num_tensors = 0
        self._num_pairs = 0

    def read(self) -> Any:
        """Returns the next object: dicts, lists, tuples, strings, numbers, `Tensor`, `PassedOver`.

        Raises:
            CheckpointError: If the pickle is damaged, too large, or asks for anything else.
        """
        self._end = min(self.position + MAX_PICKLE_BYTES, len(self._data))
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below each open mark
        self._memo: dict[int, Any] = {}
        for _ in range(MAX_OPCODES):
            opcode = bytes(self._take(1))
            if opcode == pickle.STOP:
                return self._pop()
            self._step(opcode)
        raise CheckpointError("its pickle is too long for a file of weights")

    # === The file ===

    def _take(self, count: int) -> memoryview:
        start, self.position = self.position, self.position + count
        if self.position > self._end:
            raise CheckpointError("its pickle is cut off, damaged or too large for one of weights")
        return self._data[start : self.position]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, count: int) -> str:
        return str(self._take(count), "utf-8", "backslashreplace")

    def _line(self) -> str:
        ahead = bytes(self._data[self.position : min(self.position + MAX_LINE, self._end)])
        line, newline, _ = ahead.partition(b"\n")
        if not newline:
            raise CheckpointError("its pickle is damaged")
        self._take(len(line) + 1)
        return line.decode("utf-8", "backslashreplace")

    # === The stack ===

    def _pop(self) -> Any:
        if not self._stack:
            raise CheckpointError("its pickle is damaged")
        return self._stack.pop()

    def _pop_marked(self) -> list[Any]:
        if not self._marked:
            raise CheckpointError("its pickle is damaged")
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _mark(self) -> None:
        if len(self._marked) == MAX_MARKS:
            raise CheckpointError("its pickle is nested too deeply for one of weights")
        self._marked.append(self._stack)
        self._stack = []

    def _step(self, opcode: bytes) -> None:
        push = self._stack.append
        if opcode in _SKIPPED:
            self._take(_SKIPPED[opcode])
        elif opcode in _CONSTANTS:
            push(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            push(_EMPTY[opcode]())
        elif opcode in _NUMBERS:
            push(self._number(_NUMBERS[opcode]))
        elif opcode == pickle.LONG1:
            push(int.from_bytes(self._take(self._number("<B")), "little", signed=True))
        elif opcode in _TEXTS:
            push(self._text(self._number(_TEXTS[opcode])))
        elif opcode in _BYTES:
            push(bytes(self._take(self._number(_BYTES[opcode]))))
        elif opcode in _PUTS:
            self._memo[self._number(_PUTS[opcode])] = self._top()
        elif opcode in _GETS:
            push(self._remembered(self._number(_GETS[opcode])))
        elif opcode in _TUPLES:
            items = [self._pop() for _ in range(_TUPLES[opcode])]
            push(tuple(reversed(items)))
        else:
            self._step_of_few(opcode)

    def _step_of_few(self, opcode: bytes) -> None:
        match opcode:
            case pickle.MARK:
                self._mark()
            case pickle.TUPLE:
                items = self._pop_marked()
                self._stack.append(tuple(items))
            case pickle.MEMOIZE:
                self._memo[len(self._memo)] = self._top()
            case pickle.APPEND:
                self._append([self._pop()])
            case pickle.APPENDS:
                self._append(self._pop_marked())
            case pickle.SETITEM:
                value, key = self._pop(), self._pop()
                self._set_items([key, value])
            case pickle.SETITEMS:
                self._set_items(self._pop_marked())
            case pickle.GLOBAL:
                module, name = self._line(), self._line()
                self._stack.append(_allowed(module, name))
            case pickle.STACK_GLOBAL:
                name, module = self._pop(), self._pop()
                self._stack.append(_allowed(module, name))
            case pickle.BINPERSID:
                self._stack.append(self._slice(self._pop()))
            case pickle.REDUCE | pickle.NEWOBJ:
                arguments, function = self._pop(), self._pop()
                self._stack.append(self._made(function, arguments))
            case pickle.BUILD:
                self._pop()  # a state dict's _metadata, which says nothing about the weights
                if not isinstance(self._top(), dict | PassedOver):
                    raise CheckpointError("its pickle gives a state to what has none")
            case _:
                raise CheckpointError(f"its pickle has the opcode 0x{opcode.hex()}, which torch.save does not write")

    def _top(self) -> Any:
        if not self._stack:
            raise CheckpointError("its pickle is damaged")
        return self._stack[-1]

    def _remembered(self, index: int) -> Any:
        if index not in self._memo:
            raise CheckpointError("its pickle is damaged")
        return self._memo[index]

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, PassedOver):
            raise CheckpointError("its pickle appends to an object that is not a list")

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, dict):
            _update(target, zip(items[::2], items[1::2], strict=False))
        elif not isinstance(target, PassedOver):
            raise CheckpointError("its pickle sets an item of an object that is not a dict")

    # === What torch would be called for ===

    def _slice(self, pid: Any) -> _Slice:
        match pid:
            case ("storage", Name(name), str(key), str(), count):
                part = None
            case ("storage", Name(name), str(key), str(), count, part):
                pass
            case _:
                raise CheckpointError("it holds something else than tensors (a whole module?)")
        dtype = _STORAGES.get(name.rpartition(".")[2])
        if dtype is None:
            raise CheckpointError("it names a storage that torch does not have")
        storage = self.storages.setdefault(key, Storage(dtype, _count(count)))
        if (storage.dtype, storage.numel) != (dtype, count):
            raise CheckpointError(f"it declares the storage {shown(key)} twice, differently")
        if part is None:
            return _Slice(storage, 0, storage.numel)
        match part:
            case (str(), offset, numel) if _count(offset) + _count(numel) <= storage.numel:
                return _Slice(storage, offset, numel)
        raise CheckpointError(f"it takes a part of the storage {shown(key)} that is not there")

    def _made(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple) or len(arguments) > 8:
            raise CheckpointError("its pickle calls what cannot be called")
        if function.name == "collections.OrderedDict":
            return self._ordered_dict(*arguments[:1])
        if function.name in _PARAMETERS and arguments and isinstance(arguments[0], Tensor):
            return arguments[0]
        if function.name in _PASSED_OVER:
            return PassedOver()
        match arguments:
            case (_Slice() as part, offset, tuple(shape), tuple(stride), *_) if "_rebuild_tensor" in function.name:
                return self._tensor(part, _count(offset), _counts(shape), _counts(stride))
        raise CheckpointError(f"its pickle calls {function.name} with what it does not take")

    def _ordered_dict(self, pairs: Any = None) -> dict[Any, Any]:
        """Python 2 gave an OrderedDict's items in the call, as a list of lists."""
        pairs = [] if pairs is None else pairs
        if not isinstance(pairs, list):
            raise CheckpointError("its pickle makes a dict from an object that is not a list")
        self._num_pairs += len(pairs)  # one list, called with again and again, would be a dict each time
        if self._num_pairs > MAX_OPCODES:
            raise CheckpointError("its pickle is too long for one of weights")
        return _update({}, pairs)

    def _tensor(self, part: _Slice, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        self._num_tensors += 1
        if self._num_tensors > MAX_TENSORS:
            raise CheckpointError(f"it holds more than {MAX_TENSORS} tensors")
        Tensor(Storage(part.storage.dtype, part.numel), offset, shape, stride)  # within its part
        return Tensor(part.storage, part.offset + offset, shape, stride)


def _allowed(module: Any, name: Any) -> Name:
    if isinstance(module, str) and isinstance(name, str):
        full = f"{module}.{name}"
        if full in _ALLOWED:
            return Name(full)
        raise CheckpointError(
            f"it names {shown(full)}, which does not belong in a file of weights; keras_edsr did not run it. "
            "If it is a whole module, save `model.state_dict()` where the module is, and read that"
        )
    raise CheckpointError("its pickle is damaged")


def _update(target: dict[Any, Any], pairs: Iterable[Any]) -> dict[Any, Any]:
    for pair in pairs:
        # Other keys are never written, and a tuple nested a million deep cannot even be hashed.
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and type(pair[0]) in (str, int)):
            raise CheckpointError("it holds a dict whose keys are neither strings nor integers")
        target[pair[0]] = pair[1]
    return target


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise CheckpointError("it declares a size that is not valid")
    return value


def _counts(values: tuple[Any, ...]) -> tuple[int, ...]:
    if len(values) > MAX_RANK:
        raise CheckpointError(f"it holds a tensor of more than {MAX_RANK} dimensions")
    return tuple(_count(value) for value in values)
