"""Red flags: signs that a measured number does not mean what it seems to.

    flags = red_flags(results, per_example, data)   # to be printed with the results
    [flag.name for flag in FLAGS]                   # all that there are

Each names the failure, then the remedy. They are collected from Carlini et al. 2019
(arXiv:1902.06705), Athalye et al. 2018 (arXiv:1802.00420), the indicators of attack
failure of Pintor et al. 2022 (arXiv:2106.09947) and AutoAttack's own (Croce and Hein
2020, arXiv:2003.01690); docs/diagnostics.md has the table of them. To add one: write a
`RedFlag` in a file here and a line in `registry.FLAGS`.
"""

from tf_advdefense.evaluation.red_flags.registry import FLAGS
from tf_advdefense.evaluation.red_flags.registry import red_flags

__all__ = ["FLAGS", "red_flags"]
