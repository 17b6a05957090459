"""Deployed models beside the float models that they were made from.

    models = with_parent({"m.tflite": target}, parent)

A deployed model has no gradient. Attacks that need one are crafted white-box on its
parent, and scored on it (transfer); the others are run on itself.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from tf_advdefense.evaluation.targets import Target
from tf_advdefense.models.tflite import is_deployed


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
