"""A SavedModel in TensorFlow's C++ loader and session, without Python's TensorFlow: python c_session.py FOLDER JOBS.

It is as near to TensorFlow Serving as one comes without its binary, which loads and runs models by the same two.
JOBS is a pickle of a list: (name of the input tensor, array, names of the output tensors) for each request. All are
sent at once, each by a thread of its own. The lists of arrays that come back, or the texts of errors, replace it.
"""

import ctypes
import importlib.util
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

TYPES = {1: np.float32, 4: np.uint8}  # of c_api.h
STRING = 7
STRING_SIZE = 24  # of a TF_TString
OK = 0


class Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def load_library():
    folder = Path(importlib.util.find_spec("tensorflow").submodule_search_locations[0])
    library = ctypes.CDLL(str(next(folder.glob("libtensorflow_cc.so*"))))
    pointers = "NewStatus NewSessionOptions NewGraph LoadSessionFromSavedModel GraphOperationByName AllocateTensor"
    for name in f"{pointers} TensorData StringGetDataPointer".split():
        getattr(library, f"TF_{name}").restype = ctypes.c_void_p
    for name in ("TensorByteSize", "StringGetSize"):
        getattr(library, f"TF_{name}").restype = ctypes.c_size_t
    library.TF_Dim.restype = ctypes.c_int64
    library.TF_Message.restype = ctypes.c_char_p
    return library


class Session:
    """A SavedModel, loaded by TF_LoadSessionFromSavedModel."""

    def __init__(self, export_dir):
        self.c = load_library()
        self.graph = ctypes.c_void_p(self.c.TF_NewGraph())
        options = ctypes.c_void_p(self.c.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        status = ctypes.c_void_p(self.c.TF_NewStatus())
        session = self.c.TF_LoadSessionFromSavedModel(
            options, None, os.fsencode(export_dir), tags, 1, self.graph, None, status
        )
        self.check(status)
        self.session = ctypes.c_void_p(session)

    def check(self, status):
        if self.c.TF_GetCode(status) != OK:
            raise RuntimeError(self.c.TF_Message(status).decode())

    def run(self, input_name, value, output_names):
        """Runs a request of one input; names are of tensors, such as `serving_default_images:0`."""
        outputs = (Output * len(output_names))(*map(self.find, output_names))
        results = (ctypes.c_void_p * len(output_names))()
        status = ctypes.c_void_p(self.c.TF_NewStatus())
        inputs = (ctypes.c_void_p * 1)(self.to_tensor(value))
        self.c.TF_SessionRun(
            self.session,
            None,
            (Output * 1)(self.find(input_name)),
            inputs,
            1,
            outputs,
            results,
            len(output_names),
            None,
            0,
            None,
            status,
        )
        self.c.TF_DeleteTensor(ctypes.c_void_p(inputs[0]))
        self.check(status)
        return [self.to_array(ctypes.c_void_p(result)) for result in results]

    def find(self, name):
        operation, index = name.split(":")
        found = self.c.TF_GraphOperationByName(self.graph, operation.encode())
        if found is None:
            raise RuntimeError(f"no operation {operation}")
        return Output(found, int(index))

    def to_tensor(self, value):
        dims = (ctypes.c_int64 * value.ndim)(*value.shape)
        if value.dtype == object:
            tensor = self.c.TF_AllocateTensor(STRING, dims, value.ndim, ctypes.c_size_t(STRING_SIZE * value.size))
            data = self.c.TF_TensorData(ctypes.c_void_p(tensor))
            for i, text in enumerate(value.ravel()):
                place = ctypes.c_void_p(data + i * STRING_SIZE)
                self.c.TF_StringInit(place)
                self.c.TF_StringCopy(place, text, ctypes.c_size_t(len(text)))
            return tensor
        kind = next(number for number, dtype in TYPES.items() if dtype == value.dtype)
        tensor = self.c.TF_AllocateTensor(kind, dims, value.ndim, ctypes.c_size_t(value.nbytes))
        data = self.c.TF_TensorData(ctypes.c_void_p(tensor))
        value = np.ascontiguousarray(value)
        ctypes.memmove(data, value.ctypes.data, value.nbytes)
        return tensor

    def to_array(self, tensor):
        shape = [self.c.TF_Dim(tensor, i) for i in range(self.c.TF_NumDims(tensor))]
        kind, data = self.c.TF_TensorType(tensor), self.c.TF_TensorData(tensor)
        if kind == STRING:
            places = [ctypes.c_void_p(data + i * STRING_SIZE) for i in range(int(np.prod(shape)))]
            texts = [
                ctypes.string_at(self.c.TF_StringGetDataPointer(place), self.c.TF_StringGetSize(place))
                for place in places
            ]
            return np.array(texts, object).reshape(shape)
        raw = ctypes.string_at(data, self.c.TF_TensorByteSize(tensor))
        array = np.frombuffer(raw, TYPES[kind]).reshape(shape)
        self.c.TF_DeleteTensor(tensor)
        return array


def answer(session, job):
    try:
        return session.run(*job)
    except RuntimeError as error:
        return str(error)


def main(folder, path):
    session = Session(folder)
    jobs = pickle.loads(path.read_bytes())
    with ThreadPoolExecutor(len(jobs)) as pool:
        answers = list(pool.map(lambda job: answer(session, job), jobs))
    assert "tensorflow" not in sys.modules
    path.write_bytes(pickle.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
