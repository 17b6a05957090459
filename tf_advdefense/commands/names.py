"""Names that flags take, known before TensorFlow, which takes seconds, is loaded."""

from tf_advdefense.attacks.registry import ATTACKS
from tf_advdefense.models.registry import MODELS
from tf_advdefense.registry import Registry

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("onecycle", "cosine", "plateau", "constant", "cyclic")
STRATEGIES = ("none", "mirrored")
CRAFT_BN = ("inference", "training")
STORES = ("float32", "uint8")


def _listed(kind: str, names: str) -> Registry:
    return Registry(kind, "", dict.fromkeys(names.split(), ""))


# To be replaced by the registries of `defenses` and `transforms` themselves.
DEFENSES = _listed(
    "defence",
    "none adversarial ensemble ensemble_at fgsm_at pgd_at trades fast_at free_at "
    "multi_norm distillation",
)
TRANSFORMS = _listed("transformation", "bit_depth jpeg crop_rescale tv quilting")


def attack(text: str) -> str:
    """The name of an attack; ValueError names the nearest and all others."""
    ATTACKS.check(text)
    return text


def defense(text: str) -> str:
    """The name of a defence."""
    DEFENSES.check(text)
    return text


def model(text: str) -> str:
    """The name of an architecture; keras:NAME is looked up when it is built."""
    if not text.startswith("keras:"):
        MODELS.check(text)
    return text


def transforms(text: str) -> str:
    """`jpeg:quality=75,bit_depth:bits=3`, whose parameters are looked at later."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, _ = part.partition(":")
        if separator or "=" not in part:
            TRANSFORMS.check(name)
    return text
