"""Makes Keras find our classes in a file, without importing them before there is one.

`keras.saving.load_model` looks a class up by its registered name. Classes register when their module is imported, but
`import keras_edsr` imports none of those: that would import Keras and its backend. So names are registered as soon as
Keras is imported, by us or by anybody else, each with a stand-in that imports the class when Keras asks it for a model.
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
    """Stands for a class that is not imported yet, in Keras' table of registered classes.

    Args:
        name: The class.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def from_config(self, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """Imports the class, which then takes this place in Keras' table, and makes an object of it."""
        module = importlib.import_module(f".{CLASSES[self.name]}", __package__)
        return getattr(module, self.name).from_config(config)


def _register(keras: Any) -> None:
    table = keras.saving.get_custom_objects()
    for name in CLASSES:
        table.setdefault(f"keras_edsr>{name}", StandIn(name))


def register_when_keras_is_imported() -> None:
    """Registers the names now if Keras is imported already, else as soon as it is.

    Where Keras is not installed, nothing is to be registered: images are degraded and resized there without it.
    """
    if importlib.util.find_spec("keras") is None:
        return
    import wrapt

    # A hook, since we must not import Keras. It may run while one of our modules that imports Keras is half imported:
    # the classes themselves could not be imported then.
    wrapt.register_post_import_hook(_register, "keras")
