"""The interpreter of TensorFlow Lite as a function from float images to float outputs.

    interpreted = Interpreted(path.read_bytes(), "model.tflite")
    interpreted(images)                       # float32 [n, classes]

Where the file says how its integers stand for numbers, images are quantised as a device
does it, and outputs dequantised; integers of which it says nothing are taken as they
are. The batch is resized to the one at hand; a model whose batch is fixed runs as often
as it takes. Only TensorFlow Lite's own operations and those that TensorFlow's package
links to it can be run.
"""

import hashlib
import os
import threading
from typing import Any
import warnings

import numpy as np
import tensorflow as tf

from tf_advdefense.chatter import without_chatter
from tf_advdefense.models import interface
from tf_advdefense.models import outputs

_KINDS = (np.float32, np.int8, np.uint8, np.int16)
_ACTIVATIONS = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid", "TANH": "tanh"}
_PASSED_ON = ("QUANTIZE", "DEQUANTIZE", "RESHAPE")
_AGAIN = "Convert it again, with TensorFlow Lite's own operations."
_Details = dict[str, Any]  # of a tensor, as the interpreter gives them


class Interpreted:
    """A TensorFlow Lite model; threads take turns.

    Attributes:
      image_shape: (height, width, channels), None where any will do.
      width: how many outputs there are for each image.
      activation: "softmax", "sigmoid" or "tanh" where an operation ends it, else None.
      sha256: of the file, which holds no dates.
    """

    def __init__(self, content: bytes, name: str):
        """Loads a model.

        Args:
          content: of the file.
          name: of the file, for messages.

        Raises:
          ValueError: in one line, for a damaged file, several inputs or outputs, other
            inputs than numbers, or operations that are not at hand.
        """
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._lock = threading.Lock()
        self._interpreter, self._input, self._output = _opened(content, name)
        self._batch, *image_shape = _signature(self._input)
        self.image_shape = tuple(image_shape)
        self.width = _signature(self._output)[1]
        self.activation = _activation(self._interpreter, self._output["index"])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Outputs float32 `[n, width]` of images float32 `[n, height, width, c]`."""
        given = _quantised(images, self._input)
        size = self._batch or max(1, len(given))
        # A batch of none is run as one of an empty image, whose outputs are cut off.
        starts = range(0, max(1, len(given)), size)
        with self._lock:
            found = [self._run(given[start : start + size], size) for start in starts]
        return np.concatenate(found)

    def _run(self, given: np.ndarray, size: int) -> np.ndarray:
        """The outputs of at most `size` images, which are padded to as many."""
        batch = np.zeros((size, *given.shape[1:]), given.dtype)
        batch[: len(given)] = given
        index, interpreter = self._input["index"], self._interpreter
        if tuple(interpreter.get_input_details()[0]["shape"]) != batch.shape:
            interpreter.resize_tensor_input(index, batch.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(index, batch)
        interpreter.invoke()
        found = interpreter.get_tensor(self._output["index"])
        return _dequantised(found[: len(given)], self._output)


# === What a file holds ===


def _opened(content, name):
    """The interpreter, and the details of its only input and output."""
    try:
        with without_chatter(), warnings.catch_warnings():
            # Of its move to the package ai_edge_litert, at each start.
            warnings.filterwarnings("ignore", ".*Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(
                model_content=content, num_threads=os.cpu_count()
            )
            interpreter.allocate_tensors()
    except Exception as error:  # ValueError, RuntimeError: there is no common one.
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ValueError(
            f"{name} is damaged or no TensorFlow Lite model: {reason}. {_AGAIN}"
        ) from error
    return interpreter, _only_input(interpreter, name), _only_output(interpreter, name)


def _only_input(interpreter, name):
    found = interpreter.get_input_details()
    interface.check_one_input([each["name"] for each in found], name)
    if found[0]["dtype"] not in _KINDS:
        raise ValueError(
            "A TensorFlow Lite model must take float32 or integer images. Received: "
            f"{name}, which takes {np.dtype(found[0]['dtype']).name}. {_AGAIN}"
        )
    return found[0]


def _only_output(interpreter, name):
    """The only one, or the one of its signature that is named `logits`."""
    details = _outputs(interpreter)
    specs = {key: _spec(each) for key, each in details.items()}
    try:
        chosen = outputs.one_output(specs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    found = next(details[key] for key, spec in specs.items() if spec is chosen)
    if len(found["shape"]) != 2:
        raise ValueError(
            "A classifier must return a number per class, [batch, classes]. Received: "
            f"{name}, which returns {found['shape'].tolist()}. {_AGAIN}"
        )
    return found


def _outputs(interpreter):
    """By their names in the signature; a file without one has names of tensors."""
    signatures = list(interpreter.get_signature_list())
    if len(signatures) == 1:
        return interpreter.get_signature_runner(signatures[0]).get_output_details()
    return {each["name"]: each for each in interpreter.get_output_details()}


def _spec(details):
    """What comes out once it is dequantised."""
    scale, _ = details["quantization"]
    return tf.TensorSpec(_signature(details), tf.float32 if scale else details["dtype"])


def _signature(details):
    """The shape, with None for what may vary."""
    return [None if size < 0 else int(size) for size in details["shape_signature"]]


def _activation(interpreter, index):
    """The activation whose values a tensor holds, quantised or not."""
    made = {
        output: operation
        for operation in interpreter._get_ops_details()
        if operation["op_name"] != "DELEGATE"  # several at once, listed beside them
        for output in operation["outputs"].tolist()
    }
    while index in made and made[index]["op_name"] in _PASSED_ON:
        index = int(made[index]["inputs"][0])
    return _ACTIVATIONS.get(made[index]["op_name"]) if index in made else None


# === Integers ===


def _quantised(images, details):
    if details["dtype"] is np.float32:
        return np.asarray(images, np.float32)
    scale, zero_point = details["quantization"]
    steps = np.asarray(images, np.float32) / np.float32(scale or 1)
    # Halves away from zero, as std::round does it on a device.
    whole = np.trunc(steps + np.copysign(np.float32(0.5), steps)) + zero_point
    bounds = np.iinfo(details["dtype"])
    return np.clip(whole, bounds.min, bounds.max).astype(details["dtype"])


def _dequantised(values, details):
    scale, zero_point = details["quantization"]
    if not scale:
        return values.astype(np.float32)
    return np.float32(scale) * (values.astype(np.float32) - np.float32(zero_point))
