"""Linear classifiers, whose adversarial distances have closed forms.

Of two classes, `linear_model` can be bent; `linear_classifier` has any number. Each is
one model for all tests, because an attack is traced anew for another.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

SHAPE, SIZE = (3, 3, 3), 27
DUAL = {np.inf: 1, 2: 2, 1: np.inf}  # the norm that measures slopes


@functools.cache
def linear_model(bend=None):
    """A model whose boundary goes through grey, and the normal of the boundary.

    Its second logit leads by `bend(normal . (x - 0.5))`; an odd, rising `bend` leaves
    the boundary where it is and makes the margin's slope lie about its distance.
    """
    normal = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    images = keras.Input(SHAPE)
    dense = keras.layers.Dense(1)
    lead = dense(keras.layers.Flatten()(images))
    lead = lead if bend is None else keras.layers.Lambda(bend)(lead)
    model = keras.Model(images, keras.layers.Concatenate()([-lead / 2, lead / 2]))
    dense.set_weights([normal.reshape(-1, 1), -0.5 * normal.sum().reshape(1)])
    return model, normal


def steepen(lead):
    """Its slope far from the boundary makes the boundary seem near."""
    return lead + 30 * lead**3


def flatten(lead):
    """Its slope far from the boundary makes the boundary seem far."""
    return tf.tanh(5 * lead)


def images_at(normal, distances):
    """Images and labels that lie at L2 `distances` from the boundary, near grey."""
    rng = np.random.default_rng(1)
    unit = normal / np.linalg.norm(normal)
    noise = rng.uniform(-0.15, 0.15, (len(distances), *SHAPE))
    noise -= unit * np.sum(noise * unit, axis=(1, 2, 3), keepdims=True)
    side = rng.choice([-1, 1], len(distances))
    offset = (side * distances).reshape(-1, 1, 1, 1) * unit
    return (0.5 + noise + offset).astype(np.float32), (side > 0).astype(np.int64)


def away(labels):
    """The sign of a step along the normal that leaves each class."""
    return np.where(labels == 0, 1, -1).reshape(-1, 1, 1, 1)


def boundary_distance(images, normal, norm):
    """The exact distances to the boundary, the bounds aside."""
    lead = np.abs(np.sum((images.astype(np.float64) - 0.5) * normal, axis=(1, 2, 3)))
    return lead / np.linalg.norm(normal.reshape(-1), DUAL[norm])


def fewest_changes(images, labels, normal):
    """The exact number of values that must change, to the bounds, to fool the model."""
    lead = np.abs(np.sum((images.astype(np.float64) - 0.5) * normal, axis=(1, 2, 3)))
    room = np.where(away(labels) * normal > 0, 1 - images, images)
    gain = -np.sort(-(np.abs(normal) * room).reshape(len(images), -1), axis=1)
    return 1 + np.sum(np.cumsum(gain, axis=1) < lead[:, None], axis=1)


def length(eta, norm):
    return np.linalg.norm(np.reshape(eta, (len(eta), -1)), norm, axis=1)


@functools.cache
def linear_classifier(classes=2):
    """A model whose boundaries go through grey, and its weights `[27, classes]`."""
    weights = np.random.default_rng(0).normal(size=(SIZE, classes)).astype(np.float32)
    images = keras.Input(SHAPE)
    dense = keras.layers.Dense(classes)
    model = keras.Model(images, dense(keras.layers.Flatten()(images)))
    dense.set_weights([weights, -0.5 * weights.sum(axis=0)])
    return model, weights


def grey_images(count, spread=0.2):
    """Images so near grey that the bounds do not matter."""
    rng = np.random.default_rng(1)
    images = rng.uniform(0.5 - spread, 0.5 + spread, (count, *SHAPE))
    return images.astype(np.float32)


def class_distances(images, weights, norm):
    """Logits, labels, and distances to the boundary with each class; own ones are NaN.

    The first and the last are `[n, classes]`, of a `linear_classifier`.
    """
    logits = (images.reshape(len(images), -1).astype(np.float64) - 0.5) @ weights
    labels, rows = np.argmax(logits, axis=1), np.arange(len(images))
    between = weights.T[None] - weights.T[labels][:, None]
    slope = np.linalg.norm(between, DUAL[norm], axis=2)
    slope[rows, labels] = np.nan
    return logits, labels, (logits[rows, labels][:, None] - logits) / slope
