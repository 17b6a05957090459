"""Red flags of the images that were attacked."""

from collections.abc import Iterator
import hashlib

import numpy as np
from scipy.stats import chisquare

from tf_advdefense.evaluation.red_flags.evidence import Evidence
from tf_advdefense.evaluation.red_flags.evidence import Found
from tf_advdefense.evaluation.red_flags.evidence import RedFlag
from tf_advdefense.evaluation.red_flags.evidence import exceeds

_DUPLICATED = 0.01
_CHANCE = 1e-5
_AT_ONCE = 256  # Images in memory.
_FEW = 10  # Of so few images nothing can be said.


def _attacked(evidence: Evidence) -> np.ndarray:
    """The places in the test split of the images of the largest attack, or all."""
    assert evidence.data is not None
    indices = [
        evidence.per_example.get(f"{record['key']}/index", np.zeros(0))
        for record in evidence.attacked
    ]
    largest = max(indices, key=len, default=np.zeros(0))
    places = np.flatnonzero(np.isin(evidence.data.test.index, largest))
    return places if len(places) else np.arange(len(evidence.data.test))


def _duplicated(evidence: Evidence) -> Iterator[Found]:
    if evidence.data is None:
        return
    images, places = evidence.data.test.images, _attacked(evidence)
    different = {
        hashlib.sha256(image.tobytes()).digest()
        for start in range(0, len(places), _AT_ONCE)
        for image in images[places[start : start + _AT_ONCE]]
    }
    again = len(places) - len(different)
    if exceeds(again, len(places), _DUPLICATED):
        yield Found(
            None,
            evidence.data.name,
            f"{again} of {len(places)} test images repeat another one",
        )


def _unbalanced(evidence: Evidence) -> Iterator[Found]:
    if evidence.data is None:
        return
    labels, places = evidence.data.test.labels, _attacked(evidence)
    classes = evidence.data.num_classes
    whole = np.bincount(labels, minlength=classes)
    part = np.bincount(labels[places], minlength=classes)
    known = whole > 0
    expected = whole[known] * len(places) / len(labels)
    if len(places) < _FEW or known.sum() < 2:
        return
    if chisquare(part[known], expected).pvalue < _CHANCE:
        yield Found(
            None,
            evidence.data.name,
            f"the {len(places)} images that were attacked are of "
            f"{np.count_nonzero(part)} of {np.count_nonzero(known)} classes, or of "
            "some far more often than the test split is",
        )


DUPLICATED = RedFlag(
    "duplicated images",
    "Images that count several times make intervals too narrow.",
    "Remove the copies from the test split.",
    "Carlini et al. 2019",
    _duplicated,
)
UNBALANCED = RedFlag(
    "unbalanced images",
    "The attacked images are no fair sample of the test split's classes.",
    "Shuffle the test split once (the first images are attacked), or attack all.",
    "Carlini et al. 2019",
    _unbalanced,
)
