"""AutoAttack: a fixed sequence of attacks, each on the images that are still robust.

    adv = autoattack(model, images, labels, eps=8 / 255)
    adv = autoattack(model, images, labels, eps=0.5, norm=2, version="plus")

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps is in
their units. An image that a part fools is left alone by the parts after it; one that no
part fools comes back as the last part leaves it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_advdefense.attacks.black_box.square import square
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.gradient.auto_pgd import apgd_ce
from tf_advdefense.attacks.gradient.auto_pgd import apgd_dlr
from tf_advdefense.attacks.gradient.auto_pgd import apgd_t
from tf_advdefense.attacks.minimal_norm.fab import fab_t

_VERSIONS = ("standard", "plus", "rand")


class Hyper(NamedTuple):
    """Croce and Hein 2020 (arXiv:2003.01690), section 6; L1: arXiv:2103.01208.

    "standard" is `apgd_ce`, `apgd_t` with 9 targets, `fab_t` with 9 targets, `square`;
    in L1, `apgd_ce` with 5 restarts and `apgd_t` with 5 targets, both with the schedule
    of radii. "plus" is `apgd_ce` and `apgd_dlr` with 5 restarts, `square`, `apgd_t`,
    and `fab_t` with 5 restarts, which stands for the original's two FABs: the
    untargeted one, which takes a gradient of every class, is not here. "rand", for
    models that draw random numbers, is `apgd_ce` and `apgd_dlr` with means over 20
    passes. Targeted, which the original is not, each part goes for `y`.

    Only the budgets as they are give numbers to compare with published ones.

    Attributes:
      eps: the radius.
      norm: np.inf, 2 or 1.
      version: "standard", "plus" or "rand".
      n_iter: iterations of a run of Auto-PGD and of FAB.
      n_queries: of Square.
    """

    eps: float = 8 / 255
    norm: float = np.inf
    version: str = "standard"
    n_iter: int = 100
    n_queries: int = 5000


def parts(hyper: Hyper, num_classes: int = 10) -> list[Attack]:
    """The attacks, in their order; below three classes without the ratio of three."""
    found = _parts(hyper)
    return [each for each in found if num_classes > 2 or each.name != "apgd_dlr"]


def _parts(hyper):
    ball = {"eps": hyper.eps, "norm": hyper.norm}
    climb = {**ball, "n_iter": hyper.n_iter}
    search = square.replace(**ball, n_queries=hyper.n_queries)
    if hyper.version == "rand":
        return [each.replace(**climb, eot_iter=20) for each in (apgd_ce, apgd_dlr)]
    if hyper.version == "plus":
        again = {**climb, "n_restarts": 5}
        return [
            apgd_ce.replace(**again),
            apgd_dlr.replace(**again),
            search,
            apgd_t.replace(**climb),
            fab_t.replace(**again),
        ]
    first, second = {}, {}
    if hyper.norm == 1:
        first = {"n_restarts": 5, "use_largereps": True}
        second = {"n_target_classes": 5, "use_largereps": True}
    return [
        apgd_ce.replace(**climb, **first),
        apgd_t.replace(**climb, **second),
        fab_t.replace(**climb),
        search,
    ]


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """The sum of the parts'."""
    each = [part.cost(image_shape, num_classes) for part in parts(hyper, num_classes)]
    return tuple(map(sum, zip(*each)))


def check(hyper: Hyper) -> None:
    """Refuses an unknown version."""
    if hyper.version not in _VERSIONS:
        raise ValueError(
            f"`version` must be one of {', '.join(_VERSIONS)}. "
            f"Received: version={hyper.version!r}."
        )


autoattack = Attack(
    name="autoattack",
    title="AutoAttack",
    paper="arXiv:2003.01690",
    norms=(np.inf, 2, 1),
    goal="fixed-eps",
    access="gradients",
    hyper=Hyper(),
    passes=passes,
    spent=0.001,
    parts=parts,
    check=check,
)
