"""A few images of adversarial sets beside their clean copies, for a report.

grids = example_grids(results, sets, data)
reporting.write_report("outputs/report", results, per_example, grids)
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.measurements import clean_images
from tf_advdefense.evaluation.records import Results
from tf_advdefense.images import as_float

_SHOWN = 4  # Examples of each attack.
_RADIUS = 8 / 255


def example_grids(
    results: Results, sets: Iterable[AdversarialSet], data: Dataset
) -> list[dict[str, Any]]:
    """Correctly classified images of one set per attack, as `write_report` takes them.

    Of an attack's sets one made on a target is preferred, and then the one whose radius
    is nearest 8/255.
    """

    def preference(adv_set: AdversarialSet) -> tuple[bool, float]:
        request = adv_set.config["request"]
        source = results["models"].get(request["source"])
        on_target = source is not None and source["role"] == "target"
        return not on_target, abs((request["params"].get("eps") or 0) - _RADIUS)

    chosen: dict[str, AdversarialSet] = {}
    for adv_set in sorted(sets, key=preference):
        chosen.setdefault(adv_set.config["request"]["attack"], adv_set)
    return [_grid(chosen[attack], data) for attack in sorted(chosen)]


def _grid(adv_set: AdversarialSet, data: Dataset) -> dict[str, Any]:
    request = adv_set.config["request"]
    arrays = adversarial_sets.read_arrays(adv_set)
    shown = np.flatnonzero(arrays["label"] == arrays["clean_prediction"])[:_SHOWN]
    clean = clean_images(data, adv_set, arrays["clean_index"][shown])
    classes = ("label", "clean_prediction", "prediction")
    return {
        **{key: request[key] for key in ("attack", "eps_text", "source")},
        "title": adv_set.config.get("title"),
        "clean": as_float(clean),
        "adversarial": arrays["image"][shown],
        **{key: arrays[key][shown] for key in classes},
        "class_names": data.class_names,
    }
