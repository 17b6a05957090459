"""Clean images mixed with pre-generated examples of other models.

Ensemble adversarial training (Tramèr et al. 2018, arXiv:1705.07204) with static
examples, as "Noise in the Network" has it: each batch draws one source's.
"""

import dataclasses

from tf_advdefense.defenses.adversarial import adversarial
from tf_advdefense.defenses.source_sets import other_architecture

ensemble = dataclasses.replace(
    adversarial, name="ensemble", check_sources=other_architecture
)
