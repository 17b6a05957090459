"""Trains a run from flags: data, model, defence, training, artifacts."""

import pathlib
import time
from typing import Any

from absl.flags import FlagValues
import keras

from tf_advdefense import datasets
from tf_advdefense import distribution
from tf_advdefense import models
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.commands.work import defense as defenses
from tf_advdefense.commands.work import training_data
from tf_advdefense.commands.work import transforms
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import pipeline
from tf_advdefense.evaluation import measurements as comparison
from tf_advdefense.training import optimizers
from tf_advdefense.training import trainer as training
from tf_advdefense.training.robust_validation import RobustValidation

# Flags that change the outcome and stand in the request as they are.
_RECORDED = (
    "augment",
    "augment_adv",
    "batch_size",
    "seed",
    "image_size",
    "train_examples",
    "distribute",
    "mixed_precision",
    "jit_compile",
)


def train(flags: FlagValues, command: str) -> None:
    """Trains, scores and saves the run, or says that it is finished."""
    started = time.time()
    distribution.set_up(flags.mixed_precision)
    data = datasets.load(flags.dataset, flags.data_dir, flags.image_size)
    sets = training_data.sets(flags, data)
    defense = defenses.make(flags, data)
    defenses.compare_temperatures(flags, defense.hyper)
    settings, epochs = defenses.settings(flags)
    steps = _steps(flags, data, defense)
    trainer = _trainer(flags, data, defense, {**settings, "steps": epochs * steps})

    name = flags.name or _name(flags)
    directory = runs.run_directory(flags.output_dir, name)
    request = _request(flags, data, sets, defense.hyper)
    state = files.claim(
        directory,
        {**request, "epochs": epochs, **settings},
        resume=flags.resume,
        overwrite=flags.overwrite,
    )
    if state == "finished":
        print(f"{directory} is finished: nothing to do.")
        return
    print(
        f"Training {name}: {trainer.classifier.count_params():,} parameters, {epochs} "
        f"epochs of {steps} steps of {flags.batch_size} images.",
        flush=True,
    )
    replays = _replays(defense)
    history = training.train(
        trainer,
        lambda first: training_data.batches(flags, data, sets, first, epochs, replays),
        steps_per_epoch=steps,
        epochs=epochs,
        directory=directory,
        validation=training.validation_batches(data.validation),
        resume=flags.resume,
        plateau=optimizers.Plateau() if settings["schedule"] == "plateau" else None,
        robust_validation=defenses.robust_validation(flags, data, defense.hyper),
    )
    evaluation = _evaluation(trainer.classifier, data, history)
    made = {
        "sources": _crafted_on(flags, sets),
        "class_names": data.class_names,
        "image_shape": data.image_shape,
        "seconds": round(time.time() - started),
        "command": command,
    }
    _save(directory, trainer.classifier, evaluation, made)
    print(
        f"Test accuracy {100 * evaluation['test_accuracy']:.2f} % on "
        f"{len(data.test)} images. Run: {directory}"
    )


def _replays(defense: Any) -> int:
    return defense.hyper.get("replays", 1)


def _steps(flags: FlagValues, data: Dataset, defense: Any) -> int:
    """Training steps in an epoch."""
    clean = training_data.clean(flags, data)
    return _replays(defense) * pipeline.steps_per_epoch(clean, flags.batch_size)


def _trainer(
    flags: FlagValues, data: Dataset, defense: Any, settings: dict[str, Any]
) -> training.AdversarialTrainer:
    """The compiled trainer of a new model."""
    keras.utils.set_random_seed(flags.seed)
    with distribution.scope(flags.distribute):
        classifier = models.build_model(
            flags.model, data.image_shape, data.num_classes, **flags.model_args
        )
        classifier = transforms.behind(
            flags, classifier, lambda: training_data.clean(flags, data).images
        )
        trainer = training.AdversarialTrainer(classifier, defense)
        trainer.compile(
            jit_compile=flags.jit_compile,
            optimizer=optimizers.make_optimizer(classifier, **settings),
        )
    return trainer


def _name(flags: FlagValues) -> str:
    """What a run is called without --name."""
    defense = [flags.defense] * (flags.defense != "none")
    model = flags.model.replace(":", "-")
    return "-".join([model, *defense, *transforms.names(flags)])


def _save(
    directory: pathlib.Path,
    classifier: keras.Model,
    evaluation: dict[str, Any],
    made: dict[str, Any],
) -> None:
    """Finishes a run: the model, its SavedModel, and what is known of it."""
    weights_sha256 = runs.save_model(directory, classifier)
    saved_model.export_saved_model(classifier, directory / "saved_model", evaluation)
    files.finish(
        directory,
        {
            **evaluation,
            "weights_sha256": weights_sha256,
            "num_params": classifier.count_params(),
            "versions": runs.versions(),
            "git_commit": runs.git_commit(),
            **made,
        },
    )


def _evaluation(
    classifier: keras.Model, data: Dataset, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Accuracies of the best epoch, whose weights the classifier holds."""
    robust = RobustValidation.score in history[0]
    score = RobustValidation.score if robust else "val_accuracy"
    best = max(history, key=lambda row: row[score])
    return {
        "dataset": data.name,
        "best_epoch": best["epoch"],
        "epochs_trained": len(history),
        "validation_accuracy": best["val_accuracy"],
        "validation_pgd_accuracy": best.get(RobustValidation.score),
        "test_accuracy": training.accuracy(classifier, data.test),
        "test_examples": len(data.test),
    }


def _crafted_on(flags: FlagValues, sets: list[Any]) -> list[str]:
    """Names of the models whose examples were trained on, but for the trained one."""
    names = {name for s in sets for name in s.config["request"]["source"].split("+")}
    return sorted(names | set(defenses.source_names(flags)))


def _request(
    flags: FlagValues, data: Dataset, sets: list[Any], hyper: dict[str, Any]
) -> dict[str, Any]:
    """Everything that changes the outcome of the run, but for the optimizer's."""
    return {
        "model": flags.model,
        "model_args": flags.model_args,
        "defense": flags.defense,
        "defense_args": {
            key: comparison.norm_text(value) if key == "norm" else value
            for key, value in hyper.items()
        },
        **defenses.request(flags),
        "adv_data": {s.name: files.sha256(s.directory / files.CONFIG) for s in sets},
        "adv_fraction": flags.adv_fraction if sets else None,
        "dataset": data.name,
        "dataset_fingerprint": data.fingerprint,
        "augmentation": training_data.augmentation(flags, data)._asdict(),
        **transforms.request(flags),
        **{flag: flags[flag].value for flag in _RECORDED},
    }
