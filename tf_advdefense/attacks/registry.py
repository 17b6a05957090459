"""The attacks by name. TensorFlow is loaded when one of them is asked for.

    attack = make_attack("pgd", eps=4 / 255, nb_iter=10)
    adv = attack(model, images, labels)

To add an attack: write its file (see `core.attack`) and a line here.
"""

from typing import TYPE_CHECKING
from typing import Any

from tf_advdefense.registry import Registry

if TYPE_CHECKING:
    from tf_advdefense.attacks.core.attack import Attack

ATTACKS = Registry(
    "attack",
    "tf_advdefense.attacks",
    {
        "fgsm": "gradient.fast_gradient:fgsm",
        "r_fgsm": "gradient.fast_gradient:r_fgsm",
        "bim": "gradient.iterative_gradient:bim",
        "pgd": "gradient.projected_gradient:pgd",
        "mim": "gradient.iterative_gradient:mim",
        "sparse_l1": "gradient.sparse_l1:sparse_l1",
        "apgd_ce": "gradient.auto_pgd:apgd_ce",
        "apgd_dlr": "gradient.auto_pgd:apgd_dlr",
        "apgd_t": "gradient.auto_pgd:apgd_t",
        "autoattack": "autoattack:autoattack",
        "cw": "minimal_norm.carlini_wagner:cw",
        "ead": "minimal_norm.elastic_net:ead",
        "jsma": "minimal_norm.saliency_map:jsma",
        "deepfool": "minimal_norm.deepfool:deepfool",
        "fab_t": "minimal_norm.fab:fab_t",
        "fmn": "minimal_norm.fmn:fmn",
        "minimal_eps": "minimal_norm.minimal_eps:minimal_eps",
        "square": "black_box.square:square",
        "spsa": "black_box.spsa:spsa",
        "noise": "black_box.noise:noise",
        "spatial": "black_box.spatial:spatial",
        "hop_skip_jump": "black_box.hop_skip_jump:hop_skip_jump",
    },
)


def make_attack(name: str, **hyper: Any) -> "Attack":
    """An attack from its name and the hyperparameters that differ from its defaults.

    Raises:
      ValueError: in one line, for an unknown name or hyperparameter, or an eps or norm
        out of range.
    """
    return ATTACKS.find(name).replace(**hyper)
