"""Optimisers, schedules and averages by name; Keras loads with their objects.

OPTIMIZERS["sgd"](rate, weight_decay)      # a keras.optimizers.Optimizer
SCHEDULES["cosine"](peak_rate, steps)      # a rate, or a function of the step
AVERAGES["ema"](decay=0.99)                # of the weights
"""

from tf_advdefense.registry import Registry

_PACKAGE = "tf_advdefense.training"

OPTIMIZERS = Registry(
    "optimizer",
    _PACKAGE,
    {
        "sgd": "optimizers:sgd",
        "momentum": "optimizers:momentum",
        "adam": "optimizers:adam",
    },
)
SCHEDULES = Registry(
    "schedule",
    _PACKAGE,
    {
        "onecycle": "schedules:onecycle",
        "cosine": "schedules:cosine",
        "plateau": "schedules:constant",  # lowered by `Plateau` at the end of epochs
        "constant": "schedules:constant",
        "piecewise": "schedules:piecewise",
        "cyclic": "schedules:Triangle",
    },
)
AVERAGES = Registry(
    "average", _PACKAGE, {"ema": "averaging:Ema", "swa": "averaging:Swa"}
)
