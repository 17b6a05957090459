"""Red flags: each is raised by a planted fault, and no other; sound models raise none.

Faults of models are planted in models, and these are attacked; faults of bookkeeping
are planted in records.
"""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation import attack_facts
from tf_advdefense.evaluation.looks import Looks
from tf_advdefense.evaluation.plan import plan
from tf_advdefense.evaluation.plan import searches
from tf_advdefense.evaluation.red_flags import FLAGS
from tf_advdefense.evaluation.red_flags import red_flags
from tf_advdefense.evaluation.targets import Target

ROOT = pathlib.Path(__file__).parents[2]
SHAPE, CLASSES, COUNT, EPS = (8, 8, 1), 4, 60, 13 / 255
QUADRANTS = np.zeros((CLASSES, *SHAPE), np.float32)
for quadrant in range(CLASSES):
    row, column = divmod(quadrant, 2)
    QUADRANTS[quadrant, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1


def make_data():
    """A brighter quadrant, of four: by 0.08 at least, so that none is on the edge."""
    draw = np.random.default_rng(0)
    labels = np.arange(COUNT) % CLASSES
    contrast = draw.uniform(0.08, 0.25, (COUNT, 1, 1, 1))
    images = 0.4 + contrast * QUADRANTS[labels] + draw.uniform(0, 0.05, (COUNT, *SHAPE))
    split = Split(
        np.rint(images * 255).astype(np.uint8), labels, np.arange(1000, 1000 + COUNT)
    )
    return Dataset("quadrants", tuple("abcd"), "f" * 64, split, split, split)


DATA = make_data()
WEIGHTS = (QUADRANTS / 4).reshape(CLASSES, -1).T  # logits: a quarter of the brightness
WEIGHTS = np.float32(WEIGHTS)


def classifier(*before, after=(), scale=8.0, weights=WEIGHTS, bias=0.01):
    """The linear classifier by quadrant, between other layers."""
    keras.utils.set_random_seed(4)
    dense = keras.layers.Dense(CLASSES)
    model = keras.Sequential(
        [keras.Input(SHAPE), *before, keras.layers.Flatten(), dense, *after]
    )
    dense.set_weights([scale * weights, np.full(CLASSES, bias, np.float32)])
    return model


def function(call):
    return keras.layers.Lambda(call)


ATTACKS = {
    "fgsm": {"eps": EPS},
    "pgd": {"eps": EPS, "nb_iter": 10, "eps_iter": EPS / 4},
    "apgd_ce": {"eps": EPS, "n_iter": 10},
    "square": {"eps": EPS, "n_queries": 60},
}


def attacked(model, names=("fgsm", "pgd"), data=DATA, attacks=ATTACKS):
    """Names and places of the flags, and the records, of a model that is attacked."""
    chosen = [make_attack(name, **attacks[name]) for name in names]
    chosen = [(attack_facts.eps_text(attack), attack) for attack in chosen]
    settings = {"batch_size": COUNT, "few": COUNT}
    target = Target("a", model, "1" * 64, {})
    planned = plan([target], [], chosen, data, num_examples=COUNT, **settings)
    looks = Looks()
    taken = [each.take(model, data, COUNT, looks=looks) for each in planned]
    beside = searches(planned, [record for record, _ in taken], data, **settings)
    taken += [each.take(model, data, COUNT, looks=looks) for each in beside]
    records = [record for record, _ in taken]
    arrays = {name: array for _, part in taken for name, array in part.items()}
    return flags_of(records, arrays, data), records


def flags_of(records, arrays, data=None):
    results = {"records": records, "dataset": {"class_names": list("abcd")}}
    found = red_flags(results, arrays, data)
    for flag in found:
        assert flag.keys() == {"flag", "where", "detail", "remedy"} and all(
            flag.values()
        )
    return [(flag["flag"], flag["where"]) for flag in found]


# === Sound models ===


def network(images, labels):
    """Undefended: a small network, fitted."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(images, labels, epochs=30, batch_size=30, verbose=0)
    return model


@pytest.mark.slow
def test_sound_models_raise_none():
    images, labels = DATA.test.images / np.float32(255), DATA.test.labels
    model = network(images, labels)
    every = (*ATTACKS, "cw")
    steps = {"max_iterations": 60, "binary_search_steps": 2, "initial_const": 1.0}
    more = {**ATTACKS, "cw": {**steps, "learning_rate": 0.05}}
    flags, records = attacked(model, every, attacks=more)
    assert flags == []
    accuracies = {r["attack"]: r["accuracy"] for r in records}
    assert accuracies["clean"] > 0.9 and accuracies["cw"] == 0
    # On its own examples, as adversarial training does, on the same object.
    attack = make_attack("pgd", **ATTACKS["pgd"])
    for _ in range(3):
        model.fit(attack(model, images, labels), labels, epochs=10, verbose=0)
    flags, robust = attacked(model, every, attacks=more)
    assert flags == []
    better = {r["attack"]: r["accuracy"] for r in robust}
    assert better["pgd"] > accuracies["pgd"]


# === Faults of models ===


def test_an_untrained_model():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    flags, _ = attacked(keras.Sequential([keras.Input(SHAPE), *layers]))
    assert flags == [("untrained model", "a")]


def test_classes_in_another_order():
    flags, _ = attacked(classifier(weights=np.roll(WEIGHTS, 1, axis=1)))
    assert flags == [("accuracy at chance", "a")]


def test_outputs_that_are_no_logits():
    warned = {"a": {"warnings": ["its outputs are never negative"]}, "b": {}}
    results = {"records": [], "dataset": {"class_names": ["x"]}, "models": warned}
    (flag,) = red_flags(results, {})
    assert (flag["flag"], flag["where"]) == ("outputs are no logits", "a")
    assert flag["detail"] == "its outputs are never negative"


def masked(share):
    """No gradient where the mean brightness is below a quantile of the images'."""
    means = DATA.test.images.mean((1, 2, 3)) / 255
    edge = np.quantile(means, share)

    def stop(x):
        dark = tf.reduce_mean(x, [1, 2, 3], keepdims=True) < edge
        return tf.where(dark, tf.stop_gradient(x), x)

    return classifier(function(stop))


def test_gradients_that_vanish_get_a_search_beside():
    flags, records = attacked(masked(0.4), ("fgsm",))
    assert flags == [("vanished gradients", "a")]
    fgsm, beside = records[1:]
    zero = fgsm["signs"]["zero_gradients"]
    assert zero == 24 and fgsm["signs"]["seen"] == COUNT
    assert (beside["attack"], beside["eps"], beside["norm"]) == ("square", EPS, "inf")
    assert beside["correct"] < fgsm["correct"]


def test_a_search_that_is_there_is_not_repeated():
    _, records = attacked(masked(0.4), ("fgsm", "square"))
    assert [r["attack"] for r in records] == ["clean", "fgsm", "square"]
    _, records = attacked(classifier(), ("fgsm",))
    assert [r["attack"] for r in records] == ["clean", "fgsm"]


def test_saturated_cross_entropy():
    flags, records = attacked(classifier(scale=8e3))
    assert flags == [("saturated cross-entropy", "a")]
    signs = records[1]["signs"]
    assert signs["zero_gradients"] == 0
    assert 0 < signs["zero_ce_gradients"] <= signs["tiny_ce_gradients"] <= COUNT


@pytest.mark.parametrize("scale", [30.0, 130.0])
def test_counts_of_vanished_gradients_are_tensorflows(scale):
    model, labels = classifier(scale=scale), DATA.test.labels
    images = tf.constant(DATA.test.images / np.float32(255))
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images))
    largest = np.abs(tape.gradient(loss, images)).max((1, 2, 3))
    signs, _ = Looks().at("a", model, model, DATA.test, 7)
    assert signs["seen"] == COUNT and signs["zero_gradients"] == 0
    assert signs["zero_ce_gradients"] == np.sum(largest == 0)
    # TensorFlow's own comes in units of 9e-7 here: half a unit is not told apart.
    counts = [np.sum(largest < below) for below in (8e-7, 1.2e-6)]
    assert counts[0] <= signs["tiny_ce_gradients"] <= counts[1]
    assert 0 < max(signs["zero_ce_gradients"], counts[0] * (scale < 100)) < COUNT


def ripple(amount, per_level):
    """Waves as fine as grey levels, whose slope drowns that of the image."""
    return function(lambda x: x + amount * tf.sin(per_level * 255 * x))


def test_shattered_gradients():
    flags, _ = attacked(classifier(ripple(0.004, 9.0)), ("noise",), attacks=NOISE)
    assert flags == []  # Nothing that climbs was there.
    flags, records = attacked(classifier(ripple(0.004, 9.0)), ("apgd_ce",))
    assert flags == [("shattered gradients", "a")]
    assert records[1]["signs"]["cosine"] < 0.2


NOISE = {"noise": {"eps": EPS, "n_draws": 5}}


def test_unstable_predictions():
    """A logit that tosses a coin on the last digits of an image."""

    def toss(x):
        digits = tf.reduce_sum(x, [1, 2, 3], keepdims=True) * 1e4
        # 0 on half of the images, and without a say in the gradient.
        dark = tf.stop_gradient(tf.cast(tf.sin(digits) > 0.9, x.dtype))
        return x * (1 - dark) + dark * (1 - x)

    flags, records = attacked(classifier(function(toss)), ("fgsm",))
    assert flags == [("unstable predictions", "a")]
    assert records[1]["signs"]["unstable"] > 3


# === Faults of bookkeeping, and of attacks ===


def measured(
    ok=(0, 0, 0, 1),
    attack="fgsm",
    eps=8 / 255,
    target="a",
    source=None,
    goal="fixed-eps",
    access="gradients",
    clean_ok=None,
    params=(),
    signs=None,
    lengths=None,
    norm="inf",
    adv_set=None,
    index=None,
):
    """A record and its arrays; white-box unless it has another source."""
    ok = np.array(ok, bool)
    clean_ok = np.ones_like(ok) if clean_ok is None else np.array(clean_ok, bool)
    params = {**({} if eps is None else {"eps": eps}), **dict(params)}
    record = {
        "key": f"{target}-{attack}-{eps}-{source}-{sorted(params.items())}",
        "target": target,
        "attack": attack,
        "source": source or target,
        "setting": "transfer" if source else "white-box",
        "goal": goal,
        "access": access,
        "norm": norm,
        "eps": eps,
        "eps_text": None if eps is None else f"{eps:.4g}",
        "adv_set": adv_set,
        "num_examples": len(ok),
        "clean_correct": int(clean_ok.sum()),
        "correct": int(ok.sum()),
        "accuracy": float(ok.mean()),
        "fooled": int((clean_ok & ~ok).sum()),
        "params": params,
        "signs": signs,
    }
    arrays = {
        "index": np.arange(len(ok)) if index is None else np.asarray(index),
        "ok": ok,
        "clean_ok": clean_ok,
    }
    if lengths is not None:
        arrays[f"l{norm}"] = np.asarray(lengths, np.float32)
    return record, {f"{record['key']}/{name}": a for name, a in arrays.items()}


def flags(*measurements, data=None):
    records, arrays = zip(*measurements)
    merged = {name: a for part in arrays for name, a in part.items()}
    return flags_of(list(records), merged, data)


def share(right, total=100):
    return [1] * right + [0] * (total - right)


CW = {"attack": "cw", "eps": None, "goal": "minimal-norm", "norm": "2"}
CLEAN = {"attack": "clean", "eps": None, "goal": None, "access": None, "norm": None}
PGD = {"attack": "pgd", "params": {"nb_iter": 20, "eps_iter": 2 / 255}}
APGD = {"attack": "apgd_ce", "params": {"n_iter": 100}}
SQUARE = {"attack": "square", "access": "scores", "params": {"n_queries": 5000}}


def test_a_sound_evaluation_raises_no_flag():
    assert (
        flags(
            measured([1] * 8, **CLEAN),
            measured(eps=0.01, ok=[1, 1, 1, 0]),
            measured(eps=0.1, ok=[0, 0, 1, 0]),
            measured(source="b", eps=0.1, ok=[0, 1, 1, 0]),
            measured([0] * 4, **CW),
            measured([1] * 4, source="b", **CW),
        )
        == []
    )


def test_old_records_without_signs_are_read():
    assert flags(measured(), measured([0] * 4, **CW)) == []


@pytest.mark.parametrize("right, flagged", [(15, True), (32, True), (40, False)])
def test_clean_accuracy_at_chance(right, flagged):
    """Of four classes; wilson's interval of 32 in 100 reaches down to a quarter."""
    clean = measured(share(right), clean_ok=share(right), **CLEAN)
    assert flags(clean) == ([("accuracy at chance", "a")] if flagged else [])


def test_a_model_that_guesses_has_no_other_flag():
    nothing = measured(share(20), clean_ok=share(20))
    assert flags(nothing) == [("attack without effect", "fgsm 0.03137 on a")]
    clean = measured(share(20), clean_ok=share(20), **CLEAN)
    assert flags(clean, nothing) == [("accuracy at chance", "a")]


@pytest.mark.parametrize("attack", ["cw", "hop_skip_jump"])
def test_an_unbounded_attack_that_fails(attack):
    """It is what the attack is after that counts, not what it sees of the model."""
    measurement = measured([0, 0, 1, 0], **{**CW, "attack": attack})
    assert flags(measurement) == [("unbounded attack fails", f"{attack} on a")]


@pytest.mark.parametrize("eps, fails", [(0.3, False), (0.5, True)])
def test_a_ball_that_holds_everything_is_no_bound(eps, fails):
    far = {"nb_iter": 20, "eps_iter": 0.1}
    found = flags(measured([0, 0, 1, 0], "pgd", eps, params=far))
    assert found == [("unbounded attack fails", f"pgd {eps} on a")] * fails


@pytest.mark.parametrize(
    "attack, params, bounded",
    [
        ("jsma", {"gamma": 0.1}, True),
        ("jsma", {"gamma": 1.0}, False),
        ("minimal_eps", {"max_eps": 0.1}, True),
        ("minimal_eps", {"max_eps": None}, False),
    ],
)
def test_a_bounded_attack_may_fail(attack, params, bounded):
    measurement = measured([0, 0, 1, 0], **{**CW, "attack": attack}, params=params)
    assert len(flags(measurement)) == (not bounded)


def test_an_attack_without_effect():
    same = {"ok": [1, 1, 1, 0], "clean_ok": [1, 1, 1, 0]}
    assert flags(measured(**same)) == [("attack without effect", "fgsm 0.03137 on a")]
    assert flags(measured(eps=0.0, ok=[1] * 4)) == []
    assert flags(measured(source="b", ok=[1] * 4)) == []
    # A robust model is less sure of the label, at least.
    assert flags(measured(**same, signs={"raised": 3})) == []
    assert len(flags(measured(**same, signs={"raised": 1}))) == 1


def test_label_leaking():
    """The attack makes some wrong and more right."""
    clean_ok = share(60)
    attacked = measured(share(55), clean_ok=clean_ok, signs={"still_right": 70})
    assert flags(attacked) == [("label leaking", "fgsm 0.03137 on a")]
    sound = measured(share(55), clean_ok=clean_ok, signs={"still_right": 60})
    assert flags(sound) == []


def test_examples_outside_the_ball():
    inside = {"lengths": [8 / 255, 0, 0.01, 8 / 255 * (1 + 1e-5)]}
    assert flags(measured(**inside)) == []
    for lengths in ([0.05, 0, 0, 0], [np.nan, 0, 0, 0]):
        found = flags(measured(lengths=lengths))
        assert found == [("outside the ball", "fgsm 0.03137 on a")]
    # A set may be stored in grey levels: half of one is rounding.
    rounded = {"lengths": [8 / 255 + 0.4 / 255, 0, 0, 0]}
    assert flags(measured(**rounded, adv_set="s")) == []
    assert len(flags(measured(**rounded))) == 1
    # The distances of minimal-norm attacks have no bound.
    assert flags(measured([0] * 4, **CW, lengths=[9.0, 1, 1, 1])) == []


def test_only_the_stand_in_is_fooled():
    found = flags(measured(share(50), signs={"missed": 30}))
    assert found == [("only the stand-in is fooled", "fgsm 0.03137 on a")]
    assert flags(measured(share(50), signs={"missed": 10})) == []


def test_success_that_is_lost_in_rounding():
    found = flags(measured(share(50), signs={"rounded": 60}))
    assert found == [("lost in rounding", "fgsm 0.03137 on a")]
    assert flags(measured(share(50), signs={"rounded": 54})) == []
    minimal = measured(share(0), **CW, signs={"rounded": 60})
    assert flags(minimal) == []  # On the boundary any rounding decides.


def test_steps_that_do_not_reach_eps():
    short = {"nb_iter": 10, "eps_iter": 0.02}
    found = flags(measured(eps=0.3, attack="pgd", params=short))
    assert found == [("steps too short", "pgd 0.3 on a")]
    assert flags(measured(eps=0.2, attack="pgd", params=short)) == []


@pytest.mark.parametrize(
    "more, left, flagged",
    [(40, 45, True), (40, 50, False), (80, 46, True), (320, 47, False)],
)
def test_incomplete_optimisation(more, left, flagged):
    """More than half a point, and an image, for each doubling of 20 steps."""
    few = measured(share(50), "pgd", params={"nb_iter": 20, "eps_iter": 0.01})
    many = measured(share(left), "pgd", params={"nb_iter": more, "eps_iter": 0.01})
    expected = [("incomplete optimisation", "pgd 0.03137 on a")] if flagged else []
    assert flags(few, many) == expected


def test_other_losses_are_no_other_effort():
    ce = measured(share(50), "pgd", params={"nb_iter": 100, "loss": "ce"})
    margin = measured(share(47), "pgd", params={"nb_iter": 200, "loss": "margin"})
    assert flags(ce, margin) == []


def test_accuracy_that_grows_with_eps():
    rising = [measured(share(60), eps=0.1), measured(share(50), eps=0.01)]
    assert flags(*rising) == [("accuracy grows with eps", "fgsm of a on a")]
    other = measured(share(60), eps=0.1, attack="r_fgsm")
    assert flags(rising[1], other) == []  # Another attack is another series.


def test_a_rise_of_half_a_point_may_be_chance():
    low, high = (share(right, 400) for right in (200, 202))
    assert flags(measured(low, eps=0.01), measured(high, eps=0.1)) == []
    one = [measured(share(1, 4), eps=0.01), measured(share(2, 4), eps=0.1)]
    assert flags(*one) == []  # So may a single image.


def test_silent_success():
    """Half of those that resist in the large ball have an example in the small one."""
    far = {"nb_iter": 20, "eps_iter": 0.05}
    large = measured([1] * 20 + [0] * 80, "pgd", 0.1, params=far)
    small = measured([0] * 10 + [1] * 50 + [0] * 40, "pgd", 0.01, params=far)
    assert flags(small, large) == [("silent success", "pgd 0.1 on a")]
    step = measured([1] * 20 + [0] * 80, eps=0.1)
    short = measured([0] * 10 + [1] * 50 + [0] * 40, eps=0.01)
    assert flags(short, step) == []  # A single step does pass over.


def test_one_step_that_beats_many():
    found = flags(measured(share(40)), measured(share(50), **PGD))
    assert found == [("one step beats many", "pgd 0.03137 on a")]
    assert flags(measured(share(50)), measured(share(49), **PGD)) == []
    assert flags(measured(share(40), eps=0.1), measured(share(50), **PGD)) == []


def test_robust_to_one_step_alone():
    found = flags(measured(share(80)), measured(share(1), **PGD))
    assert found == [("robust to one step alone", "fgsm 0.03137 on a")]
    # An undefended network falls to both.
    assert flags(measured(share(40)), measured(share(1), **PGD)) == []
    assert flags(measured(share(80)), measured(share(40), **PGD)) == []


def test_losses_that_disagree():
    dlr = {**APGD, "attack": "apgd_dlr"}
    found = flags(measured(share(50), **APGD), measured(share(40), **dlr))
    assert found == [("losses disagree", "apgd_ce 0.03137 on a")]
    assert flags(measured(share(50), **APGD), measured(share(46), **dlr)) == []


def test_a_search_that_beats_gradients():
    climbed = measured(share(50), **APGD)
    found = flags(climbed, measured(share(40), **SQUARE))
    assert found == [("black-box beats white-box", "square 0.03137 on a")]
    noise = {**SQUARE, "attack": "noise", "params": {"n_draws": 1000}}
    found = flags(climbed, measured(share(40), **noise))
    assert found == [("noise beats gradients", "noise 0.03137 on a")]
    assert flags(climbed, measured(share(49), **SQUARE)) == []
    # A single step is no match for a search.
    assert flags(measured(share(50)), measured(share(40), **SQUARE)) == []
    # What another attack along the gradient has found, Square has not alone.
    other = measured(share(40), "pgd", params={"nb_iter": 20, "eps_iter": 0.01})
    assert flags(climbed, other, measured(share(40), **SQUARE)) == []


@pytest.mark.parametrize("by_square, flagged", [(1, False), (2, True)])
def test_autoattack_whose_search_still_finds_something(by_square, flagged):
    parts = {"apgd_ce": 40, "apgd_t": 5, "fab_t": 0, "square": by_square}
    found = flags(
        measured(
            share(50),
            "autoattack",
            params={"n_iter": 100},
            signs={"fooled_by": parts},
        )
    )
    name = ("black-box beats white-box", "autoattack 0.03137 on a")
    assert found == ([name] if flagged else [])


def test_transfer_that_beats_the_models_own_attack():
    own = measured(share(50))
    beaten = measured([0] * 50 + [1] * 50, source="b")
    found = flags(own, beaten)
    assert found == [("transfer beats white-box", "fgsm 0.03137 on a")]
    one = measured([0] + [1] * 49 + [0] * 50, source="b")
    assert flags(own, one) == []  # One image in a hundred may be chance.


# === Images ===


def dataset(images, labels):
    split = Split(images, labels, np.arange(len(labels)))
    return Dataset("mine", tuple("abcd"), "f" * 64, split, split, split)


def test_images_that_repeat():
    images = DATA.test.images.copy()
    sound = dataset(images, DATA.test.labels)
    attacked = measured(share(30, COUNT))
    assert flags(attacked, data=sound) == []
    images[4:8] = images[:4]  # of the same classes
    found = flags(attacked, data=dataset(images, DATA.test.labels))
    assert found == [("duplicated images", "mine")]


def test_images_of_a_sorted_split():
    order = np.argsort(DATA.test.labels, kind="stable")
    data = dataset(DATA.test.images[order], DATA.test.labels[order])
    first = measured(share(10, 20))
    assert flags(first, data=data) == [("unbalanced images", "mine")]
    assert flags(measured(share(30, COUNT)), data=data) == []  # All of them.


# === The table ===


def test_the_documents_table_is_the_registry():
    text = (ROOT / "docs" / "diagnostics.md").read_text()
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split(" | "))
        for line in text.splitlines()
        if line.startswith("| **")
    ]
    assert rows == [
        (f"**{flag.name}**", flag.failure, flag.remedy, flag.source) for flag in FLAGS
    ]
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
