"""Train a run: a directory that holds a model and everything that made it.

    data = datasets.load("digits")
    run = train_run("small_resnet", "pgd_at", data, epochs=12, name="robust")
    run.config["test_accuracy"], run.model_path

An interrupted run goes on exactly with `resume=True`; a finished one is recognised by
its request, everything that changes the outcome, and is not trained again.
"""

import functools
import pathlib
import time
from typing import Any

import keras

from tf_advdefense import datasets
from tf_advdefense import defenses
from tf_advdefense import distribution
from tf_advdefense import locks
from tf_advdefense import models
from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.artifacts.claims import released_on_failure
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import pipeline
from tf_advdefense.defenses import transforms
from tf_advdefense.defenses.defense import BoundDefense
from tf_advdefense.defenses.transforms import with_transforms
from tf_advdefense.reporting import model_card
from tf_advdefense.training import optimizers
from tf_advdefense.training.checkpoints import best_epoch
from tf_advdefense.training.mix import Mix
from tf_advdefense.training.parts import compare_temperatures
from tf_advdefense.training.parts import in_todays_hashes
from tf_advdefense.training.parts import load_parts
from tf_advdefense.training.parts import models_of
from tf_advdefense.training.parts import request_of
from tf_advdefense.training.parts import source_names
from tf_advdefense.training.recipe import Recipe
from tf_advdefense.training.robust_validation import score_of
from tf_advdefense.training.schedules import Plateau
from tf_advdefense.training.train import accuracy
from tf_advdefense.training.train import train
from tf_advdefense.training.train import validation_batches
from tf_advdefense.training.trainer import AdversarialTrainer


def train_run(
    model: str | keras.Model,
    defense: str | BoundDefense = "none",
    data: Dataset | None = None,
    *,
    output_dir: str | pathlib.Path = "outputs",
    name: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str | None = None,
    **recipe: Any,
) -> runs.Run | None:
    """Train a classifier and write its run, `OUTPUT_DIR/runs/NAME`.

    The directory gets the model of the best epoch as `model.keras` and `saved_model/`,
    its card `model_card.md`, `history.csv`, `logs/`, checkpoints, and, when all is
    done, `config.json`.

    Args:
      model: an architecture of `MODELS` or keras:NAME, or a `keras.Model` from images
        in [0, 1] to logits, which is trained from the weights that it has.
      defense: a name of `DEFENSES`, whose hyperparameters are in the recipe; or a
        defence of `make_defense`.
      data: of `datasets.load`; None takes its default, CIFAR-10.
      output_dir: where runs and adversarial sets lie.
      name: of the run; None: the model, the defence and the transformations.
      resume: continue an interrupted run of the same request.
      overwrite: replace what lies there under that name.
      command: how to make the run again, as text, for `config.json`.
      **recipe: the fields of `recipe.Recipe`: epochs, seed, batch_size, learning_rate,
        defense_args, adv_data, transforms and so on.

    Returns:
      The finished run; None to those of several workers that do not write it.

    Raises:
      ValueError: in one line, for unknown names, values out of range, or data that do
        not fit the defence.
      FileExistsError: a run of that name has another request, or is unfinished and
        `resume` is not given.
    """
    data = datasets.load() if data is None else data
    with distribution.precision(recipe.get("mixed_precision", False)):
        task = _Task(model, defense, data, Recipe(**recipe), output_dir, name)
        if not distribution.is_chief():
            if overwrite or not (task.directory / files.CONFIG).exists():
                task.train_along(resume)
            return None
        with locks.held(task.directory):
            state = claims.claim(
                task.directory,
                task.request(),
                resume=resume,
                overwrite=overwrite,
                convert=functools.partial(in_todays_hashes, task.parts),
            )
            if state == "finished":
                print(f"{task.directory} is finished: nothing to do.")
            else:
                done = "checkpoints/*.npz"
                with released_on_failure(task.directory, state, done):
                    task.train(resume, command)
    return runs.load_run(output_dir, task.name)


class _Task:
    """A run that is to be trained: all that it needs, made and checked."""

    def __init__(self, model, defense, data, recipe, output_dir, name):
        self.started = time.time()
        recipe = recipe.for_images(data.train.take(recipe.train_examples))
        self.data, self.recipe, self.given = data, recipe, model
        self.model_name = model if isinstance(model, str) else model.name
        self.mix = Mix(recipe, data, output_dir)
        self.mix.check(getattr(defense, "name", defense), self.model_name)
        self.parts = load_parts(defense, recipe, data, output_dir)
        self.defense = self._bound(defense)
        compare_temperatures(self.parts, self.defense.hyper)
        self.settings = recipe.settings(self.model_name, self.defense.training)
        self.epochs = self.settings.pop("epochs")
        self.steps = pipeline.steps_per_epoch(self.mix.split, recipe.batch_size)
        keras.utils.set_random_seed(recipe.seed)
        with distribution.scope(recipe.distribute):
            classifier = self._classifier()
            recipe.freeze_in(classifier)
            self.layers = recipe.layers(self.mix.split.images)
            self.trainer = self._trainer(classifier)
        self.name = name or "-".join(
            [self.model_name.replace(":", "-")]
            + [self.defense.name] * (self.defense.name != "none")
            + transforms.names(self.layers)
        )
        self.directory = runs.run_directory(output_dir, self.name)

    def _bound(self, defense):
        if not isinstance(defense, str):
            recipe = self.recipe
            given = dict(attack=recipe.attack, defense_args=recipe.defense_args)
            given |= dict(teacher=recipe.teacher is not None, sources=recipe.sources)
            defenses.check_made(defense, **given)
            return defense
        return defenses.make_defense(
            defense,
            dataset=self.data.name,
            attack=self.recipe.attack,
            parts=models_of(self.parts),
            **self.recipe.defense_args,
        )

    def _classifier(self):
        if not isinstance(self.given, str):
            if self.recipe.model_args:
                raise ValueError(
                    "`model_args` are those of an architecture that is built. "
                    f"Received: {self.recipe.model_args} beside the model "
                    f"{self.model_name}. Leave them out."
                )
            self.initial_sha256 = identity.model_sha256(self.given)
            return self.given
        return models.build_model(
            self.given,
            self.data.image_shape,
            self.data.num_classes,
            **self.recipe.built_with(self.given),
        )

    def _trainer(self, classifier):
        recipe = self.recipe
        model = with_transforms(classifier, self.layers, eot_draws=recipe.eot_draws)
        steps = self.epochs * self.steps * self.defense.replays
        self.average = recipe.averaged(steps)
        trainer = AdversarialTrainer(model, self.defense, self.average, recipe.awp)
        optimizer = optimizers.make_optimizer(
            model, steps=steps, clip_norm=recipe.clip_norm, **self.settings
        )
        optimizer.build(model.trainable_variables)  # In the scope of the devices.
        trainer.compile(
            optimizer,
            jit_compile=recipe.jit_compile,
            steps_per_execution=recipe.steps_per_execution,
        )
        return trainer

    def request(self) -> dict:
        """Everything that changes the outcome of the run."""
        named = isinstance(self.given, str)
        return {
            "model": self.model_name,
            "model_args": self.recipe.model_args,
            **({} if named else {"initial_weights": self.initial_sha256}),
            "defense": self.defense.name,
            "defense_args": {
                key: format(value, "g")
                if key == "norm" and value is not None
                else value
                for key, value in self.defense.recorded.items()
            },
            **request_of(self.parts),
            **self.mix.request(),
            "dataset": self.data.name,
            "dataset_fingerprint": self.data.fingerprint,
            "epochs": self.epochs,
            **self.settings,
            **self._averaged(),
            **self.recipe.request(self.data, self.layers),
        }

    def _averaged(self):
        if self.average is None:
            return {}
        hyper = self.average._asdict()
        return {"average": self.recipe.average, "average_args": hyper}

    def train_along(self, resume: bool) -> None:
        """Train as one of several workers, of which another writes the run."""
        self._fit(resume)
        distribution.agreed(self.epochs)  # Until it is written.

    def train(self, resume: bool, command: str | None) -> None:
        """Train, score and save; the run's configuration comes last."""
        classifier, directory = self.trainer.classifier, self.directory
        print(
            f"Training {self.name}: {classifier.count_params():,} parameters, "
            f"{self.epochs} epochs of {self.steps} steps of {self.recipe.batch_size} "
            "images.",
            flush=True,
        )
        evaluation = self._evaluation(self._fit(resume))
        config = {
            **evaluation,
            **runs.save_model(directory, classifier),
            "sources": sorted({*self.mix.source_names, *source_names(self.parts)}),
            "num_params": classifier.count_params(),
            "class_names": self.data.class_names,
            "image_shape": self.data.image_shape,
            "seconds": round(time.time() - self.started),
            "versions": runs.versions(),
            "git_commit": runs.git_commit(),
            "command": command,
        }
        request = files.read_json(directory / files.REQUEST)
        about = model_card.card({**config, "request": request}, name=self.name)
        card = model_card.rendered(about)
        saved_model.export_saved_model(
            classifier, directory / "saved_model", evaluation, card
        )
        saved_model.write_card(directory, card)
        files.finish(directory, config)
        distribution.agreed(self.epochs)
        print(
            f"Test accuracy {100 * evaluation['test_accuracy']:.2f} % on "
            f"{len(self.data.test)} images. Run: {directory}"
        )

    def _fit(self, resume):
        on_plateau = self.settings["schedule"] == "plateau"
        with distribution.with_all():
            return train(
                self.trainer,
                lambda first, step: self.mix.batches(first, step, self.epochs),
                steps_per_epoch=self.steps,
                epochs=self.epochs,
                directory=self.directory,
                validation=validation_batches(self.data.validation),
                resume=resume,
                plateau=Plateau() if on_plateau else None,
                scored_on=self.data.validation,
                checkpoint_steps=self.recipe.checkpoint_steps,
            )

    def _evaluation(self, history):
        score = score_of(self.defense)
        best = best_epoch(history, score)
        return {
            "dataset": self.data.name,
            "best_epoch": best["epoch"],
            "best_epoch_by": score,
            "validation_score": best.get(score),
            "epochs_trained": len(history),
            "validation_accuracy": best["val_accuracy"],
            "test_accuracy": accuracy(self.trainer.classifier, self.data.test),
            "test_examples": len(self.data.test),
        }
