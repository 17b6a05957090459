"""The sentences say what the numbers say."""

import pytest
from reporting.synthetic import Store
from reporting.synthetic import complete
from reporting.synthetic import one_attack

from tf_advdefense.reporting import summary


@pytest.mark.quick
def test_summary_credits_a_gain_beyond_the_control():
    said = " ".join(
        summary.tested(
            *one_attack({"resnet50": 20, "resnet50-b": 60, "resnet50-ensemble": 120})
        )
    )
    assert (
        "`resnet50-ensemble` gains over `resnet50` on 1 of 1 attack, best under "
        "FGSM (ε = 8/255): 60.0 % against 10.0 % (+50.0 points, intervals apart, "
        "p < 0.001)"
    ) in said
    assert "`resnet50-b` gains on 1 of 1 attack too" in said
    assert "everywhere more than that of just another network" in said


def test_summary_compares_on_the_images_of_both():
    results, arrays = one_attack({"resnet50": 20, "resnet50-ensemble": 120})
    record = next(r for r in results["records"] if r["target"] == "resnet50-ensemble")
    for name in ("index", "ok", "clean_ok"):
        key = f"{record['key']}/{name}"
        arrays[key] = arrays[key][:100]  # All of these it gets right.
    record |= {"num_examples": 100, "correct": 100, "accuracy": 1.0}
    said = " ".join(summary.tested(results, arrays))
    assert "on the 100 images of both, 100.0 % against 20.0 % (+80.0 points" in said


def test_summary_does_not_credit_what_the_control_gains_too():
    said = " ".join(
        summary.tested(
            *one_attack({"resnet50": 20, "resnet50-b": 118, "resnet50-ensemble": 120})
        )
    )
    assert "better on none of 1 attack" in said
    assert "nothing here tells its gain from that of just another network" in said


def test_summary_says_that_intervals_overlap_and_that_a_control_is_missing():
    said = " ".join(
        summary.tested(*one_attack({"resnet50": 100, "resnet50-ensemble": 112}))
    )
    assert "intervals overlap" in said and "on 1 of 1 attack" in said
    assert "No second undefended network was scored" in said


def test_summary_puts_many_models_that_gain_alike_together():
    right = {
        "resnet50": 100,
        "resnet50-adversarial": 160,
        "resnet50-ensemble": 170,
        "resnet50-pgd_at": 150,
        "resnet50-trades": 102,
        "resnet50-fgsm_at": 40,
    }
    results, per_example = one_attack(right)
    results["models"] |= {
        name: {
            **results["models"]["resnet50-ensemble"],
            "defense": name.partition("-")[2],
        }
        for name in right
        if name not in results["models"]
    }
    said = " ".join(summary.tested(results, per_example))
    assert (
        "`resnet50-adversarial`, `resnet50-ensemble` and `resnet50-pgd_at` gain "
        "over `resnet50` on 1 of 1 attack; `resnet50-trades` gains over `resnet50` on "
        "none of 1 attack; `resnet50-fgsm_at` gains over `resnet50` on none of 1 "
        "attack and loses on 1; the largest gain is that of `resnet50-ensemble` "
        "under FGSM (ε = 8/255), 85.0 % against 50.0 % (+35.0 points"
    ) in said


@pytest.mark.parametrize("trained_on, told", [("alexnet", "vgg"), ("vgg", "alexnet")])
def test_summary_prefers_a_source_that_nobody_trained_on(trained_on, told):
    store = Store()
    for source in ("alexnet", "vgg"):
        for target in ("resnet50", "resnet50-ensemble"):
            store.measure(
                target,
                "fgsm",
                source=source,
                setting="transfer",
                norm="inf",
                goal="fixed-eps",
                eps_text="8/255",
                adv_set=f"{source}-fgsm",
            )
    results = complete(store.records)
    results["models"]["resnet50-ensemble"]["sources"] = [trained_on]
    said = " ".join(summary.tested(results, store.per_example))
    assert f"On examples crafted on `{told}`" in said


def test_the_scope_counts_models_attacks_and_images(data):
    assert summary.scope(data[0]) == (
        "5 models were scored against FGSM, CW and Sparse L1, on 128 to 1,000 images a "
        "measurement."
    )
