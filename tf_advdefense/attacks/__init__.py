"""Attacks: images that fool a classifier, near the images they are made from.

    attack = make_attack("pgd", eps=4 / 255, nb_iter=10)
    adv = attack(model, images, labels)
    print(attack)          # pgd(eps=0.0157, eps_iter=0.0078, nb_iter=10, ...)
    help(attack)           # its source, and what each hyperparameter does

`gradient` holds attacks of a fixed radius, `minimal_norm` those that look for the
smallest perturbation, `black_box` those that see scores or decisions; `autoattack` is a
sequence of them. `core` holds what they share: `attack`, what an attack is and how it
is called, `batch`, the one runner, and `craft`, which runs an attack over arrays.
Parameters carry CleverHans' names and defaults.
"""

from tf_advdefense.attacks.registry import ATTACKS
from tf_advdefense.attacks.registry import make_attack
