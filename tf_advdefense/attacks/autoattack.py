"""AutoAttack: a fixed sequence of attacks, each on the images that are still robust.

    adv = autoattack(model, images, labels, eps=8 / 255)
    adv = autoattack(model, images, labels, eps=0.5, norm=2, version="plus")

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps is in
their units. An image that a part fools is left alone by the parts after it; one that no
part fools comes back as the last part leaves it. The function's attribute `sequence`
gives the parts of its hyperparameters, from which `engine` runs them on ever smaller
batches; called directly, every row stays in the batch.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box.square import square
from tf_advdefense.attacks.core.contract import contract
from tf_advdefense.attacks.core.contract import defaults
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import run
from tf_advdefense.attacks.core.stages import where
from tf_advdefense.attacks.gradient.auto_pgd import apgd_ce
from tf_advdefense.attacks.gradient.auto_pgd import apgd_dlr
from tf_advdefense.attacks.gradient.auto_pgd import apgd_t
from tf_advdefense.attacks.minimal_norm.fab import fab_t

_VERSIONS = ("standard", "plus", "rand")


@contract(norms=(np.inf, 2, 1))
def autoattack(
    call,
    *,
    eps=8 / 255,
    norm=np.inf,
    version="standard",
    n_iter=100,
    n_queries=5000,
):
    """Croce and Hein 2020 (arXiv:2003.01690), section 6; L1: arXiv:2103.01208.

    "standard" is `apgd_ce`, `apgd_t` with 9 targets, `fab_t` with 9 targets, `square`;
    in L1, `apgd_ce` with 5 restarts and `apgd_t` with 5 targets, both with the schedule
    of radii. "plus" is `apgd_ce` and `apgd_dlr` with 5 restarts, `square`, `apgd_t`,
    and `fab_t` with 5 restarts, which stands for the original's two FABs: the
    untargeted one, which takes a gradient of every class, is not here. "rand", for
    models that draw random numbers, is `apgd_ce` and `apgd_dlr` with means over 20
    passes. Targeted, which the original is not, each part goes for `y`.

    Only the budgets as they are give numbers to compare with published ones.

    Args:
      n_iter: iterations of a run of Auto-PGD and of FAB.
      n_queries: of Square.
    """
    adv, fooled = call.x, tf.zeros_like(call.y, tf.bool)
    for part, hyper in sequence(
        {"eps": eps, "norm": norm, "version": version}
        | {"n_iter": n_iter, "n_queries": n_queries}
    ):
        hyper = {**defaults(part), **hyper}
        found, now_fooled = _run_part(part.stages, call, hyper, fooled)
        adv, fooled = where(fooled, adv, found), fooled | now_fooled
    return adv


def _run_part(stages, call, hyper, fooled):
    """A part's images, and which of them fool; those already fooled rest."""

    def init(*inputs):
        state = stages.init(*inputs)
        return {**state, "done": state["done"] | fooled}

    def finish(state, settings):
        return stages.finish(state, settings), state["fooled"]

    return run(Stages(init, stages.advance, finish), call, hyper)


def sequence(hyper):
    """The parts, in their order: pairs of a function and its hyperparameters."""
    ball = {"eps": hyper["eps"], "norm": hyper["norm"]}
    climb = {**ball, "n_iter": hyper["n_iter"]}
    search = (square, {**ball, "n_queries": hyper["n_queries"]})
    if hyper["version"] == "rand":
        return [(apgd, {**climb, "eot_iter": 20}) for apgd in (apgd_ce, apgd_dlr)]
    if hyper["version"] == "plus":
        again = {**climb, "n_restarts": 5}
        return [
            (apgd_ce, again),
            (apgd_dlr, again),
            search,
            (apgd_t, climb),
            (fab_t, again),
        ]
    first, second = {}, {}
    if hyper["norm"] == 1:
        first = {"n_restarts": 5, "use_largereps": True}
        second = {"n_target_classes": 5, "use_largereps": True}
    return [
        (apgd_ce, {**climb, **first}),
        (apgd_t, {**climb, **second}),
        (fab_t, climb),
        search,
    ]


def _check(version, **hyper):
    if version not in _VERSIONS:
        raise ValueError(
            f"`version` must be one of {', '.join(_VERSIONS)}. "
            f"Received: version={version!r}."
        )


autoattack.sequence = sequence
autoattack.check = _check
