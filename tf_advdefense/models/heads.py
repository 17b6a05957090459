"""Takes off the activation that ends a Keras model, where its graph shows it.

    model, removed = without_activation(model)     # removed: "softmax", or None

Only strictly increasing activations go, and the softmax: the order of the classes
stays, and with it every prediction. Weights are shared with the model that was given.
"""

from typing import Any

import keras

from tf_advdefense.models.interface import with_one_output

# Activations from whose values the logits' order can be told.
_MONOTONE = ("softmax", "sigmoid", "tanh", "softplus", "softsign")
# Those that are logits as they are.
_LOGITS = ("linear", "log_softmax", "logsoftmax")
# Layers that only move values, whatever made these.
_TRANSPARENT = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Identity)


def without_activation(model: keras.Model) -> tuple[keras.Model, str | None]:
    """The model up to its logits, and the name of the activation that went.

    Args:
      model: of one input and output; one whose layers do not show is given back.
    """
    output = _only_output(model)
    if output is None:
        return model, None
    logits, removed = _stripped(output)
    if removed is None:
        return model, None
    return keras.Model(model.inputs[0], logits, name=model.name), removed


def logits_model(model: Any) -> Any:
    """A keras.Model up to its logits, as far as its graph shows; anything else itself.

    Nothing is computed, and the weights are the model's own, also later.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        return model
    return without_activation(with_one_output(model))[0]


def last_activation(model: keras.Model) -> str | None:
    """The name of the activation that ends a model; None where nothing shows it."""
    tensor = _only_output(model)
    while tensor is not None:
        operation, source = _made_by(tensor)
        if isinstance(operation, keras.Model):
            return last_activation(operation)
        if not _passes_on(operation):
            # One that is told of what a layer hides is known, but cannot be taken off.
            return getattr(operation, "ends_with", None) or _activation(operation)
        tensor = source
    return None


def shows_logits(model: keras.Model | None) -> bool:
    """Whether a model's graph shows that its outputs are logits."""
    return model is not None and last_activation(model) in _LOGITS


def _only_output(model):
    inputs, outputs = (
        getattr(model, name, None) or [] for name in ("inputs", "outputs")
    )
    return outputs[0] if len(inputs) == len(outputs) == 1 else None


def _stripped(tensor):
    """The tensor before the activation, and the activation's name or None."""
    operation, source = _made_by(tensor)
    name = _activation(operation)
    if source is None:
        return tensor, None
    if name in _MONOTONE:
        return _before(operation, source), name
    if isinstance(operation, keras.Model):
        inner, removed = without_activation(operation)
        return (inner(source), removed) if removed else (tensor, None)
    if _passes_on(operation):
        before, removed = _stripped(source)
        return (operation(before), removed) if removed else (tensor, None)
    return tensor, None


def _made_by(tensor):
    """The operation that made a tensor, and its only input tensor, or None."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    sources = node.input_tensors
    return history.operation, sources[0] if len(sources) == 1 else None


def _activation(operation: Any) -> str | None:
    """Its activation's name, "linear" for a layer's none; None where nothing shows."""
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if not isinstance(operation, keras.Layer):  # an operation of keras.ops
        return type(operation).__name__.lower()
    if isinstance(operation, keras.layers.ReLU):
        return "relu"
    function = getattr(operation, "activation", None)
    return getattr(function, "__name__", None) if function is not None else None


def _passes_on(operation):
    if isinstance(operation, keras.layers.Activation):
        return _activation(operation) == "linear"
    return isinstance(operation, _TRANSPARENT)


def _before(operation, source):
    """What an operation makes of `source` without its activation."""
    weighted = isinstance(operation, keras.Layer) and operation.weights
    return WithoutActivation(operation)(source) if weighted else source


@keras.saving.register_keras_serializable("tf_advdefense")
class WithoutActivation(keras.layers.Layer):
    """A layer of a model, with its weights, up to its activation."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        super().__init__(**{"name": layer.name, "dtype": layer.dtype_policy, **kwargs})
        self.layer = layer

    def call(self, inputs: Any) -> Any:
        former = self.layer.activation
        self.layer.activation = keras.activations.linear
        try:
            return self.layer(inputs)
        finally:
            self.layer.activation = former

    def get_config(self) -> dict[str, Any]:
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WithoutActivation":
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)
