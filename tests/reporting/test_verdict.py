"""The verdict and the leaderboard, against a count of their own from the arrays."""

import numpy as np
import pytest
from reporting.synthetic import CW
from reporting.synthetic import Store
from reporting.synthetic import complete
from reporting.synthetic import decision_based_results
from reporting.synthetic import defended_results
from reporting.synthetic import one_attack
from reporting.synthetic import sections
from scipy.stats import binomtest

from tf_advdefense.reporting import latex
from tf_advdefense.reporting import latex_tables
from tf_advdefense.reporting.contents import build_report
from tf_advdefense.reporting.standings import completed
from tf_advdefense.reporting.standings import standings


def counted(data, eps_text):
    """{model: {image: right under every attack at this radius}}, of shared images."""
    results, arrays = data
    found = {}
    for model in results["models"]:
        right = None
        for record in results["records"]:
            if record["target"] == model and record["eps_text"] == eps_text:
                key = record["key"]
                ok = dict(zip(arrays[f"{key}/index"], arrays[f"{key}/ok"]))
                right = ok if right is None else {i: right[i] & ok[i] for i in right}
        if right:
            found[model] = right
    return found


@pytest.mark.quick
def test_the_leaderboard_counts_what_withstands_every_attack():
    results, arrays = defended_results()
    expected = counted((results, arrays), "8/255")
    board = standings(completed(results), arrays)
    found = {row.model: row.headline.accuracy for row in board.rows}
    assert found == {m: np.mean(list(ok.values())) for m, ok in expected.items()}
    assert [row.model for row in board.rows] == sorted(found, key=lambda m: -found[m])


def test_the_leaderboard_of_many_models_is_sorted_and_tested(data):
    results, arrays = data
    asked = {"norm": "inf", "eps": 8 / 255, "eps_text": "8/255"}
    results = completed({**results, "threat_models": [asked]})
    board = standings(results, arrays)
    accuracy = [row.headline.accuracy for row in board.rows]
    assert accuracy == sorted(accuracy, reverse=True) and len(accuracy) == 5
    (table,) = sections(results, arrays)["Who holds out"]
    texts = [[row[0].text.strip("`"), row[2].text] for row in table.rows]
    expected = [[r.model, f"{100 * r.headline.accuracy:.1f}"] for r in board.rows]
    assert texts == expected
    first, *others = ({*zip(r.headline.index, r.headline.ok)} for r in board.rows)
    for row, other in zip(board.rows[1:], others):
        one, two = ({i for i, ok in shared if ok} for shared in (first, other))
        seen = {i for i, _ in first} & {i for i, _ in other}
        only = len((one - two) & seen), len((two - one) & seen)
        p = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
        assert (p >= 0.05) == (row.model in board.rivals)


def verdict_of(results, per_example):
    report = build_report(results, per_example)
    return report.verdict, " ".join(report.support)


def test_the_verdict_on_one_model():
    said, _ = verdict_of(*one_attack({"resnet50": 60}))
    assert said == (
        "Of 200 images `resnet50` classifies 100.0 % correctly; under FGSM at L∞ 8/255 "
        "it keeps 30.0 % (24.1–36.7)."
    )


def test_the_verdict_on_several_models():
    right = {"resnet50": 20, "resnet50-ensemble": 120, "resnet50-adversarial": 118}
    said, support = verdict_of(*one_attack(right, own=True))
    assert said == (
        "`resnet50-ensemble` holds out best: under FGSM it is right on 60.0 % of 200 "
        "images, left alone on 100.0 % of them."
    )
    assert "Not told apart from it: `resnet50-adversarial`." in support
    assert "The undefended `resnet50` keeps 10.0 % of images" in support


def test_the_verdict_warns_where_the_best_met_weaker_attackers():
    right = {"resnet50": 20, "resnet50-ensemble": 120}
    results, arrays = one_attack(right, own=True)
    assert "Beware" not in verdict_of(results, arrays)[1]
    results["records"][1]["access"] = "scores"
    _, support = verdict_of(results, arrays)
    assert "`resnet50-ensemble` met no white-box attack, only black-box." in support


def test_who_met_others_examples_alone_is_not_ranked_beside_white_box():
    right = {"resnet50": 20, "resnet50-ensemble": 120}
    results, arrays = one_attack(right)
    rows = standings(completed(results), arrays).rows
    worst = {row.model: row.headline for row in rows}
    assert worst["resnet50"].correct == 20 and worst["resnet50-ensemble"] is None


def test_the_verdict_names_all_who_are_equally_good():
    said, _ = verdict_of(*one_attack({"resnet50": 50, "resnet50-b": 50}, own=True))
    assert said.startswith("`resnet50` and `resnet50-b` hold out best: under FGSM each")


def test_the_verdict_when_nothing_holds_out():
    said, _ = verdict_of(*one_attack({"resnet50": 0, "resnet50-b": 0}))
    assert said.startswith("No model holds out: under FGSM at L∞ 8/255 each")
    assert "0.0 %" in said


def test_many_attacks_are_every_attack_tried():
    store = Store()
    for attack in ("fgsm", "bim", "pgd", "mim"):
        live = {"source": "resnet50", "setting": "white-box", "goal": "fixed-eps"}
        store.measure("resnet50", attack, norm="inf", eps_text="8/255", **live)
    said, _ = verdict_of(complete(store.records), store.per_example)
    assert "under every attack tried at L∞ 8/255" in said


def test_without_a_ball_the_verdict_speaks_of_distances():
    results, per_example = decision_based_results()
    kept = [r for r in results["records"] if r["goal"] != "fixed-eps"]
    for record in kept:
        record["median_linf"] = record.get("mean_linf")
    said, support = verdict_of({**results, "records": kept}, per_example)
    assert said == (
        "`resnet50-ensemble` is hardest to fool: HopSkipJump needs L∞ 0.600."
    )
    assert "The undefended `resnet50` takes 0.200." in support


def test_without_an_attack_the_verdict_speaks_of_clean_accuracy(data):
    results, per_example = data
    clean = [r for r in results["records"] if r["attack"] == "clean"]
    said, support = verdict_of({**results, "records": clean}, per_example)
    assert said.startswith("`resnet50` classifies 80.")
    assert said.endswith("% of 1,000 clean images correctly, the most of all models.")
    assert "No attack was run." in support
    assert verdict_of({**results, "records": []}, {})[0] == "No model was measured."


def test_without_arrays_there_is_no_worst_case(data):
    _, support = verdict_of(data[0], {})
    assert "not image by image" in support


def test_records_may_lack_norm_and_radius(data):
    results, per_example = data
    lost = ("norm", "eps", "eps_text", "goal", "access")
    records = [
        {k: v for k, v in r.items() if k not in lost} for r in results["records"]
    ]
    assert verdict_of({**results, "records": records}, per_example)[0]


def labelled():
    """The results of one attack, with classes and passes."""
    results, arrays = one_attack({"resnet50": 60, "resnet50-ensemble": 120})
    store = Store()
    for name in ("resnet50", "resnet50-ensemble"):
        store.measure(name, "clean", setting="clean", n=200)
    arrays |= store.per_example
    for record in store.records:
        arrays[f"{record['key']}/label"] = np.arange(200) % 2
    for record in results["records"]:
        record |= {"setting": "white-box", "source": record["target"]}
        arrays[f"{record['key']}/passes"] = np.arange(200) + 1
    results["records"] += store.records
    results["dataset"]["class_names"] = ["cat", "dog"]
    return results, arrays


def test_each_class_has_its_own_worst_case():
    (table,) = sections(*labelled())["Each class"]
    assert [c.text for c in table.header] == ["Model", "cat", "dog"]
    # 120 of 200, and 60 of them, alternate between the classes.
    assert [[c.text for c in row[1:]] for row in table.rows] == [
        ["60.0", "60.0"],
        ["30.0", "30.0"],
    ]
    assert "n = 100 images of a class" in table.note


def test_success_against_passes():
    (figures,) = sections(*labelled())["How much work an attack is"]
    # The 140 of 200 that are fooled take 61 to 200 passes, a median of 130.5.
    assert "70 % of `resnet50` are fooled, half of them within 130 passes" in (
        figures.items[0].alt
    )


def test_an_attack_that_spends_as_much_on_every_image_is_not_drawn():
    results, arrays = labelled()
    passes = {n: np.full(200, 40) for n in arrays if n.endswith("/passes")}
    assert "How much work an attack is" not in sections(results, arrays | passes)


def test_parts_without_arrays_are_left_out(data):
    titles = sections(*data)
    assert "Each class" not in titles and "How much work an attack is" not in titles


def test_transfer_is_a_matrix_of_sources_and_models(data):
    tables = sections(*data)["Transfer"]
    fgsm = next(t for t in tables if t.caption.startswith("FGSM"))
    assert [c.text for c in fgsm.header[:3]] == ["Model", "`resnet50`", "`alexnet`"]
    own = {row[0].text: [c.mark for c in row[1:3]] for row in fgsm.rows}
    assert own["`resnet50`"] == ["white-box", ""]
    assert own["`alexnet`"] == ["", "white-box"]


def test_latex_escapes_what_users_wrote(tmp_path):
    results, arrays = one_attack({"resnet50": 20, "alexnet": 60})
    nasty = "a_b&c%d#e"
    for record in results["records"]:
        record["target"] = record["target"].replace("alexnet", nasty)
    results["models"][nasty] = results["models"].pop("alexnet")
    text = latex_tables(results, arrays)
    assert r"\texttt{a\_b\&c\%d\#e}" in text
    for environment in ("table", "tabular"):
        begun, ended = (text.count(f"\\{e}{{{environment}}}") for e in ("begin", "end"))
        assert begun == ended == 2
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2


def test_latex_texts():
    assert latex.escape("50 % of `a_b` $x$") == r"50 \% of \texttt{a\_b} \$x\$"
    assert latex.escape("L∞, ε ~ 1–2") == (
        r"L$\infty$, $\varepsilon$ \textasciitilde{} 1--2"
    )


def test_a_minimal_norm_attack_alone_has_a_curve_down_from_clean():
    store = Store()
    live = {"source": "resnet50", "setting": "white-box"}
    store.measure("resnet50", "cw", n=128, strength=1, **live, **CW)
    results = complete(store.records)
    (figures,) = sections(results, store.per_example)["Accuracy against the radius"]
    clean = 100 * store.per_example[f"{store.records[0]['key']}/clean_ok"].mean()
    assert f"falls from {clean:.0f} % at 0 to" in figures.items[0].alt
