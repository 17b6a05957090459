"""Defences: a training loss on a batch, and what it takes to compute it.

    defense = make_defense("pgd_at", eps=4 / 255, nb_iter=7)
    loss, clean_logits = defense(model, batch)

`batch` holds `image` and `label`; for a defence trained on pre-generated adversarial
sets, `adv_image` and `adv_label`; and for random draws, `draw`, an int64 per image. A
defence that trains on no clean images returns its adversarial ones' logits instead.

A defence that crafts has two parts, `defense.craft(model, batch) -> batch`, which the
training step runs outside its gradient tape, and `defense.loss`. To add a defence,
write them in a file here and add a line to `DEFENSES`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.contract import defaults as attack_defaults
from tf_advdefense.attacks.contract import nearest
from tf_advdefense.attacks import ATTACKS
from tf_advdefense.defenses import adversarial_training
from tf_advdefense.defenses import hyperparameters
from tf_advdefense.defenses import sets as sets_
from tf_advdefense.defenses import trades
from tf_advdefense.defenses.given_images import mixed
from tf_advdefense.defenses.given_images import plain
from tf_advdefense.defenses.sets import set_weights  # noqa: F401
from tf_advdefense.defenses.sets import sources


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
      published: name of a data set to the hyperparameters published for it; those of
        "cifar10" hold for data sets without an entry.
    """

    loss: Callable
    check_sources: Callable | None
    summary: str
    craft: Callable | None = None
    attack: str | None = None
    published: dict = dataclasses.field(default_factory=lambda: {"cifar10": {}})


DEFENSES = {
    "none": Defense(plain, None, "clean images only"),
    "adversarial": Defense(
        mixed, sets_.same_architecture,
        "clean images mixed with pre-generated examples of the same architecture "
        "(Goodfellow et al. 2015, arXiv:1412.6572, with static examples)"),
    "ensemble": Defense(
        mixed, sets_.other_architecture,
        "clean images mixed with pre-generated examples of other source models, one "
        "source per batch (Tramer et al. 2018, arXiv:1705.07204)"),
    "fgsm_at": Defense(
        adversarial_training.adversarial_loss, None,
        "every image clean and with FGSM on the current weights, labels predicted "
        "(Goodfellow et al. 2015, arXiv:1412.6572)",
        adversarial_training.against_current, "fgsm",
        {"cifar10": dict(eps=8 / 255, labels="predicted", adv_weight=0.5),
         "mnist": dict(eps=0.25, labels="predicted", adv_weight=0.5)}),
    "pgd_at": Defense(
        adversarial_training.adversarial_loss, None,
        "PGD examples of the current weights instead of the images (Madry et al. 2018, "
        "arXiv:1706.06083)",
        adversarial_training.against_current, "pgd",
        {"cifar10": dict(eps=8 / 255, eps_iter=2 / 255, nb_iter=10, rand_init=True),
         "mnist": dict(eps=0.3, eps_iter=0.01, nb_iter=40, rand_init=True)}),
    "trades": Defense(
        trades.trades_loss, None,
        "clean loss plus beta times the divergence of predictions within eps (Zhang et "
        "al. 2019, arXiv:1901.08573)",
        trades.most_divergent, None,
        {"cifar10": dict(eps=0.031, eps_iter=0.007, nb_iter=10, beta=6.0),
         "mnist": dict(eps=0.3, eps_iter=0.01, nb_iter=40, beta=1.0)}),
}


def make_defense(name, *, dataset="cifar10", attack=None, parts=None, **hyper):
    """The training loss `defense(model, batch) -> (loss, clean_logits)` of a name.

    Args:
      name: a key of `DEFENSES`.
      dataset: whose published hyperparameters are the defaults.
      attack: name of another attack to craft with, for a defence that takes one.
      parts: what is no number: {"teacher": model}.
      **hyper: hyperparameters of the defence and of its attack.

    Returns:
      A function with the attributes `craft` and `loss`, whose composition it is
      (`craft` is None where nothing is crafted), and `hyper`, all hyperparameters.

    Raises:
      ValueError: in one line, for unknown names, or values out of range.
    """
    entry = _entry(name)
    known = hyperparameters.keywords(entry.craft, entry.loss)
    optional = {key: default for key, default in known.items()
                if default is not inspect.Parameter.empty}
    published = entry.published.get(dataset, entry.published["cifar10"])
    attack = _attack(name, attack, published, hyper, optional)
    own = {**optional, **_only(published, optional), **_only(hyper, optional)}
    hyperparameters.check(own, optional)
    given = {**own, **(parts or {}), **({"attack": attack} if attack else {})}
    _check_parts(name, known, given)
    return _bound(entry, given, {**own, **_described(attack)})


def _attack(name, chosen, published, hyper, own):
    """The defence's attack with its hyperparameters; refuses what nobody knows."""
    entry = _entry(name)
    if chosen and not entry.attack:
        raise ValueError(f"--defense={name} takes no other attack. Received: "
                         f"--attack={chosen}. Choose another --defense.")
    chosen = chosen or entry.attack
    if chosen and chosen not in ATTACKS:
        make_attack(chosen)  # Raises, naming the nearest.
    known = attack_defaults(ATTACKS[chosen].function) if chosen else {}
    for key in hyper:
        if key not in own and key not in known:
            raise hyperparameters.unknown(name, key, {**own, **known})
    if not chosen:
        return None
    # What was published for one attack need not fit another, but for its radius.
    kept = known if chosen == entry.attack else {"eps", "norm"} & known.keys()
    return make_attack(chosen, **{**_only(published, kept), **_only(hyper, known)})


def _only(values, names):
    return {key: value for key, value in values.items() if key in names}


def _check_parts(name, known, given):
    missing = [key for key in known if key not in given]
    if missing:
        raise ValueError(f"--defense={name} needs a {missing[0]}. Received: none. "
                         f"Give --{missing[0]}.")


def _described(attack):
    return {"attack": attack.name, **attack.hyper} if attack else {}


def _bound(entry, given, hyper):
    def bind(function):
        names = hyperparameters.keywords(function)
        return function and functools.partial(function, **_only(given, names))

    craft, loss = bind(entry.craft), bind(entry.loss)

    def defense(model, batch):
        return loss(model, craft(model, batch) if craft else batch)

    defense.craft, defense.loss, defense.hyper = craft, loss, hyper
    return defense


def needs_sets(name):
    """Whether a defence trains on pre-generated adversarial sets."""
    return _entry(name).check_sources is not None


def check_sets(name, *, model_name, dataset, image_shape, sets):
    """Refuse adversarial sets that a defence must not train on.

    Args:
      name: a key of `DEFENSES`.
      model_name: the architecture to be trained.
      dataset: fingerprint of the training data set.
      image_shape: (height, width, channels) of its images.
      sets: name of each set to its `config.json`.

    Raises:
      ValueError: no sets or superfluous ones, another data set or shape, images of
        a held-out split, or sources the defence does not take.
    """
    entry = _entry(name)
    if entry.check_sources is None:
        if sets:
            raise ValueError(f"--defense={name} uses no adversarial sets. Received: "
                             f"--adv_data={','.join(sets)}. Choose another --defense.")
        return
    if not sets:
        raise ValueError(
            f"--defense={name} needs adversarial sets. Received: no --adv_data. Craft "
            "one with bin/make_adv --attack=fgsm --split=train and name it.")
    for set_name, config in sets.items():
        sets_.check_set(set_name, config, dataset, image_shape)
    entry.check_sources(model_name, sources(sets).values())


def _entry(name):
    if name not in DEFENSES:
        raise ValueError(f"Unknown defence '{name}'. {nearest(name, DEFENSES)}"
                         f"Known: {', '.join(DEFENSES)}.")
    return DEFENSES[name]
