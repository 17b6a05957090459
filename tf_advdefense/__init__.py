"""How easily is an image classifier fooled, and which defence really helps?

    import tf_advdefense as adv

    attack = adv.make_attack("pgd", eps=8 / 255, nb_iter=20)
    adversarial = attack(model, images, labels)

TensorFlow is loaded when one of these names is first used:

    ATTACKS, make_attack     attacks: CleverHans', and those it lacks, as objects
    craft                    an attack over arrays, batch by batch
    DEFENSES, make_defense   training losses: which loss on which images
    MODELS, build_model      Keras classifiers from images in [0, 1] to logits
    load_model               a `.keras` or `.tflite` file or a SavedModel, also others'
    adapt                    models as people have them: softmax, [0, 255], one logit
    load_dataset             a data set with its train, validation and test split
    adversarial              a model that trains yours: compile, fit, callbacks, save
    AdversarialTrainer       the training step, under `keras.Model.fit`
    RobustAccuracy           a callback for any `model.fit`: accuracy under attack
    train_run                trains a run as `bin/train` does
    make_set                 crafts an adversarial set as `bin/make_adv` does
    evaluate                 how robust is a model? attacks it, prints a verdict
    compare                  the same of several models, with paired tests
    benchmark                the same in RobustBench's terms
    gate                     as robust as a baseline? for tests, with its error rates

and these rooms hold what they rest on:

    attacks       gradient, minimal_norm and black_box attacks; core, what they share
    defenses      losses, and transforms, layers that change the input
    training      the trainer, runs, checkpoints, optimisers
    models, datasets
    evaluation    per-example measurements, their statistics, and red flags
    reporting     results to tables, figures and HTML, without TensorFlow
    artifacts     runs, adversarial sets and results on disk; SavedModel
    commands      what `bin/` and `advdefense` run
"""

import importlib
import os

__version__ = "0.1.0"

# oneDNN is off by default on AMD processors, where ResNet50 trains seven times
# faster with it. TensorFlow reads the variable once, when it loads.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The runtime's start-up chatter (a missing GPU is an "error" to it) would hide the one
# line that matters to a user; what is wrong is raised as an exception anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_PUBLIC = {
    "ATTACKS": "attacks",
    "make_attack": "attacks",
    "craft": "attacks.core.craft",
    "DEFENSES": "defenses",
    "make_defense": "defenses",
    "MODELS": "models",
    "build_model": "models",
    "load_model": "artifacts.runs",
    "adapt": "models.foreign",
    "load_dataset": "datasets",
    "adversarial": "training.adversarial",
    "AdversarialTrainer": "training.trainer",
    "RobustAccuracy": "evaluation.callback",
    "train_run": "training.run",
    "make_set": "evaluation.crafted_sets",
    "evaluate": "evaluation.evaluate",
    "compare": "evaluation.evaluate",
    "benchmark": "evaluation.evaluate",
    "gate": "evaluation.repetition",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__():
    return __all__
