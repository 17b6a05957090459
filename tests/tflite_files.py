"""TensorFlow Lite files of small models, converted as people do it."""

import contextlib
import io

import keras
import numpy as np
import small_models
import tensorflow as tf

KINDS = ("float", "dynamic", "float16", "int8", "int8 inside")


def images(count=64, shape=small_models.SHAPE, seed=0):
    """Whole grey levels in [0, 1], float32."""
    levels = np.random.default_rng(seed).integers(0, 256, (count, *shape))
    return (levels / 255).astype(np.float32)


def converted(model, kind="float", given=tf.int8, returned=tf.uint8):
    """The bytes of a file of one of `KINDS`; integers come and go as these types."""
    return _bytes(
        tf.lite.TFLiteConverter.from_keras_model(model), kind, given, returned
    )


def of_function(function, *specs):
    """The bytes of a float file of a function, with exactly these shapes."""
    concrete = tf.function(function).get_concrete_function(*specs)
    return _bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], function))


def _bytes(converter, kind="float", given=None, returned=None):
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind.startswith("int8"):
        converter.representative_dataset = lambda: ([each[None]] for each in images())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind == "int8":
        converter.inference_input_type = given
        converter.inference_output_type = returned
    with contextlib.redirect_stdout(io.StringIO()):
        return converter.convert()


def written(path, content):
    """The path, with the content."""
    path.write_bytes(content)
    return path


def invoked(path, batch):
    """(raw outputs, their details, those of the input): the interpreter by hand."""
    interpreter = tf.lite.Interpreter(model_path=str(path))
    (given,), (found,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.resize_tensor_input(given["index"], batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], batch)
    interpreter.invoke()
    return interpreter.get_tensor(found["index"]), found, given


def classifier(activation=None, scale=4.0):
    """A small network whose logits spread, and where every class is met."""
    model = small_models.network()
    dense = model.layers[-1]
    found = np.asarray(model(images()))
    dense.kernel.assign(dense.kernel * scale / found.std(0))
    dense.bias.assign(-found.mean(0) * scale / found.std(0))
    dense.activation = keras.activations.get(activation)
    return model
