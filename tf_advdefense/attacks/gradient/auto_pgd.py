"""Auto-PGD: projected gradient descent that chooses its steps (Croce and Hein 2020).

    adv = apgd_ce(model, images, labels, eps=8 / 255)
    adv = apgd_t(model, images, labels, eps=0.5, norm=2, n_iter=50)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps is in
their units. A run climbs its loss for `n_iter` iterations from a random start; the
first iterate that fools the model is the image's answer and ends its work, and an image
that the model gets wrong anyway is its own. An image that no run fools comes back as
the point of highest loss. Where the model is random, or `eot_iter` above 1, every run
goes to its end and the answer is the fooling point of highest loss.

Different from the original code: at the first checkpoint, the first step's loss is
compared with the start's (there, with a row of zeros); the loss and the class are means
over `eot_iter` passes, as the gradient is (there, those of the last pass); a run ends
at its first fooling point (there, goes on to the last iteration and keeps the last
one); an image that is not fooled comes back as its best point (there, as itself); and
the schedule of radii in L1 begins at the projection of the image plus noise (there, the
image is added twice).
"""

import functools

import numpy as np

from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.gradient.auto_pgd_runs import advance
from tf_advdefense.attacks.gradient.auto_pgd_runs import finish
from tf_advdefense.attacks.gradient.auto_pgd_runs import init


def cost(hyper):
    """The forward and the backward passes that an attack takes at most."""
    points = hyper["n_iter"] + (3 if hyper["use_largereps"] else 1)
    runs = hyper.get("n_target_classes", 1) * hyper["n_restarts"]
    backwards = runs * points * hyper["eot_iter"]
    return backwards + hyper["eot_iter"], backwards


def _check(norm, use_largereps):
    if use_largereps and norm != 1:
        raise ValueError(
            "`use_largereps` is for the L1 ball. "
            f"Received: norm={norm!r}. Leave it False, or use norm=1."
        )


def _stages(loss):
    """The stages of Auto-PGD on one loss."""
    bound = (functools.partial(stage, loss=loss) for stage in (init, advance))
    return Stages(*bound, finish)


@staged(norms=(np.inf, 2, 1), stages=_stages("ce"))
def apgd_ce(
    *,
    eps=8 / 255,
    norm=np.inf,
    n_iter=100,
    n_restarts=1,
    eot_iter=1,
    rho=0.75,
    use_largereps=False,
):
    """Auto-PGD on the cross-entropy, Croce and Hein 2020 (arXiv:2003.01690), alg. 1.

    Args:
      n_iter: steps of a run, which takes one input gradient more than that.
      n_restarts: runs from other random starts, for images not yet fooled; AutoAttack
        takes 5 in L1.
      eot_iter: passes of which the loss, its gradient and the class are the mean, for
        models that draw random numbers.
      rho: the share of steps that must raise the loss, or the step is halved (Linf and
        L2).
      use_largereps: in L1, take 30 % of the iterations in a ball three times as wide
        and 30 % in one twice as wide (arXiv:2103.01208, section 4.3), which take two
        gradients more; AutoAttack does.
    """
    _check(norm, use_largereps)


@staged(norms=(np.inf, 2, 1), stages=_stages("dlr"))
def apgd_dlr(
    *,
    eps=8 / 255,
    norm=np.inf,
    n_iter=100,
    n_restarts=1,
    eot_iter=1,
    rho=0.75,
    use_largereps=False,
):
    """Auto-PGD on the difference of logits ratio, arXiv:2003.01690, section 4.1.

    Blind to the scale of the logits, which makes the cross-entropy's gradient vanish.
    Needs three classes. Targeted, the loss is that of `apgd_t`. The hyperparameters are
    those of `apgd_ce`.
    """
    _check(norm, use_largereps)


@staged(norms=(np.inf, 2, 1), stages=_stages("targeted_dlr"))
def apgd_t(
    *,
    eps=8 / 255,
    norm=np.inf,
    n_iter=100,
    n_restarts=1,
    eot_iter=1,
    rho=0.75,
    n_target_classes=9,
    use_largereps=False,
):
    """Auto-PGD towards one wrong class after another, arXiv:2003.01690, section 4.2.

    The targets are the likeliest wrong classes of the clean image, at most all of them,
    and any wrong class is a success. The loss is `losses.targeted_dlr`, which for two
    and three classes, where the original has none, is a difference of logits. Targeted,
    there is one target, `y`, and the class left is the model's own. AutoAttack takes 5
    targets in L1. The other hyperparameters are those of `apgd_ce`.
    """
    _check(norm, use_largereps)
