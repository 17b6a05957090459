"""How a training is distributed, by name; TensorFlow loads with the objects."""

from tf_advdefense.registry import Registry

STRATEGIES = Registry(
    "distribution",
    "tf_advdefense",
    {
        "none": "distribution:single_device",
        "mirrored": "distribution:mirrored",
        "multi_worker": "distribution:multi_worker",
    },
)
