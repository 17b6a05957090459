"""The red flags, in the order in which they are shown: causes before symptoms."""

from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.records import Flag
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.red_flags import budgets
from tf_advdefense.evaluation.red_flags import examples
from tf_advdefense.evaluation.red_flags import images
from tf_advdefense.evaluation.red_flags import models
from tf_advdefense.evaluation.red_flags import rivals
from tf_advdefense.evaluation.red_flags.evidence import Evidence
from tf_advdefense.evaluation.red_flags.evidence import Found
from tf_advdefense.evaluation.red_flags.evidence import RedFlag

# No number of these models means anything, so that no other flag is raised for them.
_GUESSING = (models.UNTRAINED, models.AT_CHANCE)
FLAGS: tuple[RedFlag, ...] = (
    *_GUESSING,
    models.NO_LOGITS,
    models.VANISHED,
    models.SATURATED,
    models.SHATTERED,
    models.UNSTABLE,
    images.DUPLICATED,
    images.UNBALANCED,
    examples.OUTSIDE,
    examples.NO_EFFECT,
    examples.LABEL_LEAKING,
    examples.UNBOUNDED_FAILS,
    examples.STAND_IN_ALONE,
    examples.LOST_IN_ROUNDING,
    budgets.TOO_SHORT,
    budgets.INCOMPLETE,
    budgets.GROWS,
    budgets.SILENT_SUCCESS,
    rivals.ONE_STEP_BEATS_MANY,
    rivals.ONE_STEP_ALONE,
    rivals.LOSSES_DISAGREE,
    rivals.NOISE_BEATS_GRADIENTS,
    rivals.BLACK_BOX_BEATS_WHITE_BOX,
    rivals.TRANSFER_BEATS_WHITE_BOX,
)


def red_flags(
    results: Results, per_example: PerExample, data: Dataset | None = None
) -> list[Flag]:
    """Signs that an attack failed for a reason other than robustness.

    Args:
      results, per_example: as in `records`; the flags among the results are not read.
      data: the data set that was measured on; without it its images are not looked at.
    """
    evidence = Evidence(results, per_example, data)
    found = [(flag, each) for flag in FLAGS for each in flag.find(evidence)]
    guessing = {each.target for flag, each in found if flag in _GUESSING}
    return [
        _flag(flag, each)
        for flag, each in found
        if flag in _GUESSING or each.target not in guessing
    ]


def _flag(flag: RedFlag, found: Found) -> Flag:
    return {
        "flag": flag.name,
        "where": found.where,
        "detail": found.detail,
        "remedy": flag.remedy,
    }
