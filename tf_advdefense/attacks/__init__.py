"""Attacks: images that fool a classifier, near the images they are made from.

    attack = make_attack("pgd", eps=4 / 255, nb_iter=10)
    adv = attack(model, images, labels)

`model` is a keras.Model, or any function, from images to logits, or a list of them to
attack at once (`contract.joint`); `images` are float32 `[batch, height, width,
channels]` in [0, 1] and `labels` int `[batch]`. Every attack is called alike:

    attack(model_fn, x, y=None, targeted=False, clip_min=0.0, clip_max=1.0, seed=0,
           index=None, **hyper)

and returns a float32 tensor like `x`: finite, inside [clip_min, clip_max] and inside
the attack's ball; `x` is not modified, eps = 0 is the identity, and no gradient flows
through it. `y` are the labels to leave, or with `targeted` the classes to reach; None
takes the model's own predictions. `index`, int `[batch]`, names the images in their
data set: random draws depend on it and on `seed` only, never on the rest of the batch.
Eager or inside a tf.function, the model runs in inference mode.

Parameters carry CleverHans' names and defaults. `engine` runs an attack over arrays.
To add one: a function under `contract`, and an entry of ATTACKS.
"""

import dataclasses
import math
from typing import Callable

from tf_advdefense.attacks import carlini_wagner
from tf_advdefense.attacks import fmn
from tf_advdefense.attacks import gradient
from tf_advdefense.attacks import minimal_eps
from tf_advdefense.attacks import projected_gradient
from tf_advdefense.attacks import sparse_l1
from tf_advdefense.attacks.contract import check_hyper
from tf_advdefense.attacks.contract import defaults
from tf_advdefense.attacks.contract import nearest


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack with its hyperparameters; called as the module's docstring says.

    Attributes:
      function: the attack.
      kind: "fixed-eps", "minimal-norm", "score-based" or "decision-based".
      paper: its source.
      cost: the forward and the backward passes it takes per image at most, a pair, from
        its hyperparameters.
      hyper: every hyperparameter.
    """

    function: Callable
    kind: str
    paper: str
    cost: Callable[[dict], tuple]
    hyper: dict = dataclasses.field(default_factory=dict)

    def __call__(self, model_fn, x, y=None, *args, **kwargs):
        return self.function(model_fn, x, y, *args, **{**self.hyper, **kwargs})

    def __post_init__(self):
        check_hyper(self.function, self.hyper)
        complete = {**defaults(self.function), **self.hyper}
        object.__setattr__(self, "hyper", complete)

    @property
    def name(self):
        return self.function.__name__

    @property
    def norm(self):
        """The order of the ball, or of the norm it makes small: np.inf, 2, 1 or 0."""
        return self.hyper.get("norm", self.function.norms[0])

    @property
    def stages(self):
        """Its `stages.Stages`, or None where it does not stop per image."""
        return getattr(self.function, "stages", None)

    @property
    def passes(self):
        """The forward and the backward passes it takes per image, at most."""
        return self.cost(self.hyper)


def _gradients(*names):
    """The cost of as many input gradients as the product of these hyperparameters."""
    return lambda hyper: (math.prod(hyper[name] for name in names),) * 2


ATTACKS = {
    "fgsm": Attack(gradient.fgsm, "fixed-eps", "arXiv:1412.6572", _gradients()),
    "bim": Attack(gradient.bim, "fixed-eps", "arXiv:1607.02533", _gradients("nb_iter")),
    "pgd": Attack(
        projected_gradient.pgd,
        "fixed-eps",
        "arXiv:1706.06083",
        lambda hyper: (
            hyper["nb_restarts"] * (hyper["nb_iter"] + (hyper["nb_restarts"] > 1)),
            hyper["nb_restarts"] * hyper["nb_iter"],
        ),
    ),
    "mim": Attack(gradient.mim, "fixed-eps", "arXiv:1710.06081", _gradients("nb_iter")),
    "cw": Attack(
        carlini_wagner.cw,
        "minimal-norm",
        "arXiv:1608.04644",
        _gradients("binary_search_steps", "max_iterations"),
    ),
    "fmn": Attack(fmn.fmn, "minimal-norm", "arXiv:2102.12827", _gradients("steps")),
    "minimal_eps": Attack(
        minimal_eps.minimal_eps,
        "minimal-norm",
        "arXiv:1706.06083",
        minimal_eps.cost,
    ),
    "sparse_l1": Attack(
        sparse_l1.sparse_l1, "fixed-eps", "arXiv:1904.13000", _gradients("nb_iter")
    ),
}


# What the binaries run instead of CleverHans' defaults where those take days on a CPU:
# 5 x 1000 iterations of cw on 10,000 images of ResNet50 are 69 hours on two cores.
BUDGETS = {"cw": {"max_iterations": 200}}


def make_attack(name, **hyper):
    """An `Attack` from its name and the hyperparameters that differ from its defaults.

    Raises:
      ValueError: in one line, for an unknown name or hyperparameter, or an eps or norm
        out of range.
    """
    if name not in ATTACKS:
        raise ValueError(
            f"Unknown attack {name!r}. {nearest(name, ATTACKS)}"
            f"Known: {', '.join(ATTACKS)}."
        )
    return dataclasses.replace(ATTACKS[name], hyper=hyper)
