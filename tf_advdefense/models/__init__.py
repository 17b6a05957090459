"""Keras image classifiers: images in [0, 1] to logits.

    model = build_model("resnet50", (32, 32, 3), 10)
    logits = model(images)                      # float32 [batch, 10]

Normalisation is a layer inside every model, so that eps always means the same
thing. `keras:NAME` builds any model of `keras.applications` without weights. To
add a model, write its builder in a file here and add a line to `registry.MODELS`.
"""

from tf_advdefense.models.registry import MODELS


def __getattr__(name):
    if name == "build_model":  # Loads Keras.
        from tf_advdefense.models.build import build_model

        return build_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
