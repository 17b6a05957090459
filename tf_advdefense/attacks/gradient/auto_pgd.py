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

from collections.abc import Sequence
import functools
from typing import Any
from typing import NamedTuple

import numpy as np

from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.gradient import auto_pgd_runs


class Hyper(NamedTuple):
    """Auto-PGD on the cross-entropy, Croce and Hein 2020 (arXiv:2003.01690), alg. 1.

    Attributes:
      eps: the radius.
      norm: np.inf, 2 or 1.
      n_iter: steps of a run, which takes one input gradient more than that.
      n_restarts: runs from other random starts, for images not yet fooled; AutoAttack
        takes 5 in L1.
      eot_iter: passes of which the loss, its gradient and the class are the mean, for
        models that draw random numbers; one where the model is known to be random, and
        is the mean over its draws already (`defenses.transforms`).
      rho: the share of steps that must raise the loss, or the step is halved (Linf and
        L2).
      use_largereps: in L1, take 30 % of the iterations in a ball three times as wide
        and 30 % in one twice as wide (arXiv:2103.01208, section 4.3), which take two
        gradients more; AutoAttack does.
    """

    eps: float = 8 / 255
    norm: float = np.inf
    n_iter: int = 100
    n_restarts: int = 1
    eot_iter: int = 1
    rho: float = 0.75
    use_largereps: bool = False


class RatioHyper(Hyper):
    """Auto-PGD on the difference of logits ratio, arXiv:2003.01690, section 4.1.

    Blind to the scale of the logits, which makes the cross-entropy's gradient vanish.
    Needs three classes. Targeted, the loss is that of `apgd_t`.

    Attributes:
      eps, norm, n_iter, n_restarts, eot_iter, rho, use_largereps: as of `apgd_ce`.
    """


class TargetedHyper(NamedTuple):
    """Auto-PGD towards one wrong class after another, arXiv:2003.01690, section 4.2.

    The targets are the likeliest wrong classes of the clean image, at most all of them,
    and any wrong class is a success. The loss is `losses.targeted_dlr`, which for two
    and three classes, where the original has none, is a difference of logits. Targeted,
    there is one target, `y`, and the class left is the model's own.

    Attributes:
      n_target_classes: how many wrong classes to try; AutoAttack takes 5 in L1.
      eps, norm, n_iter, n_restarts, eot_iter, rho, use_largereps: as of `apgd_ce`.
    """

    eps: float = 8 / 255
    norm: float = np.inf
    n_iter: int = 100
    n_restarts: int = 1
    eot_iter: int = 1
    rho: float = 0.75
    n_target_classes: int = 9
    use_largereps: bool = False


def passes(hyper: Any, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A gradient for each point of each run, and a look at the image."""
    points = hyper.n_iter + (3 if hyper.use_largereps else 1)
    targets = min(getattr(hyper, "n_target_classes", 1), num_classes - 1)
    backwards = targets * hyper.n_restarts * points * hyper.eot_iter
    return backwards + hyper.eot_iter, backwards


def check(hyper: Any) -> None:
    """Refuses the schedule of radii outside the L1 ball."""
    if hyper.use_largereps and hyper.norm != 1:
        raise ValueError(
            "`use_largereps` is for the L1 ball. "
            f"Received: norm={hyper.norm!r}. Leave it False, or use norm=1."
        )


def _auto_pgd(name, title, hyper, loss):
    """The attack on one loss."""
    return Attack(
        name=name,
        title=title,
        paper="arXiv:2003.01690",
        norms=(np.inf, 2, 1),
        goal="fixed-eps",
        access="gradients",
        hyper=hyper,
        init=functools.partial(auto_pgd_runs.init, loss=loss),
        advance=functools.partial(auto_pgd_runs.advance, loss=loss),
        finish=auto_pgd_runs.finish,
        passes=passes,
        spent=0.02,
        check=check,
    )


apgd_ce = _auto_pgd("apgd_ce", "APGD-CE", Hyper(), "ce")
apgd_dlr = _auto_pgd("apgd_dlr", "APGD-DLR", RatioHyper(), "dlr")
apgd_t = _auto_pgd("apgd_t", "APGD-T", TargetedHyper(), "targeted_dlr")
