"""Names that changed: the old one works for one version, with a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns that a name is deprecated.

    Args:
        old: The name that was used, as the user writes it.
        new: The name to use.
        stacklevel: As `warnings.warn` takes it.
    """
    warnings.warn(f"{old} is deprecated; use {new}.", DeprecationWarning, stacklevel=stacklevel)


def renamed_argument(old: str, new: str) -> Callable[[_Function], _Function]:
    """Lets a function take the keyword argument `old` for `new`.

    Raises:
        TypeError: If the caller passes both.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"Give `{new}` alone: `{old}` is its old name.")
                warn_renamed(f"`{old}`", f"`{new}`")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate
