"""The input transformations by name; TensorFlow loads with their layers."""

from tf_advdefense.registry import Registry

TRANSFORMS = Registry(
    "transformation",
    "tf_advdefense.defenses.transforms",
    {
        "bit_depth": "bit_depth:BitDepth",
        "jpeg": "jpeg:Jpeg",
        "crop_rescale": "crop_rescale:CropRescale",
        "tv": "total_variance:TotalVariance",
        "quilting": "quilting:Quilting",
    },
)
