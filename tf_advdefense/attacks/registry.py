"""Attacks: images that fool a classifier, near the images they are made from.

    attack = make_attack("pgd", eps=4 / 255, nb_iter=10)
    adv = attack(model, images, labels)

`model` is a keras.Model, or any function, from any number of images to logits, or a
list of them to attack at once (`model_fn.joint`); `images` are float32 `[batch, height,
width, channels]` in [0, 1] and `labels` int `[batch]`. Every attack is called alike:

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

from collections.abc import Callable
import dataclasses
import math
import operator

from tf_advdefense.attacks import autoattack
from tf_advdefense.attacks.black_box import hop_skip_jump
from tf_advdefense.attacks.black_box import noise
from tf_advdefense.attacks.black_box import spatial
from tf_advdefense.attacks.black_box import spsa
from tf_advdefense.attacks.black_box import square
from tf_advdefense.attacks.core.contract import check_hyper
from tf_advdefense.attacks.core.contract import defaults
from tf_advdefense.attacks.core.contract import nearest
from tf_advdefense.attacks.gradient import auto_pgd as autopgd
from tf_advdefense.attacks.gradient import fast_gradient as gradient
from tf_advdefense.attacks.gradient import projected_gradient
from tf_advdefense.attacks.gradient import sparse_l1
from tf_advdefense.attacks.minimal_norm import carlini_wagner
from tf_advdefense.attacks.minimal_norm import deepfool
from tf_advdefense.attacks.minimal_norm import elastic_net
from tf_advdefense.attacks.minimal_norm import fab
from tf_advdefense.attacks.minimal_norm import fmn
from tf_advdefense.attacks.minimal_norm import minimal_eps
from tf_advdefense.attacks.minimal_norm import saliency_map


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
        """The order of its ball or of what it makes small: np.inf, 2, 1, 0 or None."""
        return self.hyper.get("norm", self.function.norms[0])

    @property
    def stages(self):
        """Its `stages.Stages`, or None where it does not stop per image."""
        return getattr(self.function, "stages", None)

    @property
    def parts(self):
        """The attacks it is a sequence of, or None where it is one attack alone."""
        sequence = getattr(self.function, "sequence", None)
        return sequence and [
            make_attack(function.__name__, **hyper)
            for function, hyper in sequence(self.hyper)
        ]

    @property
    def passes(self):
        """The forward and the backward passes it takes per image, at most."""
        return self.cost(self.hyper)


def _gradients(*names, forwards=1):
    """The cost of as many input gradients as the product of these hyperparameters.

    Args:
      names: of the hyperparameters.
      forwards: the forward passes for each backward pass.
    """

    def cost(hyper):
        iterations = math.prod(hyper[name] for name in names)
        return forwards * iterations, iterations

    return cost


def _queries(count):
    """The cost of an attack that goes forward only."""
    return lambda hyper: (count(hyper), 0)


def _sum_of_parts(sequence):
    """The cost of a sequence of attacks."""

    def cost(hyper):
        parts = (make_attack(part.__name__, **each) for part, each in sequence(hyper))
        return tuple(map(sum, zip(*(part.passes for part in parts))))

    return cost


FIXED, MINIMAL, SCORES = "fixed-eps", "minimal-norm", "score-based"
_SEARCH = ("binary_search_steps", "max_iterations")

ATTACKS = {
    "fgsm": Attack(gradient.fgsm, FIXED, "arXiv:1412.6572", _gradients()),
    "r_fgsm": Attack(gradient.r_fgsm, FIXED, "arXiv:1705.07204", _gradients()),
    "bim": Attack(gradient.bim, FIXED, "arXiv:1607.02533", _gradients("nb_iter")),
    "pgd": Attack(
        projected_gradient.pgd, FIXED, "arXiv:1706.06083", projected_gradient.cost
    ),
    "mim": Attack(gradient.mim, FIXED, "arXiv:1710.06081", _gradients("nb_iter")),
    "sparse_l1": Attack(
        sparse_l1.sparse_l1, FIXED, "arXiv:1904.13000", _gradients("nb_iter")
    ),
    "apgd_ce": Attack(autopgd.apgd_ce, FIXED, "arXiv:2003.01690", autopgd.cost),
    "apgd_dlr": Attack(autopgd.apgd_dlr, FIXED, "arXiv:2003.01690", autopgd.cost),
    "apgd_t": Attack(autopgd.apgd_t, FIXED, "arXiv:2003.01690", autopgd.cost),
    "autoattack": Attack(
        autoattack.autoattack,
        FIXED,
        "arXiv:2003.01690",
        _sum_of_parts(autoattack.sequence),
    ),
    "cw": Attack(carlini_wagner.cw, MINIMAL, "arXiv:1608.04644", _gradients(*_SEARCH)),
    "ead": Attack(
        elastic_net.ead, MINIMAL, "arXiv:1709.04114", _gradients(*_SEARCH, forwards=2)
    ),
    "jsma": Attack(saliency_map.jsma, MINIMAL, "arXiv:1511.07528", saliency_map.cost),
    "deepfool": Attack(deepfool.deepfool, MINIMAL, "arXiv:1511.04599", deepfool.cost),
    "fab_t": Attack(fab.fab_t, MINIMAL, "arXiv:1907.02044", fab.cost),
    "fmn": Attack(fmn.fmn, MINIMAL, "arXiv:2102.12827", _gradients("steps")),
    "minimal_eps": Attack(
        minimal_eps.minimal_eps, MINIMAL, "arXiv:1706.06083", minimal_eps.cost
    ),
    "square": Attack(
        square.square, SCORES, "arXiv:1912.00049", _queries(square.queries)
    ),
    "spsa": Attack(spsa.spsa, SCORES, "arXiv:1802.05666", spsa.passes),
    "noise": Attack(
        noise.noise,
        SCORES,
        "arXiv:1901.10513",
        _queries(operator.itemgetter("n_draws")),
    ),
    "spatial": Attack(
        spatial.spatial, SCORES, "arXiv:1712.02779", _queries(spatial.count)
    ),
    "hop_skip_jump": Attack(
        hop_skip_jump.hop_skip_jump,
        "decision-based",
        "arXiv:1904.02144",
        hop_skip_jump.most_passes,
    ),
}


# What the binaries run instead of CleverHans' defaults where those take days on a CPU:
# 5 x 1000 iterations of cw on 10,000 images of ResNet50 are 69 hours on two cores, and
# 9 x 1000 of ead more than twice that. On 128 images that hold out, 5000 queries of
# square are 22 minutes, 100 x 128 probes of spsa 55, where 20 iterations end with the
# first success in under 6, and the 38,000 questions of hop_skip_jump three hours, where
# 2,000 take about as long as cw. Of jsma, a tenth of an image's values fools an
# undefended network; where that does not, all of them take ten times as long. Of fab_t,
# 9 targets x 100 iterations take about 13 minutes for 128 images; the distances after
# 20 were within 1 % of those after 100 (64 images, L2, the first target).
BUDGETS = {
    "cw": {"max_iterations": 200},
    "ead": {"max_iterations": 100, "abort_early": True},
    "jsma": {"gamma": 0.1},
    "fab_t": {"n_iter": 20},
    "square": {"n_queries": 1000},
    "spsa": {"nb_iter": 20, "spsa_samples": 64, "early_stop_loss_threshold": 0.0},
    "hop_skip_jump": {"max_queries": 2000},
}


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
