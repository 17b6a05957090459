"""The defences by name, with a line for each; TensorFlow loads with their objects.

    list(DEFENSES)                     # names
    SUMMARIES["pgd_at"]                # what it trains on, and its source
    make_defense("pgd_at", eps=4 / 255, nb_iter=7)

The defence `pgd_at` is the object `pgd_at` of the module `pgd_at`.
"""

from typing import TYPE_CHECKING
from typing import Any

from tf_advdefense.registry import Registry

if TYPE_CHECKING:
    from tf_advdefense.defenses.defense import BoundDefense

SUMMARIES = {
    "none": "clean images only",
    "adversarial": "clean images mixed with pre-generated examples of the same "
    "architecture (Goodfellow et al. 2015, arXiv:1412.6572, with static examples)",
    "ensemble": "clean images mixed with pre-generated examples of other models, one "
    "source per batch (Tramer et al. 2018, arXiv:1705.07204)",
    "ensemble_at": "every image clean and with FGSM on a model drawn for the batch, "
    "one of several sources or the current one (Tramer et al. 2018, arXiv:1705.07204)",
    "fgsm_at": "every image clean and with FGSM on the current weights, labels "
    "predicted (Goodfellow et al. 2015, arXiv:1412.6572)",
    "pgd_at": "PGD examples of the current weights instead of the images (Madry et "
    "al. 2018, arXiv:1706.06083)",
    "trades": "clean loss plus beta times the divergence of predictions within eps "
    "(Zhang et al. 2019, arXiv:1901.08573)",
    "mart": "PGD examples, the misclassified weighing more (Wang et al. 2020, ICLR)",
    "fast_at": "FGSM from a random start instead of the images, with a cyclic rate and "
    "a guard against catastrophic overfitting (Wong et al. 2020, arXiv:2001.03994)",
    "free_at": "each batch trained on 8 times, whose gradients also perturb it "
    "(Shafahi et al. 2019, arXiv:1904.12843)",
    "multi_norm": "of an L-inf, an L2 and a sparse L1 example the worst, each or a "
    "drawn one instead of the image (Tramer and Boneh 2019, arXiv:1904.13000)",
    "rslad": "a robust teacher's probabilities as labels of the images and of their "
    "neighbours within eps (Zi et al. 2021, arXiv:2108.07969)",
    "distillation": "a teacher's probabilities at a temperature as labels; the teacher "
    "is trained undefended at temperature=100 (Papernot et al. 2016, arXiv:1511.04508)",
}
DEFENSES = Registry(
    "defence", "tf_advdefense.defenses", {name: f"{name}:{name}" for name in SUMMARIES}
)


def make_defense(
    name: str,
    *,
    dataset: str = "cifar10",
    attack: str | None = None,
    parts: dict[str, Any] | None = None,
    **hyper: Any,
) -> "BoundDefense":
    """The training loss `defense(model, batch) -> (loss, clean_logits)` of a name.

    A given radius `eps` also scales the step `eps_iter`, where both are published and
    no other step is given: with eps=4/255 `pgd_at` steps by 1/255, as it was published
    with steps of 2/255 at 8/255, and `fast_at` by 5/255, 1.25 eps.

    Args:
      name: a key of `DEFENSES`.
      dataset: whose published hyperparameters are the defaults; those for CIFAR-10
        where none are published for it.
      attack: name of another attack to craft with, for a defence that takes one.
      parts: what is no number, for `needed_parts`: {"teacher": model}, or {"sources":
        [model, ...]}.
      **hyper: hyperparameters of the defence and of its attack.

    Raises:
      ValueError: in one line, for unknown names, or values out of range.
    """
    return DEFENSES.find(name).bind(
        dataset=dataset, attack=attack, parts=parts or {}, **hyper
    )


def check_made(defense: "BoundDefense", **given: Any) -> None:
    """Refuse, in one line, what is given beside a defence that is made already."""
    for name, value in given.items():
        if value:
            raise ValueError(
                f"A defence of `make_defense` has all its values. Received: `{name}` "
                f"beside {defense.name}. Give it to `make_defense`, or its name here."
            )


def needed_parts(name: str) -> list[str]:
    """Names of what a defence needs beside hyperparameters, such as "teacher"."""
    return list(DEFENSES.find(name).parts)
