"""Searches that try one image after another and keep the best: `noise` and `square`.

Both look for the largest lead of a wrong class over the right one, by the model's
scores, and end for an image with the first candidate that fools the model, unless that
is random (`stages.settled`).
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import settled
from tf_advdefense.attacks.core.stages import where


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first candidate."""
    return {
        "image": x,
        "label": y,
        "best": x,
        "lead": tf.fill(tf.shape(x)[:1], -np.inf),
        "keys": row_keys(seed, index),
        **counters(x),
    }


def keep_best(model_fn, state, candidate, lead, queries, settings):
    """The state after a query of each row's `candidate`.

    Args:
      lead: float32 `[n]`, which the candidate's has to exceed to be kept.
      queries: after how many a row is done.
    """
    logits, found = losses.evaluate(model_fn, losses.margin, candidate, state["label"])
    found = -found if settings["targeted"] else found
    fooled = losses.is_fooled(logits, state["label"], settings["targeted"])
    better = losses.is_better(fooled, found, state["fooled"], lead)
    forwards = state["forwards"] + 1
    new = {
        **state,
        "best": where(better, candidate, state["best"]),
        "lead": tf.where(better, found, lead),
        "fooled": state["fooled"] | fooled,
        "forwards": forwards,
        "done": settled(model_fn, fooled) | (forwards >= queries),
    }
    return select(state["done"], state, new)


def finish(state, settings):
    """The image that fools the model, or the one that came closest."""
    return state["best"]
