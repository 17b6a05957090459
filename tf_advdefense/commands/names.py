"""Names that flags take, known before TensorFlow, which takes seconds, is loaded."""

from tf_advdefense.attacks.registry import ATTACKS
from tf_advdefense.defenses.choices import CRAFT_BN as CRAFT_BN
from tf_advdefense.defenses.registry import DEFENSES
from tf_advdefense.defenses.transforms.registry import TRANSFORMS
from tf_advdefense.models.registry import MODELS
from tf_advdefense.strategies import STRATEGIES as STRATEGIES
from tf_advdefense.training.registry import AVERAGES as AVERAGES
from tf_advdefense.training.registry import OPTIMIZERS as OPTIMIZERS
from tf_advdefense.training.registry import SCHEDULES as SCHEDULES

STORES = ("float32", "uint8")
SUITES = ("quick", "standard")  # Those of `evaluation.suites`.


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
