"""The Carlini-Wagner L2 attack.

    adv = cw(model, images, labels)
    adv = cw(model, images, targets, targeted=True, max_iterations=200, confidence=1.0)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image found, and the image itself where none was, or where
the model is fooled already.
"""

from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core import adam
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.minimal_norm import constant_search


class Hyper(NamedTuple):
    """Carlini and Wagner 2016 (arXiv:1608.04644), sections V and VI.A, f_6.

    The algorithm is CleverHans 3's, because its TF2 version fails on Keras 3 and
    searches upwards only. Different from it: each image has an early abort, a search
    step and an Adam step count of its own (there, the sum of the losses stops the whole
    batch), and the abort asks for 1 % instead of 0.01 % (`constant_search`); success at
    distance zero ends the search; and the iterate that triggers the abort counts too.

    Attributes:
      binary_search_steps: how often the constant c of `distance^2 + c * f` is tried.
      max_iterations: Adam steps for each of them.
      abort_early: leave a search step when a tenth of it lowers the loss by less than
        1 %.
      confidence: the margin by which the wrong logit must lead.
      initial_const: the first c; ten times as much after a failure, until a success.
      learning_rate: of Adam, in the space of arctanh.
    """

    binary_search_steps: int = 5
    max_iterations: int = 1000
    abort_early: bool = True
    confidence: float = 0.0
    initial_const: float = 1e-2
    learning_rate: float = 5e-3


class State(NamedTuple):
    start: tf.Tensor  # float32 [n, h, w, c]: the image in the space of arctanh
    modifier: tf.Tensor  # float32 [n, h, w, c]: what is added to it, w in the paper
    moments: adam.Moments
    search: constant_search.Search
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first iteration."""
    unit = (x - task.clip_min) / (task.clip_max - task.clip_min)
    return State(
        start=tf.atanh(0.999999 * (2 * unit - 1)),
        search=constant_search.begin(x, y, hyper),
        progress=begin(x),
        **_unmoved(x),
    )


def _unmoved(x):
    return {"modifier": tf.zeros_like(x), "moments": adam.at_rest(x)}


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs a block of iterations on every image."""
    iterate = lambda state: _iterate(model_fn, state, hyper, task)
    return loop(iterate, state, constant_search.BLOCK)


finish = constant_search.closest


def _iterate(model_fn, state, hyper, task):
    images, distance, penalty, success, gradient = _evaluate(
        model_fn, state, hyper, task
    )
    iteration = state.search.iteration + 1
    step, moments = adam.step(state.moments, gradient, iteration, hyper.learning_rate)
    new = state._replace(
        modifier=state.modifier - step,
        moments=moments,
        search=constant_search.record(state.search, images, distance, success),
        progress=state.progress.spend(forwards=1, backwards=1),
    )
    restart = _unmoved(state.search.image)
    return constant_search.settle(state, new, penalty + distance, restart, hyper)


def _evaluate(model_fn, state, hyper, task):
    """The images, their distances^2, penalties c * f, success, and the gradient."""
    scale, modifier = task.clip_max - task.clip_min, state.modifier
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(modifier)
        images = (tf.tanh(state.start + modifier) + 1) / 2 * scale + task.clip_min
        # Distances start at the image after its own round trip through tanh.
        origin = (tf.tanh(state.start) + 1) / 2 * scale + task.clip_min
        axes = list(range(1, len(images.shape)))
        distance = tf.reduce_sum((images - origin) ** 2, axes)
        penalty, success = constant_search.objective(
            model_fn, images, state.search, hyper, task
        )
        loss = penalty + distance
    return images, distance, penalty, success, tape.gradient(loss, modifier)


cw = Attack(
    name="cw",
    title="CW",
    paper="arXiv:1608.04644",
    norms=(2,),
    goal="minimal-norm",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=constant_search.passes,
    spent=0.3,
    # 5 x 1000 on 10,000 images of ResNet50 are 69 hours on two processors.
    budget={"max_iterations": 200},
    # At a bound the slope of tanh is 1e-6: 200 steps of 5e-3 move no pixel off it.
    budget_at_bounds={
        "max_iterations": 200,
        "learning_rate": 0.1,
        "initial_const": 10.0,
        "abort_early": False,
    },
)
