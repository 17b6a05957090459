"""The architectures by name; each builder is imported when it is asked for."""

from tf_advdefense.registry import Registry

# Builders: function(image_shape, num_classes, **model_args) -> keras.Model.
MODELS = Registry(
    "model",
    "tf_advdefense.models",
    {
        "resnet50": "resnet:resnet50",
        "resnet50_cifar": "resnet:resnet50_cifar",
        "alexnet": "alexnet:alexnet",
        "small_resnet": "resnet:small_resnet",
        "small_cnn": "cnn:small_cnn",
    },
    others=", or keras:NAME for a model of keras.applications",
)
