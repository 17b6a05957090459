"""All layers of transformations: Keras loads models with them once this is imported."""

from tf_advdefense.defenses.transforms.registry import TRANSFORMS
from tf_advdefense.defenses.transforms.transformed import Transformed

LAYERS = (Transformed, *TRANSFORMS.values())
