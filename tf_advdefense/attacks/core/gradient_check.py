"""The way of the gradient from a model's logits to its images, and where it breaks.

    check_gradient(inference(model), images, labels, targeted=False)

raises a ValueError, in one line, where no gradient arrives or one that is not finite,
and names the layer that stops it. `compute_gradient` is CleverHans' compiled gradient,
here of the cross-entropy. The check costs one input gradient at the first call for a
model and image shape, and nothing later.
"""

from cleverhans.tf2.utils import compute_gradient
import keras
import tensorflow as tf

from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.models.tflite import is_deployed

# Remedies where there is no gradient.
_ROUNDED = "Attack the model without its rounding or casting step, or approximate it."
_DEPLOYED = (
    "Attack a TensorFlow Lite file by `square`, `hop_skip_jump`, `spatial`, `spsa` or "
    "`noise`, or transfer from the float model that it was made from: "
    "`compare(parent='FLOAT.keras')`."
)

cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits


def check_gradient(
    model_fn: ModelFn, x: tf.Tensor, y: tf.Tensor, targeted: bool
) -> None:
    """Raises ValueError where x gets no gradient, or eagerly one that is not finite.

    Args:
      model_fn: of `inference`; where it has a keras.Model, the layers of that are
        looked through.
      x, y: float32 images, whose rows may hold NaN, and int64 labels.
    """
    # Tracing only, and of the very function that most attacks call next.
    try:
        traced = compute_gradient.get_concrete_function(
            model_fn, cross_entropy, x, y, targeted
        )
    except Exception as error:
        # A LookupError, but autograph raises it as a type and text of its own.
        if "gradient registry has no entry" not in str(error):
            raise
        raise ValueError(_none(model_fn, x)) from error
    if traced.structured_outputs is None:
        raise ValueError(_none(model_fn, x))
    untried = tf.executing_eagerly() and x.shape not in model_fn.sound_shapes
    if untried and len(x):
        _check_finite(model_fn, x, y, targeted)
        model_fn.sound_shapes.add(x.shape)


def _check_finite(model_fn, x, y, targeted):
    gradient = compute_gradient(model_fn, cross_entropy, x, y, targeted)
    bad = _rows_with(~tf.math.is_finite(gradient)) & ~_rows_with(~tf.math.is_finite(x))
    if tf.reduce_any(bad):
        row = int(tf.argmax(tf.cast(bad, tf.int32)))
        raise ValueError(_not_finite(model_fn, x[row : row + 1], y[row : row + 1]))


def _rows_with(mask):
    return tf.reduce_any(mask, axis=list(range(1, len(mask.shape))))


def _none(model_fn, x):
    layer = _layer(model_fn, x[:1], _cuts)
    return (
        "The model's logits must have a gradient with respect to its images. Received: "
        f"none{layer and f', because {layer} has none'}. "
        f"{_DEPLOYED if is_deployed(model_fn.model) else _ROUNDED}"
    )


def _not_finite(model_fn, x, y):
    layer = _layer(
        model_fn, x, lambda tape, x, outputs: _overflows(tape, x, outputs, y)
    )
    return (
        "The gradient of the model's loss must be finite. Received: infinite or "
        f"undefined values{layer and f', which come from {layer}'}. Look for a "
        "division by zero, a logarithm or a root of 0, or an overflow there."
    )


def _layer(model_fn, x, find):
    """The first layer that `find` picks, as "layer 'name' (Type)"; "" if unknown."""
    model = model_fn.model
    if model is None or not tf.executing_eagerly():
        return ""
    try:
        layers = [
            layer
            for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer)
        ]
        parts = keras.Model(model.inputs, [layer.output for layer in layers])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs = parts(x, training=False)
        layer = layers[find(tape, x, outputs)]
    except Exception:  # A subclassed model shows no layers' outputs; say what we know.
        return ""
    return f"layer {layer.name!r} ({type(layer).__name__})"


def _cuts(tape, x, outputs):
    """The place of the first output that does not depend on x differentiably."""
    return next(i for i, out in enumerate(outputs) if _gradient(tape, out, x) is None)


def _gradient(tape, target, source):
    if not target.dtype.is_floating:
        return None
    try:
        return tape.gradient(target, source)
    except LookupError:  # an operation without a registered gradient
        return None


def _overflows(tape, x, outputs, y):
    """The first output that is not finite, or else the layer whose input gradient is.

    The gradient runs from the last layer to the first: the culprit is the one after the
    last layer whose output has a bad gradient.
    """
    for i, out in enumerate(outputs):
        if not tf.reduce_all(tf.math.is_finite(out)):
            return i
    with tape:
        loss = cross_entropy(labels=y, logits=outputs[-1])
    bad = [
        i
        for i, gradient in enumerate(tape.gradient(loss, outputs))
        if gradient is not None and not tf.reduce_all(tf.math.is_finite(gradient))
    ]
    return max(bad) + 1 if bad else 0
