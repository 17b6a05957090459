"""The defences by name: what they train on, by which loss, with which settings."""

from collections.abc import Callable
import dataclasses

from tf_advdefense.defenses import adversarial_training
from tf_advdefense.defenses import distillation
from tf_advdefense.defenses import ensemble
from tf_advdefense.defenses import free
from tf_advdefense.defenses import given_images
from tf_advdefense.defenses import multi_norm
from tf_advdefense.defenses import sets
from tf_advdefense.defenses import trades


@dataclasses.dataclass(frozen=True)
class Defense:
    """A registry entry.

    Attributes:
      loss: `loss(model, batch, *, ...) -> (loss, clean_logits)`; the keyword-only
        arguments of it and of `craft` are the hyperparameters.
      check_sources: whose adversarial sets it takes; None: none.
      summary: a line with its source.
      craft: None, or `craft(model, batch, *, ...) -> batch`, run outside the tape.
      attack: None, or the name of the attack that `craft` is given.
      training: optimizer, schedule and epochs where they are part of the method.
      max_drop: the fall of accuracy under PGD that ends the training; None: none.
      published: name of a data set to the hyperparameters published for it; those of
        "cifar10" hold for data sets without an entry.
    """

    loss: Callable
    check_sources: Callable | None
    summary: str
    craft: Callable | None = None
    attack: str | None = None
    published: dict = dataclasses.field(default_factory=lambda: {"cifar10": {}})
    training: dict = dataclasses.field(default_factory=dict)
    max_drop: float | None = None


DEFENSES = {
    "none": Defense(given_images.plain, None, "clean images only"),
    "adversarial": Defense(
        given_images.mixed,
        sets.same_architecture,
        "clean images mixed with pre-generated examples of the same architecture "
        "(Goodfellow et al. 2015, arXiv:1412.6572, with static examples)",
    ),
    "ensemble": Defense(
        given_images.mixed,
        sets.other_architecture,
        "clean images mixed with pre-generated examples of other models, one source "
        "per batch (Tramer et al. 2018, arXiv:1705.07204)",
    ),
    "ensemble_at": Defense(
        adversarial_training.adversarial_loss,
        None,
        "every image clean and with FGSM on a model drawn for the batch, one of "
        "--sources or the current one (Tramer et al. 2018, arXiv:1705.07204)",
        ensemble.against_drawn_source,
        "fgsm",
        {
            "cifar10": dict(eps=8 / 255, adv_weight=0.5),
            "mnist": dict(eps=0.3, adv_weight=0.5),
        },
    ),
    "fgsm_at": Defense(
        adversarial_training.adversarial_loss,
        None,
        "every image clean and with FGSM on the current weights, labels predicted "
        "(Goodfellow et al. 2015, arXiv:1412.6572)",
        adversarial_training.against_current,
        "fgsm",
        {
            "cifar10": dict(eps=8 / 255, labels="predicted", adv_weight=0.5),
            "mnist": dict(eps=0.25, labels="predicted", adv_weight=0.5),
        },
    ),
    "pgd_at": Defense(
        adversarial_training.adversarial_loss,
        None,
        "PGD examples of the current weights instead of the images (Madry et al. 2018, "
        "arXiv:1706.06083)",
        adversarial_training.against_current,
        "pgd",
        {
            "cifar10": dict(eps=8 / 255, eps_iter=2 / 255, nb_iter=10, rand_init=True),
            "mnist": dict(eps=0.3, eps_iter=0.01, nb_iter=40, rand_init=True),
        },
    ),
    "trades": Defense(
        trades.trades_loss,
        None,
        "clean loss plus beta times the divergence of predictions within eps (Zhang et "
        "al. 2019, arXiv:1901.08573)",
        trades.most_divergent,
        None,
        {
            "cifar10": dict(eps=0.031, eps_iter=0.007, nb_iter=10, beta=6.0),
            "mnist": dict(eps=0.3, eps_iter=0.01, nb_iter=40, beta=1.0),
        },
    ),
    "fast_at": Defense(
        adversarial_training.adversarial_loss,
        None,
        "FGSM from a random start instead of the images, with a cyclic rate and a "
        "guard against catastrophic overfitting (Wong et al. 2020, arXiv:2001.03994)",
        adversarial_training.random_step,
        None,
        {
            "cifar10": dict(eps=8 / 255, eps_iter=10 / 255),
            "mnist": dict(eps=0.3, eps_iter=0.375),
        },
        dict(
            optimizer="sgd",
            learning_rate=0.2,
            weight_decay=5e-4,
            schedule="cyclic",
            epochs=15,
        ),
        max_drop=0.2,
    ),
    "free_at": Defense(
        free.free_at,
        None,
        "each batch trained on 8 times, whose gradients also perturb it (Shafahi et "
        "al. 2019, arXiv:1904.12843)",
        training=dict(
            optimizer="sgd",
            learning_rate=0.04,
            weight_decay=5e-4,
            schedule="cyclic",
            epochs=10,
        ),
        max_drop=0.2,
    ),
    "multi_norm": Defense(
        adversarial_training.adversarial_loss,
        None,
        "the worst, or each, of an L-inf, an L2 and a sparse L1 example instead of the "
        "image (Tramer and Boneh 2019, arXiv:1904.13000)",
        multi_norm.in_three_norms,
    ),
    "distillation": Defense(
        distillation.distillation_loss,
        None,
        "a teacher's probabilities at a temperature as labels; the teacher is trained "
        "with --defense_args=temperature=100 (Papernot et al. 2016, arXiv:1511.04508)",
        distillation.soft_labels,
    ),
}
