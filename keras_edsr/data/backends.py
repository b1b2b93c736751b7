"""How batches of arrays reach `fit` where TensorFlow is not the backend."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def backend() -> str:
    """Returns the name of Keras' backend."""
    import keras  # not above, so that pairs and samplers are light

    return keras.backend.backend()


def py_dataset(batch: Callable[[int], Any], count: int | None, threads: int = 2) -> Any:
    """Returns a `keras.utils.PyDataset` of the batches 0, 1, 2, ...

    Args:
        batch: Makes a batch of its number.
        count: How many there are; None for no end.
        threads: How many make them; their order stays.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        """Made by number, in threads of Keras, in their order."""

        @property
        def num_batches(self) -> int | None:
            return count

        def __getitem__(self, number: int) -> Any:
            return batch(number)

    return Batches(workers=threads)


def map_ahead(function: Callable[[_In], _Out], values: Iterable[_In], threads: int) -> Iterator[_Out]:
    """Maps values in threads, some of them before the caller asks for them."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque = deque()
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
