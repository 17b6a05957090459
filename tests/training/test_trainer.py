"""`AdversarialTrainer` in a user's hands: arrays, weights, what a defence adds."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import defenses
from tf_advdefense.defenses import DEFENSES
from tf_advdefense.training.checkpoints import Checkpoint
from tf_advdefense.training.checkpoints import best_epoch
from tf_advdefense.training.optimizers import make_optimizer
from tf_advdefense.training.trainer import AdversarialTrainer

SHAPE, CLASSES, BATCH = (6, 6, 3), 4, 8


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )


@functools.cache
def _once(seed):
    return make_model(seed)


def again(seed=0):
    """`make_model(seed)` as one and the same object: attacks on it are traced once."""
    model = _once(seed)
    model.set_weights(make_model(seed).get_weights())
    return model


def make_arrays(size=3 * BATCH, seed=0):
    """Four classes told apart by a colour, plainly."""
    random = np.random.default_rng(seed)
    labels = np.arange(size) % CLASSES
    colours = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    images = 0.8 * np.broadcast_to(colours[labels][:, None, None], (size, *SHAPE))
    noise = 0.2 * random.random((size, *SHAPE))
    return (images + noise).astype(np.float32), labels


def make_trainer(name, optimizer="sgd", **hyper):
    trainer = AdversarialTrainer(again(), defenses.make_defense(name, **hyper))
    trainer.compile(optimizer=optimizer)
    return trainer


def fitted(trainer, *arguments, **settings):
    settings = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **settings}
    return trainer.fit(*arguments, **settings).history, trainer.classifier.get_weights()


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_arrays_and_dicts_are_the_same_batches():
    images, labels = make_arrays()
    history, expected = fitted(make_trainer("none"), images, labels)
    dicts = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})
    pairs = tf.data.Dataset.from_tensor_slices((images, labels[:, None]))
    for dataset in (dicts, pairs):
        again, weights = fitted(
            make_trainer("none"), dataset.batch(BATCH), batch_size=None
        )
        assert again["loss"] == pytest.approx(history["loss"])
        assert_equal(weights, expected)
    levels = np.rint(255 * images).astype(np.uint8)
    as_floats = (levels / np.float32(255), labels)
    _, weights = fitted(make_trainer("none"), levels, labels)
    assert_equal(weights, fitted(make_trainer("none"), *as_floats)[1])


def test_evaluate_takes_arrays_and_weights():
    trainer, (images, labels) = make_trainer("none"), make_arrays()
    weight = np.linspace(0, 2, len(labels), dtype=np.float32)
    scores = trainer.evaluate(
        images, labels, sample_weight=weight, verbose=0, return_dict=True
    )
    own = keras.losses.sparse_categorical_crossentropy(
        labels, trainer.classifier(images), True
    )
    assert scores["loss"] == pytest.approx(np.mean(own * weight), rel=1e-5)


@pytest.mark.parametrize(
    "name", [name for name, entry in DEFENSES.items() if not entry.check_sources]
)
def test_weights_of_images_weigh_the_loss(name):
    """A weight of 2 for all is twice the loss; of 0, an image is not seen."""
    parts = {"teacher": again(1), "sources": [again(1)]}
    needed = {part: parts[part] for part in defenses.needed_parts(name)}
    quick = dict(nb_iter_linf=1, nb_iter_l2=1, nb_iter_l1=1)
    defense = defenses.make_defense(
        name, parts=needed, **(quick if name == "multi_norm" else {})
    )
    images, labels = make_arrays(BATCH)
    batch = {"image": tf.constant(images), "label": tf.constant(labels)}
    half = {key: value[: BATCH // 2] for key, value in batch.items()}
    weight = tf.repeat([1.0, 0.0], BATCH // 2)

    def loss(batch):
        return defense(again(), batch)[0]

    np.testing.assert_allclose(
        loss({**batch, "weight": tf.fill([BATCH], 2.0)}), 2 * loss(batch), rtol=1e-5
    )
    np.testing.assert_allclose(
        loss({**batch, "weight": weight}), loss(half) / 2, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["adversarial", "ensemble"])
def test_sets_of_other_images_cannot_be_weighed(name):
    images, labels = make_arrays(BATCH)
    batch = {"image": images, "label": labels, "weight": np.ones(BATCH, np.float32)}
    batch |= {"adv_image": images, "adv_label": labels}
    with pytest.raises(ValueError, match="cannot weigh.*`sample_weight`") as error:
        defenses.make_defense(name)(make_model(), batch)
    assert "\n" not in str(error.value)


def test_labels_that_are_no_labels():
    images, labels = make_arrays(BATCH)
    pixels = np.broadcast_to(labels[:, None, None], (BATCH, *SHAPE[:2]))
    for data, received in (((images,), "none"), ((images, pixels), "None, 6, 6")):
        with pytest.raises(ValueError, match=f"class number per image.*{received}"):
            make_trainer("none").fit(*data, verbose=0)


def test_random_starts_differ_from_step_to_step():
    """The same images in two steps, between which nothing is learnt."""
    images, labels = make_arrays(BATCH)
    trainer = make_trainer("pgd_at", keras.optimizers.SGD(0.0), nb_iter=1)
    found, craft = [], trainer.defense.craft

    def spy(model, batch):
        crafted = craft(model, batch)
        found.append(crafted["adv_image"].numpy())
        return crafted

    trainer.defense.craft = spy
    trainer.run_eagerly = True
    fitted(trainer, images, labels, epochs=2)
    assert len(found) == 2 and np.any(found[0] != found[1])


# === What belongs to a defence ===


@pytest.mark.parametrize("name, updates", [("fast_at", 15 * 3), ("free_at", 10 * 24)])
def test_a_defences_own_optimizer_schedule_and_epochs(name, updates):
    trainer, (images, labels) = make_trainer(name, None), make_arrays()
    with pytest.warns(UserWarning, match="`validation_data` is missing"):
        history, weights = fitted(trainer, images, labels)
    settings = dict(DEFENSES[name].training)
    assert len(history["loss"]) == settings.pop("epochs")
    assert int(trainer.optimizer.iterations) == updates
    # The same as told, update by update.
    other = make_trainer(name)
    other.compile(optimizer=make_optimizer(other.classifier, steps=updates, **settings))
    with pytest.warns(UserWarning, match="nothing guards"):
        _, again = fitted(other, images, labels, epochs=len(history["loss"]))
    assert_equal(weights, again)
    assert float(trainer.optimizer.learning_rate) == pytest.approx(0, abs=1e-6)


def test_an_endless_dataset_needs_its_steps():
    endless = tf.data.Dataset.from_tensors(make_arrays(BATCH)).repeat()
    with pytest.raises(ValueError, match="`steps_per_epoch`"):
        make_trainer("none", None).fit(endless, shuffle=False)
    trainer = make_trainer("none", None)
    trainer.fit(endless, steps_per_epoch=2, epochs=2, shuffle=False, verbose=0)
    assert int(trainer.optimizer.iterations) == 4


@pytest.mark.parametrize("as_dataset", [False, True])
def test_the_guard_and_the_best_epoch(as_dataset, capsys):
    """Scores as given: the third epoch collapses, the first was the best."""
    trainer, arrays = make_trainer("fast_at"), make_arrays()
    scores, weights = iter([0.9, 0.8, 0.1]), []

    def score(model, images, labels):
        np.testing.assert_allclose(images, arrays[0])
        np.testing.assert_array_equal(labels, arrays[1])
        weights.append(model.get_weights())
        return next(scores)

    trainer.defense.robust_accuracy = score
    validation = arrays
    if as_dataset:
        validation = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH)
    history, end = fitted(trainer, *arrays, epochs=9, validation_data=validation)
    assert history["val_pgd_accuracy"] == [0.9, 0.8, 0.1]
    assert "Catastrophic overfitting in epoch 3" in capsys.readouterr().out
    for one, best, second in zip(end, weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(one, best)
        assert np.any(one != second)


@pytest.mark.parametrize(
    "rows, best",
    [
        # (score, clean accuracy) of each epoch
        ([(0.0, 0.056), (0.0, 0.167), (0.0, 0.111)], 2),
        ([(0.0, 0.9), (0.1, 0.1), (0.1, 0.2), (0.1, 0.1)], 3),
        ([(0.5, 0.3), (0.5, 0.3)], 2),
        ([(0.6, 0.1), (0.5, 0.9)], 1),
    ],
)
def test_of_equal_scores_the_clean_accuracy_decides(tmp_path, rows, best):
    """Or else the later epoch; whether it is asked after each epoch or in the end."""
    trainer = make_trainer("none")
    trainer.optimizer.build(trainer.classifier.trainable_variables)
    checkpoint = Checkpoint(trainer, tmp_path)
    checkpoint.score = "val_fgsm_accuracy"
    weights = []
    for epoch, (score, accuracy) in enumerate(rows):
        trainer.classifier.trainable_variables[0].assign_add(
            np.ones_like(trainer.classifier.trainable_variables[0])
        )
        weights.append(trainer.classifier.get_weights())
        logs = {"loss": 1.0, "val_accuracy": accuracy, checkpoint.score: score}
        checkpoint.on_epoch_end(epoch, logs)
    checkpoint.restore_best()
    assert_equal(trainer.classifier.get_weights(), weights[best - 1])
    assert best_epoch(checkpoint.history, checkpoint.score)["epoch"] == best


def test_epochs_of_a_former_version_lack_the_score(tmp_path):
    trainer = make_trainer("none")
    trainer.optimizer.build(trainer.classifier.trainable_variables)
    checkpoint = Checkpoint(trainer, tmp_path)
    checkpoint.score = "val_fgsm_accuracy"
    former = {"loss": 1.0, "val_accuracy": 0.5, "val_pgd_accuracy": 0.9}
    checkpoint.on_epoch_end(0, former)
    checkpoint.on_epoch_end(1, {**former, "val_fgsm_accuracy": 0.1})
    assert best_epoch(checkpoint.history, checkpoint.score)["epoch"] == 2
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header.endswith("val_pgd_accuracy,val_fgsm_accuracy")


def test_an_undefended_model_ends_with_its_last_weights():
    trainer, arrays = make_trainer("none"), make_arrays()
    history, weights = fitted(trainer, *arrays, epochs=2, validation_data=arrays)
    assert "val_accuracy" in history and "val_pgd_accuracy" not in history
    assert_equal(weights, fitted(make_trainer("none"), *arrays, epochs=2)[1])
