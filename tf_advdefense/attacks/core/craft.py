"""Runs any attack over arrays, batch by batch, in shapes that never vary.

    for batch in craft_batches(model, make_attack("cw"), images, labels):
        print(batch["clean_index"], batch["prediction"], batch["l2"])
    seconds = estimate(
        make_attack("cw"), len(images), time_passes(model, images),
        image_shape=(32, 32, 3), num_classes=10)

Images are uint8 or float32 in [0, 1], `[n, height, width, channels]`, in any array that
slices like NumPy's; 8-bit images become float32 one batch at a time. Batches are cut at
multiples of `batch_size` from the array's start and the last one is padded by repeating
its first image: nothing is traced after the first batch, and arrays that begin at
such a multiple of a longer one give the same bytes as the longer one. Within a batch,
finished images leave (`batch.run`).
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import functools
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import batch
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.gradient_check import compute_gradient
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.inputs import check_inputs
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.images import as_float
from tf_advdefense.images import fitting
from tf_advdefense.images import norms
from tf_advdefense.images import padded


def craft_batches(
    model: Any,
    attack: Attack,
    images: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray | None = None,
    *,
    targets: np.ndarray | None = None,
    attack_labels: str = "true",
    batch_size: int = 128,
    clip_min: float = 0.0,
    clip_max: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int, int], None] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the adversarial examples of one batch after the other.

    Args:
      model: a keras.Model, or a function, from images to logits, or a list of them.
      attack: an `Attack`.
      images: uint8 or float32 `[n, height, width, channels]`.
      labels: int `[n]`, the true classes.
      index: int `[n]`, the images' indices in their data set, by default their
        positions; random draws depend on them.
      targets: int `[n]`, the classes to reach; None for an untargeted attack.
      attack_labels: "true" or "predicted", the labels an untargeted attack leaves.
      progress: called with the numbers of images done, of all images, and of those
        fooled so far: right when clean, wrong when attacked (or, of an image that a
        targeted attack still works on, at its target).

    Yields:
      dicts of arrays with a row per image: `image` (float32, adversarial), `label`,
      `clean_index`, `clean_prediction` and `prediction` (int64), the perturbation's
      `l0` (changed values), `l1`, `l2` and `linf` (float32), and `forwards` and
      `backwards` (int64, the passes taken).

    Raises:
      ValueError: in one line, for arrays that do not fit together or values out of
        range.
    """
    index = np.arange(len(images)) if index is None else np.asarray(index)
    _check_arrays(images, attack_labels, labels=labels, index=index, targets=targets)
    batch_size = fitting(batch_size, len(images))
    task = Task(targets is not None, clip_min, clip_max)
    attacked, itself = inference(model), served(model)
    pad = functools.partial(padded, batch_size=batch_size)
    fooled = 0
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        clean = as_float(images[rows])
        clean_prediction = predict(itself, pad(clean)).numpy()[: len(clean)]
        goal = labels[rows] if attack_labels == "true" else clean_prediction
        goal = goal if targets is None else targets[rows]
        to_fool = clean_prediction == labels[rows]
        # At its target an image is fooled, unless that was its class all along.
        mid_way = to_fool if targets is None else to_fool & (goal != labels[rows])

        def report(done, fooled_now, before=fooled, start=start, mid_way=mid_way):
            if progress is not None:
                count = before + int(np.sum(fooled_now & mid_way))
                progress(start + done, len(images), count)

        x, y, places = check_inputs(
            attacked,
            pad(clean),
            pad(goal),
            task,
            pad(index[rows]),
            attack.access,
        )
        keys = row_keys(seed, places)
        found = batch.run(attack, attacked, x, y, keys, task, len(clean), report)
        prediction = predict(itself, found.images).numpy()[: len(clean)]
        adv = found.images.numpy()[: len(clean)]
        wrong = prediction != labels[rows]
        report(len(clean), wrong)
        fooled += int(np.sum(wrong & to_fool))
        yield {
            "image": adv,
            "label": np.asarray(labels[rows], np.int64),
            "clean_index": np.asarray(index[rows], np.int64),
            "clean_prediction": clean_prediction,
            "prediction": prediction,
            **norms(adv, clean),
            "forwards": np.asarray(found.forwards, np.int64)[: len(clean)],
            "backwards": np.asarray(found.backwards, np.int64)[: len(clean)],
        }


def craft(
    model: Any,
    attack: Attack,
    images: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray | None = None,
    **settings: Any,
) -> dict[str, np.ndarray]:
    """`craft_batches` in one dict of arrays, for as many images as memory holds."""
    batches = list(craft_batches(model, attack, images, labels, index, **settings))
    return {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}


def time_passes(
    model: Any, images: np.ndarray, *, batch_size: int = 128, gradient: bool = True
) -> tuple[float, float]:
    """Seconds of a batch's forward pass and of its input gradient, compiled.

    Each is timed after a first, untimed call; without `gradient`, which a model may
    lack, the second is 0.

    Raises:
      ValueError: in one line, for a model without the gradient.
    """
    batch_size = fitting(batch_size, len(images))
    x = tf.constant(padded(as_float(images[:batch_size]), batch_size))
    model_fn = inference(model)
    access = "gradients" if gradient else "decisions"
    x, y, _ = check_inputs(model_fn, x, None, Task(), None, access)
    forward = _second_call(lambda: predict(model_fn, x))
    if not gradient:
        return forward, 0.0
    return forward, _second_call(
        lambda: compute_gradient(model_fn, cross_entropy, x, y, False)
    )


def trace(
    model: Any,
    attack: Attack,
    image_shape: Sequence[int],
    *,
    targeted: bool = False,
    batch_size: int = 128,
) -> None:
    """Traces an attack on a batch, without running it.

    What any of its parts refuses in a model, it refuses here, before the others have
    worked for hours.

    Raises:
        ValueError: in one line, as the attack.
    """
    model_fn = inference(model)
    task = Task(targeted)

    def attacked(x, y, index):
        return batch.run(attack, model_fn, x, y, row_keys(0, index), task).images

    one_each = tf.TensorSpec([batch_size], tf.int64)
    images = tf.TensorSpec([batch_size, *image_shape], tf.float32)
    function = tf.function(attacked, autograph=False)
    function.get_concrete_function(images, one_each, one_each)


def _second_call(function):
    function()
    start = time.perf_counter()
    function().numpy()
    return time.perf_counter() - start


def estimate(
    attack: Attack,
    num_images: int,
    seconds: tuple[float, float],
    *,
    image_shape: Sequence[int],
    num_classes: int,
    batch_size: int = 128,
) -> float:
    """The seconds that an attack takes at most, by `seconds` of `time_passes`.

    Attacks that stop per image mostly need much less.
    """
    forwards, backwards = attack.cost(image_shape, num_classes)
    batches = -(-num_images // batch_size)
    return batches * (
        backwards * seconds[1] + max(0, forwards - backwards) * seconds[0]
    )


def _check_arrays(images, attack_labels, **columns):
    if attack_labels not in ("true", "predicted"):
        raise ValueError(
            "`attack_labels` must be 'true' or 'predicted'. "
            f"Received: attack_labels={attack_labels!r}."
        )
    for name, column in columns.items():
        if column is not None and np.shape(column) != (len(images),):
            raise ValueError(
                f"`{name}` must have one entry per image. Received: shape "
                f"{np.shape(column)} for {len(images)} images."
            )
