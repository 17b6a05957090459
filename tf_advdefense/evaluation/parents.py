"""Deployed models beside the float models that they were made from.

    models = with_parent({"m.tflite": target}, parent)
    lines(results["records"])
    # ["m.tflite agrees with its parent m on 98.4 % of 64 clean images, on 61.2 % of
    #   them under pgd 8/255."]

A deployed model has no gradient. Attacks that need one are crafted white-box on its
parent, and scored on it (transfer); the others are run on itself.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.targets import Target
from tf_advdefense.evaluation.threat_models import is_of_parent
from tf_advdefense.models.tflite import is_deployed
from tf_advdefense.reporting import formats


def with_parent(models: Mapping[str, Any], parent: Target) -> dict[str, Any]:
    """Name to what is compared: the parent, and the models, deployed ones as its own.

    Args:
      models: name to a `Target`, or whatever else `survey` takes.
      parent: a target with gradients.

    Raises:
      ValueError: in one line, for a parent without gradients or with the name of
        another model, or where no model is deployed.
    """
    deployed = {name for name, model in models.items() if _is_deployed(model)}
    if _is_deployed(parent):
        raise ValueError(
            "`parent` must have a gradient. Received: "
            f"parent={parent.name}, a TensorFlow Lite file. Give the float model that "
            "was converted."
        )
    if not deployed:
        raise ValueError(
            "`parent` goes with a deployed model, a .tflite file. Received: "
            f"parent={parent.name} for {', '.join(models) or 'no model'}. Leave it out."
        )
    namesake = models.get(parent.name)
    if namesake is not None and getattr(namesake, "sha256", None) != parent.sha256:
        raise ValueError(
            "Models need names of their own. Received: "
            f"parent={parent.name} beside another {parent.name}. Copy it to another "
            "name."
        )
    own = {name: dataclasses.replace(models[name], parent=parent) for name in deployed}
    return {parent.name: parent, **models, **own}


def _is_deployed(model: Any) -> bool:
    return isinstance(model, Target) and is_deployed(model.model)


def lines(records: Sequence[Record]) -> list[str]:
    """What is to be said of each deployed model: see the module's docstring.

    Where nothing was run on a deployed model itself, that is said, too: examples of
    another model are the weakest of attacks.
    """
    targets: dict[str, list[Record]] = {}
    for record in records:
        if is_of_parent(record):
            targets.setdefault(record["target"], []).append(record)
    return [line for name in targets for line in _of(name, targets[name], records)]


def _of(
    name: str, transferred: Sequence[Record], records: Sequence[Record]
) -> Iterator[str]:
    alike: dict[tuple, list[Record]] = {}
    for record in transferred:
        images = record["source"], record["num_examples"], _share(record, "alike_clean")
        alike.setdefault(images, []).append(record)
    yield from map(_agreement, alike.values())
    if not any(r["target"] == name and r["setting"] == "white-box" for r in records):
        yield (
            f"{name} itself was not attacked, and its accuracy is an upper bound: add "
            "square or hop_skip_jump, which need no gradient."
        )


def _agreement(records: Sequence[Record]) -> str:
    first = records[0]
    under = [
        f"on {_share(each, 'alike')} of them under "
        f"{' '.join(filter(None, [each['attack'], each['eps_text']]))}"
        for each in records
    ]
    return (
        f"{first['target']} agrees with its parent {first['source']} on "
        f"{_share(first, 'alike_clean')} of {formats.count(first['num_examples'])} "
        f"clean images, {formats.listing(under)}."
    )


def _share(record: Record, name: str) -> str:
    signs: Any = record["signs"]
    return f"{formats.percent(signs[name] / record['num_examples'])} %"
