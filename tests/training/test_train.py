"""Training: the step against a hand-written one, exact resumption, the best epoch."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import defenses
from tf_advdefense import distribution
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import adversarial_shards
from tf_advdefense.artifacts import claims
from tf_advdefense.datasets import Split
from tf_advdefense.datasets import pipeline
from tf_advdefense.defenses import robust_accuracy
from tf_advdefense.models import build_model
from tf_advdefense.training import optimizers
from tf_advdefense.training import schedules
from tf_advdefense.training import train as training
from tf_advdefense.training.checkpoints import Checkpoint
from tf_advdefense.training.trainer import AdversarialTrainer

SHAPE = (8, 8, 3)
BATCH, STEPS = 8, 3
SETTINGS = {
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "schedule": "constant",
    "weight_decay": 1e-2,
}


def make_split(size, seed=0):
    """Three classes told apart by their colour."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, size)
    images = random.integers(0, 128, (size, *SHAPE), dtype=np.uint8)
    images[np.arange(size), :, :, labels] += 127
    return Split(images, labels, np.arange(size))


def make_model(dropout=0.5, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(3),
        ]
    )


def make_linear(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]
    )


def make_trainer(model, defense="none", steps=100, **settings):
    trainer = AdversarialTrainer(model, defenses.make_defense(defense))
    optimizer = optimizers.make_optimizer(
        model, steps=steps, **{**SETTINGS, **settings}
    )
    trainer.compile(optimizer=optimizer)
    return trainer


def variables_of(trainer):
    both = (*trainer.classifier.variables, *trainer.optimizer.variables)
    return [variable.numpy() for variable in both]


def make_set(output_dir, name, seed):
    split = make_split(10, seed)
    directory = adversarial_sets.set_directory(output_dir, name)
    about = "attack", "split", "source", "source_sha256", "dataset_fingerprint"
    claims.claim(directory, dict.fromkeys(about, name))
    examples = dict.fromkeys(adversarial_sets.FEATURES, split.labels)
    examples["image"] = split.images / np.float32(255)
    adversarial_shards.write_shard(directory, name, "train", 0, 1, examples)
    adversarial_shards.finish_set(
        directory, name, "train", 1, ["red", "green", "blue"], SHAPE, "float32", {}
    )
    return adversarial_sets.load_set(output_dir, name)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("outputs")
    return [make_set(output_dir, f"a{seed}-train", seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def validation():
    return training.validation_batches(make_split(12, seed=9))


# === One step ===


def hand_written_step(model, batch, velocities, rate, decay):
    images = tf.concat([batch["image"], batch["adv_image"]], 0)
    labels = tf.concat([batch["label"], batch["adv_label"]], 0)
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(labels, logits, True)
        )
    weights = model.trainable_variables
    for i, gradient in enumerate(tape.gradient(loss, weights)):
        kernel = len(weights[i].shape) > 1
        velocities[i] = 0.9 * velocities[i] - rate * gradient
        shrunk = weights[i] * (1 - kernel * 10 * decay * rate)
        weights[i].assign(shrunk + 0.9 * velocities[i] - rate * gradient)
    return loss, logits[: len(batch["label"])]


def mixed_batches(sets, epochs=1, first=0):
    return pipeline.training_batches(
        make_split(BATCH * STEPS + 1),
        batch_size=BATCH,
        epochs=epochs,
        seed=0,
        initial_epoch=first,
        adv_fraction=0.25,
        adversarial=lambda epoch: [
            (1, adversarial_sets.stream(s, seed=0, epoch=epoch)) for s in sets
        ],
    )


@pytest.mark.quick
def test_train_step_equals_a_hand_written_one(sets):
    trainer = make_trainer(make_model(dropout=0), "adversarial")
    trained = trainer.fit(
        mixed_batches(sets), steps_per_epoch=STEPS, shuffle=False, verbose=0
    )
    model = make_model(dropout=0)
    velocities = [0.0] * len(model.trainable_variables)
    losses, correct = [], []
    for batch in mixed_batches(sets):
        loss, logits = hand_written_step(model, batch, velocities, 0.05, 1e-2)
        losses.append(loss)
        correct.extend(np.argmax(logits, -1) == batch["label"])
    for left, right in zip(trainer.classifier.variables, model.variables):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-6)
    assert trained.history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)
    # Accuracy counts the clean images only: three quarters of the batches.
    assert len(correct) == 0.75 * BATCH * STEPS
    assert trained.history["accuracy"][0] == pytest.approx(np.mean(correct))


def test_scoring_is_clean_and_in_inference_mode():
    split, model = make_split(13, seed=9), make_model()
    trainer = make_trainer(model)
    scores = trainer.evaluate(
        training.validation_batches(split, 5), verbose=0, return_dict=True
    )
    logits = model(split.images / np.float32(255), training=False)
    correct = np.mean(np.argmax(logits, -1) == split.labels)
    losses = keras.losses.sparse_categorical_crossentropy(split.labels, logits, True)
    assert scores["accuracy"] == pytest.approx(correct)
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert training.accuracy(model, split, 5) == pytest.approx(correct)


@pytest.mark.parametrize(
    "side, scored, crafted",
    [(28, 500, 128), (32, 500, 128), (64, 125, 32), (224, 16, 16)],
)
def test_large_images_are_scored_a_few_at_a_time(monkeypatch, side, scored, crafted):
    """Or 1,800 validation images of 224x224 take 4 GB that 8 in training do not."""
    images = np.zeros((600, side, side, 1), np.uint8)
    split = Split(images, np.zeros(600, np.int64), np.arange(600))
    sizes = [len(b["label"]) for b in training.validation_batches(split)]
    assert max(sizes) == scored and sum(sizes) == 600
    seen = []

    def model(x, training):
        seen.append(x.shape[0])
        return tf.one_hot([0] * x.shape[0], 2)

    assert training.accuracy(model, split) == 1.0
    assert max(seen) == scored

    def craft(model, attack, images, labels, batch_size):
        seen.append(batch_size)
        return {"prediction": labels}

    monkeypatch.setattr(robust_accuracy, "craft", craft)
    attacked = robust_accuracy.RobustAccuracy("pgd", [robust_accuracy.pgd(0.1)])
    assert attacked(model, images, split.labels) == 1.0
    assert seen[-1] == crafted


def test_the_trainer_adds_nothing_to_the_classifier():
    model = make_model()
    before = [variable.path for variable in model.variables]
    trainer = make_trainer(model)
    assert trainer.classifier is model
    assert [variable.path for variable in model.variables] == before


# === Exact resumption ===


def run(directory, sets, validation, schedule, seed=0, stop_after=None, **options):
    trainer = make_trainer(
        make_model(seed=seed), "ensemble", steps=4 * STEPS, schedule=schedule, **options
    )
    plateau = schedules.Plateau(0.1, patience=1, threshold=0.9)

    def on_epoch(done, logs):
        if done == stop_after:
            raise KeyboardInterrupt

    history = training.train(
        trainer,
        lambda first, step: mixed_batches(sets, 4, first),
        epochs=4,
        steps_per_epoch=STEPS,
        validation=validation,
        directory=directory,
        resume=True,
        plateau=plateau if schedule == "plateau" else None,
        on_epoch=on_epoch,
    )
    return trainer, history


@pytest.mark.parametrize(
    "optimizer, schedule", [("sgd", "onecycle"), ("adam", "plateau")]
)
def test_resumed_equals_uninterrupted(
    optimizer, schedule, sets, validation, tmp_path, monkeypatch
):
    # The last epoch's state says more than the best one's.
    monkeypatch.setattr(Checkpoint, "restore_best", lambda self: None)
    common = (sets if optimizer == "sgd" else sets[:1], validation, schedule)
    whole, history = run(tmp_path / "whole", *common, optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", *common, stop_after=2, optimizer=optimizer)
    # Another process would draw other initial weights and Dropout seeds.
    resumed, again = run(tmp_path / "cut", *common, seed=99, optimizer=optimizer)
    for left, right in zip(variables_of(whole), variables_of(resumed), strict=True):
        np.testing.assert_array_equal(left, right, strict=True)
    assert again == history and len(history) == 4
    written = [(tmp_path / d / "history.csv").read_bytes() for d in ("whole", "cut")]
    assert written[0] == written[1]
    if schedule == "plateau":
        rates = np.array([row["learning_rate"] for row in history]) / 0.05
        np.testing.assert_allclose(rates, [1, 1, 1, 0.1], rtol=1e-6)


def test_history_on_disk_is_the_one_returned(validation, tmp_path):
    trainer = make_trainer(make_linear())
    history = training.train(
        trainer,
        constant_batches([1, 1]),
        steps_per_epoch=1,
        epochs=2,
        validation=validation,
        directory=tmp_path,
    )
    with open(tmp_path / "history.csv", newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == history and [row["epoch"] for row in rows] == [1, 2]
    assert rows[0].keys() == {
        "epoch",
        "learning_rate",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
    }
    assert list((tmp_path / "logs").rglob("events*"))


# === The best epoch, and none ===


def constant_batches(epochs):
    """Per epoch one batch: 1 as it is, -1 with wrong labels, NaN with NaN images."""
    split = make_split(60)
    sign = np.repeat(np.float32(epochs), 60)
    number = len(epochs)
    images = np.tile(split.images / np.float32(255), (number, 1, 1, 1))
    labels = np.tile(split.labels, number)
    images[np.isnan(sign)] = np.nan
    labels[sign == -1] = (labels[sign == -1] + 1) % 3
    examples = {"image": images, "label": labels}
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(60)
    return lambda first, step: batches.skip(first)


def test_without_the_best_epoch_there_is_no_other_in_its_place(tmp_path):
    checkpoint = Checkpoint(make_trainer(make_linear()), tmp_path)
    with pytest.raises(FileNotFoundError, match="best.npz"):
        checkpoint.restore_best()


def test_the_last_best_epoch_wins(validation, tmp_path):
    trainer = make_trainer(make_linear(), learning_rate=0.02)
    weights = []

    def on_epoch(done, logs):
        weights.append(variables_of(trainer))

    def train(**options):
        return training.train(
            trainer,
            constant_batches([1] * 4 + [-1] * 4),
            steps_per_epoch=1,
            epochs=8,
            validation=validation,
            directory=tmp_path,
            on_epoch=on_epoch,
            **options,
        )

    history = train()
    accuracies = [row["val_accuracy"] for row in history]
    best = 7 - int(np.argmax(accuracies[::-1]))
    # Learnt, as good again, and spoilt by the wrong labels.
    assert 0 < best < 7 and accuracies.count(max(accuracies)) > 1
    assert accuracies[-1] < max(accuracies)
    np.testing.assert_array_equal(trainer.classifier.variables[0], weights[best][0])
    # A finished training resumed trains no more, and ends the same.
    trainer = make_trainer(make_linear(seed=5), learning_rate=0.02)
    assert train(resume=True) == history and len(weights) == 8
    np.testing.assert_array_equal(trainer.classifier.variables[0], weights[best][0])


def test_a_loss_that_is_not_finite_ends_in_one_line(validation, tmp_path):
    with pytest.raises(ValueError, match="finite loss. Received: nan in epoch 2") as e:
        training.train(
            make_trainer(make_linear()),
            constant_batches([1, np.nan, 1]),
            epochs=3,
            steps_per_epoch=1,
            validation=validation,
            directory=tmp_path,
        )
    assert "\n" not in str(e.value) and "`learning_rate`" in str(e.value)
    trainer = make_trainer(make_linear(seed=5))
    assert Checkpoint(trainer, tmp_path).restore() == 1
    assert all(np.isfinite(value).all() for value in variables_of(trainer))
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 2


# === Devices and precision ===


def test_mixed_precision_trains(monkeypatch, tmp_path, validation):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    before = keras.mixed_precision.dtype_policy()
    distribution.set_up(mixed_precision=True)
    try:
        assert keras.mixed_precision.dtype_policy().name == "mixed_bfloat16"
        model = build_model("small_resnet", SHAPE, 3, width=4)
        trainer = make_trainer(model)
        history = training.train(
            trainer,
            constant_batches([1] * 8),
            steps_per_epoch=1,
            epochs=8,
            validation=validation,
            directory=tmp_path,
        )
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert all(weight.dtype == "float32" for weight in model.weights)
    assert model.output.dtype == "float32"
