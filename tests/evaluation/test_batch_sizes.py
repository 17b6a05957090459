"""Batch sizes that fit: counted on a CPU, tried on a GPU."""

import keras
import pytest
import tensorflow as tf

from tf_advdefense.evaluation import batch_sizes
from tf_advdefense.evaluation.batch_sizes import resolved

SHAPE = (8, 8, 3)
_IMAGE = 8 * 8 * 3


def make_model(filters=4):
    inner = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(filters, 3, padding="same"),
            keras.layers.Flatten(),
        ]
    )
    images = keras.Input(SHAPE)
    return keras.Model(images, keras.layers.Dense(10)(inner(images)))


# Input, convolution, the same flattened, logits.
VALUES = _IMAGE + 2 * 8 * 8 * 4 + 10
EACH = 4 * (VALUES / 2 + 16 * _IMAGE)


@pytest.mark.parametrize(
    "images, wanted", [(1000, 128), (64.5, 64), (63.5, 32), (1.5, 1), (0.5, 1)]
)
def test_it_is_the_power_of_two_that_takes_half_of_the_memory(
    images, wanted, monkeypatch
):
    monkeypatch.setattr(batch_sizes, "_memory", lambda: round(2 * images * EACH))
    assert resolved("auto", [make_model()], SHAPE) == wanted
    assert resolved("auto", [make_model(2), make_model()], SHAPE) == wanted
    both = resolved("auto", [[make_model(), make_model()]], SHAPE)  # At once.
    assert both <= wanted


def test_a_number_is_what_is_asked_for():
    assert resolved(7, iter(()), SHAPE) == 7


def test_a_container_may_have_less_than_its_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(batch_sizes, "_LIMIT", tmp_path / "memory.max")
    machine = batch_sizes._memory()
    for text, wanted in (("max", machine), ("12345", 12345), (str(2**60), machine)):
        (tmp_path / "memory.max").write_text(text + "\n")
        assert batch_sizes._memory() == wanted


def test_on_a_gpu_it_is_tried(monkeypatch):
    tried = []

    def passes(models, images, *, batch_size):
        tried.append((len(models), images.shape, batch_size))
        if batch_size > 200:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(batch_sizes, "time_passes", passes)
    assert resolved("auto", [make_model()], SHAPE) == 64  # Half of what a pass can be.
    assert tried == [(1, (n, *SHAPE), n) for n in (1024, 512, 256, 128)]
