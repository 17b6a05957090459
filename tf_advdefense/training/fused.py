"""What a training step computes by one kernel where Keras takes many.

    with fused_norms(model):
        loss = ...                      # traced or run with fused BatchNorm
    optimizer = Adam(1e-3)              # or SGD(0.1, momentum=0.9, nesterov=True)

A small network on a GPU waits for its kernels to be launched, one by one. Keras takes
sixty for each BatchNorm and its gradient and twenty-five for Adam's update of each
variable: of the paper's ResNet50, four fifths of all operations. Here each is one.

Results are Keras' in all but rounding, and so are layers, variables and what is saved.
"""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.training.overrides import overridden

# The least that the kernel takes; Keras' default is 1e-3, its ResNet50 has 1.001e-5.
_MIN_EPSILON = 1e-5


def fused_norms(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    """Have the BatchNorm of `model` that trains computed by one kernel each.

    Args:
      model: whose `keras.layers.BatchNormalization`, nested ones included, are meant.
    """
    layers = [layer for layer in model._flatten_layers() if _is_fusible(layer)]
    return overridden(layers, "call", _normalize)


def _is_fusible(layer):
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and layer.epsilon >= _MIN_EPSILON
        and layer.trainable
        and layer.compute_dtype != "float64"
        and not layer.synchronized
        and not getattr(layer, "renorm", False)
    )


def _normalize(layer, inputs, training=None, mask=None):
    """`layer.call`; moving statistics are updated by its rule."""
    if not training or mask is not None or len(inputs.shape) != 4:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs, tf.float32),
        scale=tf.cast(layer.gamma, tf.float32),
        offset=tf.cast(layer.beta, tf.float32),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The kernel's is divided by one pixel less, Keras' by all.
    pixels = inputs.shape[:3].num_elements()
    if pixels is None:
        pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    variance *= (pixels - 1) / pixels
    for moving, value in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance),
    ):
        value = tf.stop_gradient(value)
        moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
    return tf.cast(outputs, layer.compute_dtype)


def _fits(gradient, variable):
    """If one kernel can update this variable, on this device alone."""
    return (
        not tf.distribute.has_strategy()
        and isinstance(gradient, tf.Tensor)
        and gradient.dtype == variable.dtype
    )


class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, each variable updated by one kernel."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """As Keras', with what all variables share computed once."""
        step = tf.cast(self.iterations + 1, tf.float32)
        self._beta_1_power = tf.pow(self.beta_1, step)
        self._beta_2_power = tf.pow(self.beta_2, step)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """As Keras'."""
        if self.amsgrad or not _fits(gradient, variable):
            return super().update_step(gradient, variable, learning_rate)
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.cast(self._beta_1_power, dtype),
            beta2_power=tf.cast(self._beta_2_power, dtype),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=gradient,
        )
        return None


class SGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD` with momentum, each variable updated by one kernel."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """As Keras'."""
        if not self.momentum or not _fits(gradient, variable):
            return super().update_step(gradient, variable, learning_rate)
        momentum = self.momentums[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.constant(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )
        return None
