"""Adversarial training on the fly: against plain training, NumPy and the attacks."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense import defenses
from tf_advdefense.datasets import Split
from tf_advdefense.datasets import pipeline
from tf_advdefense.defenses import DEFENSES
from tf_advdefense.defenses import forward
from tf_advdefense.defenses import losses
from tf_advdefense.defenses.choices import CRAFT_BN
from tf_advdefense.defenses.choices import STATISTICS
from tf_advdefense.training import optimizers
from tf_advdefense.training import train as training
from tf_advdefense.training.checkpoints import Checkpoint
from tf_advdefense.training.trainer import AdversarialTrainer

SHAPE, CLASSES = (6, 6, 3), 4
BATCH, STEPS = 8, 3
CRAFTING = [
    name for name, entry in DEFENSES.items() if hasattr(entry.hyper, "craft_bn")
]
crafting = pytest.mark.parametrize("name", CRAFTING)


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, bias_initializer="normal"),
        ]
    )


def make_linear(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )


def again(make, seed=0):
    """`make(seed)` as one and the same object: attacks on it are traced once for all.

    Its weights are those of a new one, whatever was learnt before.
    """
    model = _once(make, seed)
    for variable, value in zip(model.variables, make(seed).variables, strict=True):
        variable.assign(value)
    return model


@functools.cache
def _once(make, seed):
    return make(seed)


def quick(name):
    """What a defence needs, and fewer iterations."""
    return {
        "multi_norm": dict(nb_iter_linf=2, nb_iter_l2=2, nb_iter_l1=2),
        "ensemble_at": dict(parts={"sources": [again(make_model, 3)]}),
        "rslad": dict(parts={"teacher": again(make_model, 3)}),
    }.get(name, {})


def at_a_tenth(name, **hyper):
    """A defence that crafts, with the radius 0.1: of one radius is traced once."""
    radius = {"eps_linf" if name == "multi_norm" else "eps": 0.1}
    return defenses.make_defense(name, **radius, **quick(name), **hyper)


def make_split(size=BATCH * STEPS + 1, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (size, *SHAPE), dtype=np.uint8)
    return Split(images, random.integers(0, CLASSES, size), np.arange(size))


def batches(epochs=1, first=0, seed=0):
    return pipeline.training_batches(
        make_split(), batch_size=BATCH, epochs=epochs, seed=seed, initial_epoch=first
    )


def make_trainer(defense, model=None):
    """Of an unguarded training."""
    model = model or again(make_model)
    defense.max_drop = None
    trainer = AdversarialTrainer(model, defense)
    trainer.compile(
        optimizer=optimizers.make_optimizer(
            model,
            steps=100,
            optimizer="sgd",
            learning_rate=0.05,
            schedule="constant",
            weight_decay=1e-3,
        )
    )
    return trainer


def trained(name, **hyper):
    hyper = {**quick(name), **hyper}
    trainer = make_trainer(defenses.make_defense(name, **hyper))
    trainer.fit(batches(), steps_per_epoch=STEPS, shuffle=False, verbose=0)
    return trainer.classifier.get_weights()


@pytest.fixture(scope="module")
def batch():
    return next(iter(batches()))


def statistics_of(model):
    norm = model.layers[1]
    return np.concatenate([norm.moving_mean, norm.moving_variance])


# === Equal to plain training ===


@pytest.fixture(scope="module")
def plain():
    return trained("none")


@pytest.mark.parametrize(
    "name, hyper",
    [
        ("fgsm_at", {"eps": 0.0}),
        ("fgsm_at", {"eps": 0.0, "statistics": "clean"}),
        ("fgsm_at", {"eps": 0.0, "statistics": "adversarial"}),
        ("pgd_at", {"eps": 0.0}),
        ("pgd_at", {"eps": 0.0, "craft_bn": "training"}),
        ("trades", {"beta": 0.0}),
        ("fast_at", {"eps": 0.0}),
        ("ensemble_at", {"eps": 0.0}),
        ("multi_norm", {"eps_linf": 0.0, "eps_l2": 0.0, "eps_l1": 0.0}),
        ("multi_norm", {"eps_linf": 0.0, "eps_l2": 0.0, "eps_l1": 0.0, "mix": "avg"}),
        (
            "multi_norm",
            {"eps_linf": 0.0, "eps_l2": 0.0, "eps_l1": 0.0, "mix": "random"},
        ),
        ("free_at", {"eps": 0.0, "replays": 1}),
    ],
)
def test_equals_plain_training(name, hyper, plain):
    for one, other in zip(trained(name, **hyper), plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


# === BatchNorm ===


@pytest.mark.parametrize("craft_bn", CRAFT_BN)
@crafting
def test_crafting_updates_nothing(name, craft_bn, batch):
    model = again(make_model)
    before = [variable.numpy() for variable in model.variables]
    craft = at_a_tenth(name, craft_bn=craft_bn).craft
    tf.function(lambda: craft(model, batch), autograph=False)()
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@crafting
def test_one_pass_updates_the_statistics(name, batch, monkeypatch):
    passes = []

    def spy(model, images):
        passes.append(model)
        return forward.frozen_pass(model, images)

    for module in (forward, losses):
        monkeypatch.setattr(module, "updating_pass", spy)
    model = again(make_model)
    before = statistics_of(model)
    at_a_tenth(name)(model, batch)
    assert len(passes) == 1
    # And no other pass does.
    np.testing.assert_array_equal(statistics_of(model), before)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_the_named_images_update_the_statistics(statistics, batch):
    clean, adversarial = batch["image"], 1 - batch["image"]
    model, reference = make_model(), make_model()
    logits = forward.both_passes(model, clean, adversarial, statistics)
    joint = tf.concat([clean, adversarial], 0)
    images = {"joint": joint, "clean": clean, "adversarial": adversarial}[statistics]
    expected = reference(images, training=True)
    np.testing.assert_allclose(statistics_of(model), statistics_of(reference))
    both = {"joint": tf.concat(logits, 0), "clean": logits[0], "adversarial": logits[1]}
    np.testing.assert_allclose(both[statistics], expected, atol=1e-6)
    if statistics == "clean":
        own = make_model()(adversarial, training=True)
        np.testing.assert_allclose(logits[1], own, atol=1e-6)


def test_crafting_with_the_statistics_of_the_batch(batch):
    model = again(make_model)
    frozen = forward.crafting_model(model, "training")
    assert forward.crafting_model(model, "training") is frozen
    expected = make_model()(batch["image"], training=True)
    np.testing.assert_allclose(frozen(batch["image"]), expected, atol=1e-6)
    one, other = (
        defenses.make_defense("pgd_at", craft_bn=mode).craft(model, batch)["adv_image"]
        for mode in CRAFT_BN
    )
    assert not np.allclose(one, other)


def test_a_frozen_pass_draws_no_dropout():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Dropout(0.5)])
    images = tf.ones([BATCH, *SHAPE])
    before = [variable.numpy() for variable in model.variables]
    dropped = forward.frozen_pass(model, images)
    assert 0 < np.mean(dropped == 0) < 1 and before
    np.testing.assert_array_equal(model.variables[0], before[0])
    # So it has the mask of the next pass.
    np.testing.assert_array_equal(forward.updating_pass(model, images), dropped)
    assert np.any(model.variables[0] != before[0])


# === What is crafted ===


@crafting
def test_crafted_images_are_in_the_ball_and_the_box(name, batch):
    adv = at_a_tenth(name).craft(again(make_model), batch)["adv_image"].numpy()
    distance = np.abs(adv - batch["image"])
    assert distance.max() > 0.05 and distance.mean() > 4e-3
    if name != "multi_norm":
        assert distance.max() <= 0.1 + 1e-6
    assert adv.min() >= 0 and adv.max() <= 1


@pytest.mark.parametrize("name", ["pgd", "mim", "apgd_dlr"])
def test_pgd_at_is_the_attack_on_the_current_weights(name, batch):
    steps = {"n_iter" if name == "apgd_dlr" else "nb_iter": 3}
    defense = defenses.make_defense("pgd_at", attack=name, **steps)
    model = again(make_model)
    found = tf.function(lambda: defense.craft(model, batch), autograph=False)()
    attack = attacks.make_attack(
        name,
        **{
            k: v
            for k, v in defense.hyper.items()
            if k in attacks.ATTACKS[name].defaults
        },
    )
    assert attack.eps == 8 / 255
    expected = attack(model, batch["image"], batch["label"], index=batch["draw"])
    np.testing.assert_allclose(found["adv_image"], expected, atol=1e-6)
    loss, logits = defense(model, batch)
    np.testing.assert_allclose(logits, make_model()(expected, training=True), atol=1e-5)
    own = keras.losses.sparse_categorical_crossentropy(batch["label"], logits, True)
    np.testing.assert_allclose(loss, np.mean(own), rtol=1e-5)


def test_the_norm_is_the_attacks():
    for attack, norm in (("pgd", np.inf), ("sparse_l1", 1)):
        assert defenses.make_defense("pgd_at", attack=attack).hyper["norm"] == norm


def test_fgsm_at_leaves_the_predicted_labels(batch):
    model = again(make_model)
    guessed = {**batch, "label": tf.argmax(model(batch["image"], training=False), 1)}
    assert np.any(guessed["label"] != batch["label"])
    predicted, true = (
        defenses.make_defense("fgsm_at", labels=name) for name in ("predicted", "true")
    )
    adv = predicted.craft(model, batch)["adv_image"]
    np.testing.assert_array_equal(adv, true.craft(model, guessed)["adv_image"])
    assert np.any(adv != true.craft(model, batch)["adv_image"])


def test_random_starts_depend_on_the_draw(batch):
    model = again(make_model)
    for name in ("pgd_at", "trades", "fast_at"):
        craft = defenses.make_defense(name).craft
        one = craft(model, batch)["adv_image"]
        np.testing.assert_array_equal(one, craft(model, batch)["adv_image"])
        # The image's draw, and nobody else's, decides.
        draw = tf.concat([batch["draw"][:-1], [7]], 0)
        other = craft(model, {**batch, "draw": draw})["adv_image"]
        np.testing.assert_array_equal(one[:-1], other[:-1])
        assert np.any(one[-1] != other[-1])


def test_draws_of_batches():
    def draws(**settings):
        return np.concatenate([b["draw"] for b in batches(**settings)])

    both = draws(epochs=2)
    assert len(set(both)) == 2 * BATCH * STEPS
    np.testing.assert_array_equal(draws(epochs=2, first=1), both[BATCH * STEPS :])
    assert not set(both) & set(draws(seed=1))


def test_trades_against_numpy(batch):
    model = make_linear()
    beta, defense = 2.5, defenses.make_defense("trades", beta=2.5)
    adv = defense.craft(model, batch)["adv_image"].numpy()
    far = 1 - batch["image"].numpy()  # near by, the divergence is symmetric
    loss, logits = defense.loss(model, {**batch, "adv_image": far})

    def log_softmax(images):
        z = model(images).numpy().astype(np.float64)
        return z - np.log(np.exp(z).sum(-1, keepdims=True))

    p = log_softmax(batch["image"])

    def divergence(images):
        return np.mean(np.sum(np.exp(p) * (p - log_softmax(images)), -1))

    own = p[np.arange(BATCH), batch["label"]]
    np.testing.assert_allclose(loss, -own.mean() + beta * divergence(far), rtol=1e-4)
    # Steps up the divergence: larger than at random corners of the ball.
    corners = np.random.default_rng(0).choice([-0.031, 0.031], (100, BATCH, *SHAPE))
    for corner in corners:
        other = np.clip(batch["image"] + corner, 0, 1).astype(np.float32)
        assert divergence(other) < divergence(adv)


def probabilities(model, images):
    z = model(images).numpy().astype(np.float64)
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def test_mart_against_numpy(batch):
    model, defense = make_linear(), defenses.make_defense("mart", beta=2.5)
    far = 1 - batch["image"].numpy()
    loss, logits = defense.loss(model, {**batch, "adv_image": far})
    p, q = probabilities(model, batch["image"]), probabilities(model, far)
    rows, label = np.arange(BATCH), batch["label"].numpy()
    wrong = q.copy()
    wrong[rows, label] = -1
    boosted = -np.log(q[rows, label]) - np.log(1.0001 - wrong.max(-1))
    divergence = np.sum(p * np.log(p / q), -1)
    expected = np.mean(boosted + 2.5 * divergence * (1 - p[rows, label]))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_array_equal(logits, model(batch["image"]))
    # Crafted up the cross-entropy: of a linear model, further than any corner.
    adv = defense.craft(model, batch)["adv_image"]

    def own(images):
        return np.mean(-np.log(probabilities(model, images)[rows, label]))

    corners = np.random.default_rng(0).choice([-0.031, 0.031], (100, BATCH, *SHAPE))
    for corner in corners:
        assert own(np.clip(batch["image"] + corner, 0, 1)) < own(adv)


def test_rslad_against_numpy(batch):
    teacher, student = make_linear(1), make_linear(2)
    defense = defenses.make_defense(
        "rslad", adv_weight=0.7, eps=0.031, parts={"teacher": teacher}
    )
    crafted = defense.craft(student, batch)
    far = 1 - batch["image"].numpy()
    loss, _ = defense.loss(student, {**crafted, "adv_image": far})
    t = probabilities(teacher, batch["image"])

    def divergence(images):
        return np.sum(t * np.log(t / probabilities(student, images)), -1)

    expected = 0.7 * divergence(far).mean() + 0.3 * divergence(batch["image"]).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    # The neighbours are away from what the teacher says of the clean images.
    corners = np.random.default_rng(0).choice([-0.031, 0.031], (100, BATCH, *SHAPE))
    furthest = divergence(crafted["adv_image"]).mean()
    for corner in corners:
        assert divergence(np.clip(batch["image"] + corner, 0, 1)).mean() < furthest


def test_a_student_of_itself_learns_nothing_of_clean_images(batch):
    model = make_linear()
    defense = defenses.make_defense("rslad", eps=0.0, parts={"teacher": model})
    with tf.GradientTape() as tape:
        loss, _ = defense(model, batch)
    assert float(loss) == pytest.approx(0, abs=1e-6)
    for gradient in tape.gradient(loss, model.trainable_variables):
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_fast_at_against_a_closed_form(batch):
    # The gradient's sign of a linear model of two classes is that of its weights.
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    pair = {**batch, "label": batch["label"] % 2}
    eps, step = 0.2, 0.25
    craft = defenses.make_defense("fast_at", eps=eps, eps_iter=step).craft
    adv = craft(model, pair)["adv_image"].numpy()
    x = batch["image"].numpy()
    kernel = np.asarray(model.layers[1].kernel)
    towards = np.sign(kernel[:, 1] - kernel[:, 0])
    direction = np.where(pair["label"].numpy()[:, None] == 0, towards, -towards)
    direction = direction.reshape(x.shape)
    # From a start in [-eps, eps] on, cut where that would leave the box.
    inside = (eps < x) & (x < 1 - eps)
    moved = ((adv - x) * direction)[inside]
    assert moved.min() >= step - eps - 1e-6 and moved.max() <= eps + 1e-6
    # Of a uniform start, the share above eps - step reaches the edge of the ball.
    at_edge = np.mean(np.isclose(moved, eps, atol=1e-6))
    assert at_edge == pytest.approx(step / (2 * eps), abs=0.06)
    assert defenses.make_defense("fast_at").hyper["eps_iter"] == 10 / 255


RADII = {"eps_linf": 0.05, "eps_l2": 0.4, "eps_l1": 1.5}


def in_each_norm(model, batch):
    """What PGD of two iterations finds in the three balls, [3, n, ...]."""
    return np.stack(
        [
            attacks.make_attack(
                "pgd",
                norm=norm,
                eps=radius,
                eps_iter=step,
                nb_iter=2,
                rand_init=True,
                loss="margin",
                clip_grad=norm == 2,
            )(model, batch["image"], batch["label"], index=batch["draw"])
            for norm, radius, step in (
                (np.inf, 0.05, 2.5 * 0.05 / 2),
                (2, 0.4, 2.5 * 0.4 / 2),
                (1, 1.5, 2.0),
            )
        ]
    )


def in_three_norms(**hyper):
    hyper = {**RADII, **quick("multi_norm"), **hyper}
    return defenses.make_defense("multi_norm", **hyper)


@pytest.mark.parametrize("mix", ["max", "avg"])
def test_multi_norm_against_the_three_attacks(mix, batch):
    model = again(make_model)
    found = in_three_norms(mix=mix).craft(model, batch)
    each = in_each_norm(model, batch)
    if mix == "avg":
        np.testing.assert_allclose(found["adv_image"], each.reshape(-1, *SHAPE))
        np.testing.assert_array_equal(found["adv_label"], np.tile(batch["label"], 3))
        return
    losses = [
        keras.losses.sparse_categorical_crossentropy(
            batch["label"], model(adv, training=False), True
        )
        for adv in each
    ]
    worst = np.argmax(losses, 0)
    assert len(set(worst)) > 1
    np.testing.assert_allclose(found["adv_image"], each[worst, np.arange(BATCH)])


@pytest.mark.parametrize("without, norms", [({}, {0, 1, 2}), ({"eps_l2": 0.0}, {0, 2})])
def test_every_batch_is_crafted_in_one_norm_that_has_a_radius(without, norms, batch):
    model, defense = again(make_model), in_three_norms(mix="random", **without)
    craft = tf.function(lambda b: defense.craft(model, b), autograph=False)
    drawn = []
    for draw in range(16):
        shifted = {**batch, "draw": batch["draw"] + draw}
        adv = craft(shifted)["adv_image"]
        each = in_each_norm(model, shifted)
        same = [np.allclose(adv, one, atol=1e-6) for one in each]
        assert sum(same) == 1
        drawn.append(same.index(True))
    assert set(drawn) == norms
    assert min(drawn.count(norm) for norm in norms) >= 2


# === Free adversarial training ===


def test_free_at_replays_the_published_loop(batch):
    eps, rate, replays = 0.1, 0.05, 3
    assert defenses.make_defense("free_at", eps=eps).hyper == {"eps": eps, "replays": 8}
    defense = defenses.make_defense("free_at", eps=eps, replays=replays)
    defense.max_drop = None
    trainer = AdversarialTrainer(make_model(), defense)
    trainer.compile(optimizer=keras.optimizers.SGD(rate))
    trainer.fit(batch["image"], batch["label"], shuffle=False, verbose=0)
    (variable,) = defense.variables

    model, moved = make_model(), tf.zeros([BATCH, *SHAPE])
    for _ in range(replays):
        with tf.GradientTape() as tape:
            tape.watch(moved)  # As the authors do: none of it where the box clips.
            adv = tf.clip_by_value(batch["image"] + moved, 0, 1)
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(
                    batch["label"], model(adv, training=True), True
                )
            )
        gradient, *gradients = tape.gradient(loss, [moved, *model.trainable_variables])
        for weight, value in zip(model.trainable_variables, gradients, strict=True):
            weight.assign_sub(rate * value)
        moved = tf.clip_by_value(moved + eps * tf.sign(gradient), -eps, eps)
    assert np.mean(np.isclose(variable, moved)) > 0.99
    for one, other in zip(trainer.classifier.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_replays_are_the_updates_of_repeated_batches():
    """As the data pipeline once repeated them: the same weights."""
    replayed = make_trainer(defenses.make_defense("free_at", replays=3))
    replayed.fit(batches(2), steps_per_epoch=2 * STEPS, shuffle=False, verbose=0)
    repeated = make_trainer(defenses.make_defense("free_at", replays=1))
    again = batches(2).flat_map(lambda b: tf.data.Dataset.from_tensors(b).repeat(3))
    repeated.fit(again, steps_per_epoch=6 * STEPS, shuffle=False, verbose=0)
    assert int(replayed.optimizer.iterations) == 2 * 3 * STEPS
    for one, other in zip(
        (*replayed.classifier.variables, *replayed.defense.variables),
        (*repeated.classifier.variables, *repeated.defense.variables),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_a_smaller_batch_moves_its_own_perturbation_alone(batch):
    defense = defenses.make_defense("free_at", eps=0.1, replays=2)
    trainer = make_trainer(defense)
    split = make_split(BATCH + 3)
    images = split.images / np.float32(255)
    trainer.fit(images[:BATCH], split.labels[:BATCH], batch_size=BATCH, verbose=0)
    (variable,) = defense.variables
    before = variable.numpy()
    assert before.shape == (BATCH, *SHAPE) and np.abs(before).max() > 0.09
    trainer.fit(images[BATCH:], split.labels[BATCH:], batch_size=BATCH, verbose=0)
    np.testing.assert_array_equal(variable[3:], before[3:])
    assert np.any(variable[:3] != before[:3])


def test_an_overflow_leaves_the_perturbation_as_it_is(batch):
    """As the first updates under float16, whose loss is scaled by too much."""
    defense = defenses.make_defense("free_at", eps=0.1)
    trainer = make_trainer(defense)
    trainer.fit(batch["image"], batch["label"], batch_size=BATCH, verbose=0)
    (variable,) = defense.variables
    before = variable.numpy()
    with tf.GradientTape() as tape:
        loss, _ = defense(trainer.classifier, batch)
        overflowed = loss * np.inf
    tape.gradient(overflowed, trainer.classifier.trainable_variables)
    np.testing.assert_array_equal(variable, before)


# === Ensemble adversarial training ===


def ensemble(number, **hyper):
    sources = [again(make_model, seed) for seed in range(1, number + 1)]
    parts = {"sources": sources}
    return defenses.make_defense("ensemble_at", parts=parts, **hyper), sources


def crafted_on(source, batch, **hyper):
    attack = attacks.make_attack("fgsm", **hyper)
    return attack(source, batch["image"], index=batch["draw"]).numpy()


def test_every_batch_is_crafted_on_one_of_the_sources_or_the_model(batch):
    defense, sources = ensemble(2)
    model = again(make_model)
    expected = [crafted_on(source, batch) for source in [*sources, model]]
    craft = tf.function(lambda b: defense.craft(model, b), autograph=False)
    drawn = []
    for draw in range(60):
        found = craft({**batch, "draw": batch["draw"] + draw})
        same = [np.allclose(found["adv_image"], each, atol=1e-6) for each in expected]
        assert sum(same) == 1
        drawn.append(same.index(True))
        np.testing.assert_array_equal(found["adv_label"], batch["label"])
    assert min(np.bincount(drawn, minlength=3)) >= 10


def test_the_draw_decides_on_the_source(batch):
    defense, _ = ensemble(2)
    one, other = (
        defense.craft(again(make_model), batch)["adv_image"] for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)


def test_the_sources_are_not_trained(batch):
    defense, sources = ensemble(2)
    before = [source.get_weights() for source in sources]
    trainer = make_trainer(defense)
    trainer.fit(batches(), steps_per_epoch=STEPS, shuffle=False, verbose=0)
    for source, weights in zip(sources, before):
        for one, other in zip(source.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_ensembles_loss_weighs_clean_and_adversarial_alike(batch):
    defense, sources = ensemble(1)
    loss, logits = defense(again(make_model), batch)
    images = tf.concat(
        [batch["image"], defense.craft(again(make_model), batch)["adv_image"]], 0
    )
    both = make_model()(images, training=True)
    labels = tf.concat([batch["label"]] * 2, 0)
    own = keras.losses.sparse_categorical_crossentropy(labels, both, True)
    np.testing.assert_allclose(loss, np.mean(own), rtol=1e-5)
    np.testing.assert_allclose(logits, both[:BATCH], atol=1e-5)


# === Distillation ===


def one_hot_teacher():
    """Knows the label from the first pixel, with certainty."""
    teacher = make_linear()
    kernel = np.zeros_like(teacher.layers[1].kernel)
    kernel[0] = [0, 1e4, 2e4, 3e4]
    teacher.layers[1].set_weights([kernel, -1e4 * np.arange(CLASSES) ** 2 / 6])
    return teacher


def test_distillation_of_a_one_hot_teacher_at_1_is_cross_entropy(batch):
    teacher = one_hot_teacher()
    answers = tf.argmax(teacher(batch["image"]), 1)
    assert len(set(answers.numpy())) > 1
    model = make_linear()
    loss, logits = defenses.make_defense(
        "distillation", temperature=1.0, parts={"teacher": teacher}
    )(model, batch)
    expected, _ = defenses.make_defense("none")(model, {**batch, "label": answers})
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(logits, model(batch["image"]))


def test_distillation_against_numpy(batch):
    teacher, student, temperature = make_linear(1), make_linear(2), 7.0
    loss, _ = defenses.make_defense(
        "distillation",
        temperature=temperature,
        parts={"teacher": teacher},
    )(student, batch)

    def probabilities(model):
        z = model(batch["image"]).numpy().astype(np.float64) / temperature
        return np.exp(z) / np.exp(z).sum(-1, keepdims=True)

    expected = -np.sum(probabilities(teacher) * np.log(probabilities(student)), -1)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    # The teacher's own loss, at the same temperature.
    loss, _ = defenses.make_defense("none", temperature=temperature)(teacher, batch)
    own = probabilities(teacher)[np.arange(BATCH), batch["label"]]
    np.testing.assert_allclose(loss, -np.log(own).mean(), rtol=1e-5)


# === The guard against catastrophic overfitting ===


def guarded(directory, spoilt, stop_after=None, max_drop=0.2):
    """A training whose weights change sign in the epochs `spoilt`."""

    def spoil():
        if int(trainer.optimizer.iterations) // 4 - 1 in spoilt:
            kernel = model.layers[1].kernel
            kernel.assign(-kernel)

    split = make_coloured(64)
    model = again(make_linear)
    defense = defenses.make_defense("fast_at", eps=0.05)
    trainer = make_trainer(defense, model)
    weights = []
    accuracy = defense.robust_accuracy
    defense.max_drop = max_drop
    defense.robust_accuracy = lambda *args: spoil() or accuracy(*args)

    def on_epoch(done, logs):
        weights.append(model.get_weights()[0])
        if done == stop_after:
            raise KeyboardInterrupt

    def data(first, step):
        return pipeline.training_batches(
            split, batch_size=16, epochs=5, seed=0, initial_epoch=first
        )

    history = training.train(
        trainer,
        data,
        steps_per_epoch=4,
        epochs=5,
        directory=directory,
        resume=True,
        validation=training.validation_batches(split),
        scored_on=split,
        on_epoch=on_epoch,
    )
    return history, weights, model.get_weights()[0]


def best_of(history):
    """By accuracy under PGD, then clean accuracy; the last of equals."""
    scores = [(row["val_pgd_accuracy"], row["val_accuracy"]) for row in history]
    return max(range(len(scores)), key=lambda i: (*scores[i], i))


def make_coloured(size):
    """Four classes told apart by a colour, plainly."""
    labels = np.arange(size) % CLASSES
    colours = np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])
    images = np.broadcast_to(colours[labels][:, None, None], (size, *SHAPE)).copy()
    return Split(images, labels, np.arange(size))


def test_the_guard_fires_and_rolls_back(tmp_path, capsys):
    history, weights, last = guarded(tmp_path / "whole", spoilt=[2])
    assert len(history) == 2 and history[-1]["val_pgd_accuracy"] > 0.5
    np.testing.assert_array_equal(last, weights[best_of(history)])
    said = capsys.readouterr().out
    assert "Catastrophic overfitting in epoch 3: accuracy under PGD fell from" in said
    assert "Back to epoch 2, where the training ends." in said
    state = np.load(tmp_path / "whole" / "checkpoints" / "state.npz")
    np.testing.assert_array_equal(state["classifier/0"], weights[1])
    # Interrupted before, it fires at the same epoch.
    with pytest.raises(KeyboardInterrupt):
        guarded(tmp_path / "cut", spoilt=[2], stop_after=1)
    again, _, end = guarded(tmp_path / "cut", spoilt=[2])
    assert again == history
    np.testing.assert_array_equal(end, last)


def test_the_guard_lets_sound_trainings_be(tmp_path):
    history, _, _ = guarded(tmp_path / "sound", spoilt=[])
    assert len(history) == 5
    history, weights, last = guarded(tmp_path / "unguarded", spoilt=[4], max_drop=None)
    assert len(history) == 5 and history[-1]["val_pgd_accuracy"] < 0.5
    np.testing.assert_array_equal(last, weights[best_of(history)])


# === The training step ===


def test_crafting_is_not_recorded():
    class Defense:
        def craft(self, model, batch):
            return {**batch, "image": batch["image"] * model.trainable_variables[0][0]}

        def loss(self, model, batch):
            return tf.reduce_mean(batch["image"]), model(batch["image"])

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Dense(3)])
    trainer = make_trainer(Defense(), model)
    with pytest.raises(ValueError, match="No gradients provided"):
        trainer.train_step(next(iter(batches())))


@pytest.mark.parametrize("name", ["pgd_at", "free_at"])
def test_resumed_equals_uninterrupted(name, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "restore_best", lambda self: None)

    def run(directory, stop_after=None):
        def on_epoch(done, logs):
            if done == stop_after:
                raise KeyboardInterrupt

        hyper = {"nb_iter": 2} if name == "pgd_at" else {"replays": 2}
        trainer = make_trainer(defenses.make_defense(name, **hyper))
        training.train(
            trainer,
            lambda first, step: batches(3, first),
            steps_per_epoch=STEPS,
            epochs=3,
            validation=training.validation_batches(make_split(8, seed=1)),
            directory=tmp_path / directory,
            resume=True,
            on_epoch=on_epoch,
        )
        return trainer.classifier.get_weights()

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", stop_after=1)
    for one, other in zip(whole, run("cut"), strict=True):
        np.testing.assert_array_equal(one, other)


# === Hyperparameters ===


def test_published_defaults():
    pgd = defenses.make_defense("pgd_at").hyper
    assert (pgd["eps"], pgd["eps_iter"], pgd["nb_iter"]) == (8 / 255, 2 / 255, 10)
    assert pgd["attack"] == "pgd" and pgd["rand_init"]
    assert defenses.make_defense("pgd_at", dataset="mnist").hyper["eps"] == 0.3
    trades = defenses.make_defense("trades", dataset="digits").hyper
    assert (trades["eps"], trades["eps_iter"], trades["beta"]) == (0.031, 0.007, 6.0)
    fgsm = defenses.make_defense("fgsm_at", eps=0.1).hyper
    assert (fgsm["eps"], fgsm["labels"], fgsm["adv_weight"]) == (0.1, "predicted", 0.5)


@pytest.mark.parametrize(
    "name, dataset, ratio",
    [
        ("pgd_at", "cifar10", 1 / 4),
        ("pgd_at", "mnist", 1 / 30),
        ("fast_at", "cifar10", 1.25),
        ("fast_at", "mnist", 1.25),
        ("trades", "cifar10", 7 / 31),
        ("trades", "mnist", 1 / 30),
    ],
)
def test_a_given_radius_scales_the_published_step(name, dataset, ratio):
    def hyper(**given):
        return defenses.make_defense(name, dataset=dataset, **given).hyper

    published = hyper()
    assert hyper(eps=0.02)["eps_iter"] == pytest.approx(0.02 * ratio)
    # The published radius, given, changes nothing; nor does 0, where no step is left.
    assert hyper(eps=published["eps"]) == published
    assert hyper(eps=0.0)["eps_iter"] == published["eps_iter"]
    assert hyper(eps=0.02, eps_iter=0.01)["eps_iter"] == 0.01


@pytest.mark.parametrize(
    "name, hyper, message",
    [
        ("pgd_at", {"nb_itre": 3}, "hyperparameter 'nb_itre'. Did you mean 'nb_iter'"),
        ("trades", {"betta": 3}, "'trades' has no .*Did you mean 'beta'.*Known: eps, "),
        ("none", {"eps": 0.1}, "'none' has no .*'eps'.*Known: temperature"),
        ("pgd_at", {"attack": "pdg"}, "Unknown attack 'pdg'. Did you mean 'pgd'"),
        ("trades", {"attack": "pgd"}, "=trades` takes no other attack.*=pgd"),
        ("pgd_at", {"eps": 8}, r"`eps` must be in \[0, 1\].*Write 8/255"),
        ("trades", {"eps": 8}, "must be at least 0 and at most 1. Received: eps=8"),
        ("trades", {"beta": -1}, "`beta` must be at least 0. Received: beta=-1"),
        ("trades", {"beta": None}, "`beta` must be at least 0. Received: beta=None"),
        ("pgd_at", {"adv_weight": 0}, "above 0 and at most 1. Received: adv_weight=0"),
        ("pgd_at", {"nb_iter": 0}, "`nb_iter` must be .*from 1 to"),
        ("trades", {"nb_iter": "x"}, "`nb_iter` must be a value like its default, 10"),
        ("fgsm_at", {"labels": "hard"}, "`labels` must be true or predicted.*'hard'"),
        ("trades", {"statistics": "both"}, "must be joint or clean or adversarial"),
        ("pgd_at", {"craft_bn": "eval"}, "`craft_bn` must be inference or training"),
        ("distillation", {}, "=distillation` needs its teacher. .*Give `teacher`"),
        ("free_at", {"replays": 0}, "`replays` must be .*from 1 to"),
        ("none", {"parts": {"teacher": None}}, "=none` takes no teacher.*`teacher`"),
        ("ensemble_at", {}, "=ensemble_at` needs its sources. .*Give `sources`"),
        (
            "distillation",
            {"temperature": -1.0, "parts": {"teacher": None}},
            "`temperature` must be above 0. Received: temperature=-1.0",
        ),
        (
            "multi_norm",
            {"mix": "msd"},
            "must be max or avg or random. Received: mix='msd'",
        ),
        ("multi_norm", {"eps": 0.1}, "no hyperparameter 'eps'. Did you mean 'eps_l"),
        ("none", {"temperature": 0}, "`temperature` must be above 0. .*temperature=0"),
    ],
)
def test_refusals(name, hyper, message):
    with pytest.raises(ValueError, match=message) as error:
        defenses.make_defense(name, **hyper)
    assert "\n" not in str(error.value)
