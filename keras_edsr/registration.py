"""Lets Keras find the package's classes in a file, without importing them before.

`keras.saving.load_model` looks up a class by its registered name. Classes register when their module is imported, but
`import keras_edsr` does not import these modules, which would import Keras and its backend. Names are therefore
registered as soon as any code imports Keras, each with a stand-in that imports the class when Keras needs it.
"""

import importlib
import importlib.util
from typing import Any

CLASSES = {
    "EDSR": "models",
    "HalvingAdam": "trainer",
    "MDSR": "models",
    "MDSRBranch": "models",
    "MeanShift": "layers",
    "PSNR": "metrics",
    "SSIM": "metrics",
    "ScaledResBlock": "layers",
    "SubpixelUpsample": "layers",
}


class StandIn:
    """Takes the place of a class in Keras' table of registered classes, until the class is imported.

    Args:
        name: Name of the class.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def from_config(self, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """Imports the class, which replaces this entry in Keras' table, and makes an object of it."""
        module = importlib.import_module(f".{CLASSES[self.name]}", __package__)
        return getattr(module, self.name).from_config(config)


def _register(keras: Any) -> None:
    table = keras.saving.get_custom_objects()
    for name in CLASSES:
        table.setdefault(f"keras_edsr>{name}", StandIn(name))


def register_when_keras_is_imported() -> None:
    """Registers the names now if Keras is imported already, else as soon as it is.

    Without Keras it does nothing: degradations and `imresize` do not need Keras.
    """
    if importlib.util.find_spec("keras") is None:
        return
    import wrapt

    # This is a hook, because the package must not import Keras here. The hook may run while a module of the package
    # that imports Keras is itself being imported: the classes could not be imported then.
    wrapt.register_post_import_hook(_register, "keras")
