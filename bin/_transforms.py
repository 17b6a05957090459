"""The flags of binaries that put input transformations into a model.

_transforms.define()
...
chosen = _transforms.chosen(train_images)
model = _transforms.inside(model, chosen)
"""

from absl import flags

from tf_advdefense.defenses import transforms

FLAGS = flags.FLAGS


class _Specification(flags.ArgumentParser):
    """A text that `parse_transforms` takes, kept as the text with every parameter."""

    syntactic_help = "NAME:parameter=value,... for one transformation after the other"

    def parse(self, argument):
        return transforms.describe(transforms.parse_transforms(argument))


def define():
    known = "; ".join(
        f"{name} ({', '.join(transforms.parameters(transform))})"
        for name, transform in transforms.TRANSFORMS.items()
    )
    flags.DEFINE(
        _Specification(),
        "transforms",
        "",
        "Input transformations inside the model, in "
        f"order, as jpeg:quality=75,bit_depth:bits=3. Known: {known}.",
        serializer=flags.ArgumentSerializer(),
    )
    flags.DEFINE_integer(
        "eot_draws",
        20,
        "Draws of random transformations over which "
        "attacks on the model take the mean.",
        lower_bound=1,
    )


def names():
    """The names of --transforms, in order."""
    return [
        part.partition(":")[0] for part in FLAGS.transforms.split(",") if ":" in part
    ]


def chosen(train_images):
    """The layers of --transforms.

    Args:
      train_images: function without arguments to the training images, called only if
        a transformation needs them.
    """
    layers = transforms.parse_transforms(FLAGS.transforms)
    for layer in layers:
        if not layer.adapted:
            layer.adapt(train_images(), FLAGS["seed"].value if "seed" in FLAGS else 0)
    return layers


def inside(model, layers):
    """The model behind these layers."""
    return transforms.with_transforms(model, layers, eot_draws=FLAGS.eot_draws)


def request():
    """What a run's request says of them: nothing without, as older requests do."""
    if not FLAGS.transforms:
        return {}
    return {"transforms": FLAGS.transforms, "eot_draws": FLAGS.eot_draws}
