"""The model as it is written: all float32."""

import keras


def in_float32(model: keras.Model) -> keras.Model:
    """Returns the model that computes in float32 what this one does; itself if it does.

    Mixed precision is for training: its weights are float32, and rounded at each use. What is exported is not, and is
    compared with a model that does not round either.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
    """
    if keras.dtype_policies.get(model.body_dtype).compute_dtype == "float32":
        return model
    config = model.get_config()
    whole = config.get("mdsr", config)  # that of a branch has its MDSR's
    whole["dtype"] = "float32"
    exact = type(model).from_config(config)
    exact.set_weights(model.get_weights())
    return exact
