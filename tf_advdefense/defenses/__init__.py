"""Defences: a training loss on a batch, and what it takes to compute it.

    defense = make_defense("pgd_at", eps=4 / 255, nb_iter=7)
    loss, clean_logits = defense(model, batch)

`batch` holds `image` and `label`; for a defence trained on pre-generated adversarial
sets, `adv_image` and `adv_label`; and for random draws, `draw`, an int64 per image. A
defence that trains on no clean images returns its adversarial ones' logits instead.

A defence that crafts has two parts, `defense.craft(model, batch) -> batch`, which the
training step runs outside its gradient tape, and `defense.loss`. To add a defence,
write its object in a file of its name here (see `defense.Defense`), and its line in
`registry.SUMMARIES`.
"""

from tf_advdefense.defenses.registry import DEFENSES
from tf_advdefense.defenses.registry import SUMMARIES
from tf_advdefense.defenses.registry import check_made
from tf_advdefense.defenses.registry import make_defense
from tf_advdefense.defenses.registry import needed_parts
from tf_advdefense.defenses.source_sets import check_sets
from tf_advdefense.defenses.source_sets import needs_sets
from tf_advdefense.defenses.source_sets import set_weights

__all__ = [
    "DEFENSES",
    "SUMMARIES",
    "check_made",
    "check_sets",
    "make_defense",
    "needed_parts",
    "needs_sets",
    "set_weights",
]
