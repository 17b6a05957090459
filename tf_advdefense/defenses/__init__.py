"""Defences: a training loss on a batch, and what it takes to compute it.

    defense = make_defense("pgd_at", eps=4 / 255, nb_iter=7)
    loss, clean_logits = defense(model, batch)

`batch` holds `image` and `label`; for a defence trained on pre-generated adversarial
sets, `adv_image` and `adv_label`; and for random draws, `draw`, an int64 per image. A
defence that trains on no clean images returns its adversarial ones' logits instead.

A defence that crafts has two parts, `defense.craft(model, batch) -> batch`, which the
training step runs outside its gradient tape, and `defense.loss`. To add a defence,
write them in a file here and add a line to `registry.DEFENSES`.
"""

import functools
import inspect

import tensorflow as tf

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.contract import defaults as attack_defaults
from tf_advdefense.attacks.core.contract import nearest
from tf_advdefense.defenses import hyperparameters
from tf_advdefense.defenses import sets as adversarial_sets
from tf_advdefense.defenses.given_images import plain  # noqa: F401
from tf_advdefense.defenses.registry import DEFENSES
from tf_advdefense.defenses.sets import set_weights  # noqa: F401


def make_defense(name, *, dataset="cifar10", attack=None, parts=None, **hyper):
    """The training loss `defense(model, batch) -> (loss, clean_logits)` of a name.

    Args:
      name: a key of `DEFENSES`.
      dataset: whose published hyperparameters are the defaults.
      attack: name of another attack to craft with, for a defence that takes one.
      parts: what is no number, for `needed_parts`: {"teacher": model}, or {"sources":
        [model, ...]}.
      **hyper: hyperparameters of the defence and of its attack.

    Returns:
      A function with the attributes `craft` and `loss`, whose composition it is
      (`craft` is None where nothing is crafted), `hyper`, all hyperparameters, and
      `variables`, what a checkpoint must hold of it.

    Raises:
      ValueError: in one line, for unknown names, or values out of range.
    """
    entry = _entry(name)
    known = hyperparameters.keywords(entry.craft, entry.loss)
    optional = {
        key: default
        for key, default in known.items()
        if default is not inspect.Parameter.empty
    }
    published = entry.published.get(dataset, entry.published["cifar10"])
    attack = _attack(name, attack, published, hyper, optional)
    own = {**optional, **_only(published, optional), **_only(hyper, optional)}
    hyperparameters.check(own, optional)
    parts = parts or {}
    _check_parts(name, parts)
    given = {**own, **parts, "attack": attack}
    defense = _bound(entry, given, {**own, **_described(attack)})
    defense.variables = [p for p in parts.values() if isinstance(p, tf.Variable)]
    return defense


def _attack(name, chosen, published, hyper, own):
    """The defence's attack with its hyperparameters; refuses what nobody knows."""
    entry = _entry(name)
    if chosen and not entry.attack:
        raise ValueError(
            f"--defense={name} takes no other attack. Received: "
            f"--attack={chosen}. Choose another --defense."
        )
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


def needed_parts(name):
    """Names of what a defence needs beside hyperparameters, such as "teacher"."""
    entry = _entry(name)
    known = hyperparameters.keywords(entry.craft, entry.loss)
    return [
        key
        for key, default in known.items()
        if default is inspect.Parameter.empty and key != "attack"
    ]


def _check_parts(name, parts):
    for part in needed_parts(name):
        if part not in parts:
            raise ValueError(
                f"--defense={name} needs its {part}. Received: none. Give --{part}."
            )
    for part in parts:
        if part not in needed_parts(name):
            raise ValueError(
                f"--defense={name} takes no {part}. Received: --{part}. "
                "Choose another --defense."
            )


def _described(attack):
    if attack is None:
        return {}
    return {"attack": attack.name, "norm": attack.norm, **attack.hyper}


def _bound(entry, given, hyper):
    def bind(function):
        names = hyperparameters.keywords(function)
        return function and functools.partial(function, **_only(given, names))

    craft, loss = bind(entry.craft), bind(entry.loss)

    def defense(model, batch):
        return loss(model, craft(model, batch) if craft else batch)

    defense.craft, defense.loss, defense.hyper = craft, loss, hyper
    return defense


def training_settings(name):
    """Optimizer settings and epochs that are part of a defence; of most, none."""
    return dict(_entry(name).training)


def max_drop(name):
    """The fall of accuracy under PGD that ends a training, or None."""
    return _entry(name).max_drop


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
            raise ValueError(
                f"--defense={name} uses no adversarial sets. Received: "
                f"--adv_data={','.join(sets)}. Choose another --defense."
            )
        return
    if not sets:
        raise ValueError(
            f"--defense={name} needs adversarial sets. Received: no --adv_data. Craft "
            "one with bin/make_adv --attack=fgsm --split=train and name it."
        )
    for set_name, config in sets.items():
        adversarial_sets.check_set(set_name, config, dataset, image_shape)
    entry.check_sources(model_name, adversarial_sets.sources(sets).values())


def _entry(name):
    if name not in DEFENSES:
        raise ValueError(
            f"Unknown defence '{name}'. {nearest(name, DEFENSES)}"
            f"Known: {', '.join(DEFENSES)}."
        )
    return DEFENSES[name]
