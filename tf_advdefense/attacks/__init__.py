"""Attacks: images that fool a classifier, near the images they are made from."""

from tf_advdefense.attacks.registry import ATTACKS
from tf_advdefense.attacks.registry import BUDGETS
from tf_advdefense.attacks.registry import Attack
from tf_advdefense.attacks.registry import make_attack
