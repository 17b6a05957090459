"""Reports against the per-example arrays they are made from, and against oracles."""

import csv
import io
import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tf_advdefense.evaluation import statistics
from tf_advdefense.reporting import document
from tf_advdefense.reporting import figures
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import grids
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import render_tables
from tf_advdefense.reporting import summary
from tf_advdefense.reporting import tables
from tf_advdefense.reporting import write_report
from tf_advdefense.reporting.report import build_sections

# Share of correct images that survive an attack of strength 1, by model.
_TOUGHNESS = {
    "resnet50": 0.1,
    "resnet50-b": 0.4,
    "resnet50-adversarial": 0.7,
    "resnet50-ensemble": 0.6,
    "alexnet": 0.3,
}
_CLEAN = {
    "resnet50": 0.80,
    "resnet50-b": 0.79,
    "resnet50-adversarial": 0.72,
    "resnet50-ensemble": 0.76,
    "alexnet": 0.70,
}
_FGSM = (("0.001", 0.05), ("0.01", 0.3), ("0.07", 0.8), ("0.3", 1.0))


def wilson(correct, total):
    """The interval's textbook form, solved as a quadratic in the unknown share."""
    z2 = 1.959964**2
    roots = np.roots([total + z2, -(2 * correct + z2), correct**2 / total])
    return sorted(float(root.real) for root in roots)


class Store:
    """Synthetic measurements in the format of `results.json`."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.records, self.per_example = [], {}

    def measure(
        self,
        target,
        attack,
        *,
        source=None,
        setting,
        strength=0.0,
        n=512,
        norm=None,
        goal=None,
        eps_text=None,
        params=None,
        adv_set=None,
    ):
        luck = np.random.default_rng(7).random(1000)[:n]  # the same images are hard
        clean_ok = luck < _CLEAN[target]
        defended = setting == "transfer" or target == "resnet50-adversarial"
        held = 1 - min(strength, 1) * (1 - _TOUGHNESS[target] * defended)
        held *= goal != "minimal-norm" or setting == "transfer"
        ok = clean_ok & (self.random.random(n) < held)
        l2 = np.where(clean_ok, self.random.gamma(4, _TOUGHNESS[target] / 8, n), 0)
        self.add(
            target,
            attack,
            source,
            setting,
            norm,
            goal,
            eps_text,
            params,
            adv_set,
            clean_ok,
            ok,
            l2.astype(np.float32),
        )

    def add(
        self,
        target,
        attack,
        source,
        setting,
        norm,
        goal,
        eps_text,
        params,
        adv_set,
        clean_ok,
        ok,
        l2,
    ):
        key = f"{target}/{attack}/{eps_text or ''}/{source or ''}/{setting}/{adv_set}"
        n, fooled = len(ok), clean_ok & ~ok
        arrays = {
            "index": np.arange(n, dtype=np.int32),
            "clean_ok": clean_ok,
            "ok": ok,
            "l2": l2,
        }
        self.per_example |= {f"{key}/{name}": value for name, value in arrays.items()}
        self.records.append(
            {
                "key": key,
                "target": target,
                "source": source,
                "attack": attack,
                "setting": setting,
                "norm": norm,
                "goal": goal,
                "eps": fraction(eps_text) if eps_text else None,
                "eps_text": eps_text,
                "params": params or {},
                "adv_set": adv_set,
                "num_examples": n,
                "clean_correct": int(clean_ok.sum()),
                "correct": int(ok.sum()),
                "accuracy": float(ok.mean()),
                "interval": wilson(int(ok.sum()), n),
                "fooled": int(fooled.sum()),
                "mean_l2": float(l2[fooled].mean()) if fooled.any() else None,
                "median_l2": float(np.median(l2[fooled])) if fooled.any() else None,
                "forwards": 20 * n,
                "backwards": 20 * n,
                "seconds": 0.25 * n,
            }
        )


def fraction(text):
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator or 1)


CW = {
    "goal": "minimal-norm",
    "norm": "2",
    "params": {"binary_search_steps": 5, "max_iterations": 200},
}
SPARSE = {
    "goal": "fixed-eps",
    "norm": "1",
    "eps_text": "10",
    "params": {"nb_iter": 20, "grad_sparsity": 99},
}


def synthetic_results(seed=0):
    """Five models; clean, two transfer sources and white-box attacks."""
    store = Store(seed)
    for target in _CLEAN:
        store.measure(target, "clean", setting="clean", n=1000)
    for source in ("resnet50", "alexnet"):
        for target in _CLEAN:
            setting = "white-box" if source == target else "transfer"
            _attack_from_set(store, source, target, setting)
    for target in _CLEAN:
        for text in ("1/255", "2/255", "4/255", "8/255"):
            store.measure(
                target,
                "fgsm",
                source=target,
                setting="white-box",
                norm="inf",
                goal="fixed-eps",
                eps_text=text,
                n=1000,
                strength=fraction(text) * 28,
            )
        store.measure(
            target,
            "sparse_l1",
            source=target,
            setting="white-box",
            strength=0.8,
            n=128,
            **SPARSE,
        )
        store.measure(
            target, "cw", source=target, setting="white-box", strength=1, n=128, **CW
        )
    return _complete(store.records), store.per_example


def _attack_from_set(store, source, target, setting):
    common = {"source": source, "setting": setting}
    for text, strength in _FGSM:
        store.measure(
            target,
            "fgsm",
            strength=strength,
            norm="inf",
            goal="fixed-eps",
            eps_text=text,
            adv_set=f"{source}-fgsm-eps{text}-test",
            **common,
        )
    store.measure(
        target,
        "cw",
        strength=0.7 + 0.3 * (setting == "white-box"),
        adv_set=f"{source}-cw-test",
        **common,
        **CW,
    )
    store.measure(
        target,
        "sparse_l1",
        strength=0.6,
        adv_set=f"{source}-sparse_l1-test",
        **common,
        **SPARSE,
    )


def _complete(records):
    def model(name):
        defense = name.partition("-")[2]
        return {
            "model": name.partition("-")[0],
            "defense": defense if len(defense) > 1 else "none",
            "adv_data": ["resnet50-fgsm-train"] if len(defense) > 1 else [],
            "seed": 0,
            "epochs": 15,
            "num_params": 23_608_202,
            "train_examples": 45_000,
            "validation_accuracy": 0.78,
            "test_accuracy": _CLEAN[name],
            "weights_sha256": "ab" * 32,
            "role": {"alexnet": "source", "resnet50-b": "control"}.get(name, "target"),
        }

    return {
        "format": 1,
        "models": {name: model(name) for name in _CLEAN},
        "dataset": {
            "name": "cifar10",
            "split": "test",
            "num_classes": 10,
            "note": "JPEG re-encoding of CIFAR-10.",
        },
        "records": records,
        "versions": {"tensorflow": "2.21.0"},
        "commands": ["bin/train --model=resnet50", "bin/report"],
    }


def synthetic_example(n=3, channels=3, scale=0.02):
    random = np.random.default_rng(3)
    clean = random.random((n, 8, 8, channels), np.float32)
    noise = random.uniform(-scale, scale, clean.shape).astype(np.float32)
    return {
        "attack": "fgsm",
        "eps_text": "0.02",
        "source": "resnet50",
        "clean": clean,
        "adversarial": np.clip(clean + noise, 0, 1),
        "label": np.arange(n),
        "clean_prediction": np.arange(n),
        "prediction": np.arange(n) + 1,
        "class_names": ["airplane", "automobile", "bird", "cat", "deer"],
    }


@pytest.fixture(scope="module")
def data():
    return synthetic_results()


@pytest.fixture(scope="module")
def written(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    return write_report(directory, *data, [synthetic_example()])


def protocol_of(results, source):
    return next(p for p in protocols.protocols(results) if p.source == source)


def sections(results, per_example=None, examples=()):
    built = build_sections(results, per_example or {}, examples)
    return {section.title: section.blocks for section in built}


# --- statistics: values of scipy.stats.binomtest -----------------------------------


@pytest.mark.parametrize(
    "correct, total, low, high",
    [
        (0, 10, 0.0, 0.2775328),
        (53, 100, 0.4328886, 0.6248918),
        (276, 512, 0.4957546, 0.5817886),
        (128, 128, 0.9708631, 1.0),
        (9987, 10000, 0.9977769, 0.9992401),
    ],
)
def test_wilson(correct, total, low, high):
    assert statistics.wilson(correct, total) == pytest.approx((low, high), abs=1e-6)


def test_wilson_of_nothing_excludes_nothing():
    assert statistics.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    "only_first, only_second, p",
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (9, 1, 0.021484375),
        (5, 5, 1.0),
        (30, 12, 0.007915897334896727),
        (240, 200, 0.06286871784615478),
        (1300, 1500, 0.00016841162264376235),
        (0, 2000, 0.0),
    ],
)
def test_mcnemar(only_first, only_second, p):
    assert statistics.mcnemar(only_first, only_second) == pytest.approx(p)
    assert statistics.mcnemar(only_second, only_first) == pytest.approx(p)


def test_paired_joins_on_the_images_of_both():
    arrays = {
        "a/index": np.array([4, 2, 9, 7]),
        "a/ok": np.array([True, False, True, True]),
        "b/index": np.array([2, 7, 4, 1]),
        "b/ok": np.array([True, False, False, True]),
    }
    pair = statistics.paired(arrays, "a", "b")
    assert (pair.n, pair.only_first, pair.only_second) == (3, 2, 1)
    assert pair.gain == pytest.approx(1 / 3) and pair.correct == (2, 1)
    assert statistics.paired(arrays, "a", "c") is None
    arrays["b/index"] += 100
    assert statistics.paired(arrays, "a", "b") is None


# --- numbers: recomputed from the per-example arrays -------------------------------


def markdown_tables(text):
    """[(caption, header, rows)] of every pipe table, cells split at <br>."""
    found = []
    for block in re.finditer(r"(.*)\n\n((?:\|.*\n)+)", text):
        header, _, *rows = [
            [cell.split("<br>") for cell in line.strip("| ").split(" | ")]
            for line in block[2].splitlines()
        ]
        found.append((block[1], header, rows))
    return found


def arrays_of(data, **wanted):
    results, per_example = data
    (record,) = (
        r
        for r in results["records"]
        if all(r[name] == value for name, value in wanted.items())
    )
    return {
        name: per_example[f"{record['key']}/{name}"]
        for name in ("index", "clean_ok", "ok", "l2")
    }


def column_settings(header, source):
    """What a column's heading says, as fields of a record."""
    if header == ["Clean"]:
        return {"attack": "clean"}
    attack = {"FGSM": "fgsm", "CW": "cw", "Sparse L1": "sparse_l1"}[header[0]]
    text = header[1].removeprefix("ε = ") if "ε" in header[1] else None
    budget = f"-eps{text}" if attack == "fgsm" else ""
    return {
        "attack": attack,
        "eps_text": text,
        "source": source,
        "adv_set": f"{source}-{attack}{budget}-test",
    }


def cells_of(data, written, caption, source):
    """(model, header, cell, arrays) of one transfer table of the Markdown report."""
    text = written["markdown"].read_text()
    part = text.split(f"crafted on `{source}`\n", 1)[1].split("\n## ")[0]
    _, header, rows = next(t for t in markdown_tables(part) if t[0].startswith(caption))
    for model, *cells in rows:
        for title, cell in zip(header[1:], cells, strict=True):
            yield model, title, cell


@pytest.mark.quick
@pytest.mark.parametrize("source", ["resnet50", "alexnet"])
def test_every_cell_of_figure_4(data, written, source):
    seen = 0
    for model, title, cell in cells_of(data, written, "Accuracy in", source):
        target = model[0].strip("`")
        arrays = arrays_of(data, target=target, **column_settings(title, source))
        ok, clean_ok = arrays["ok"], arrays["clean_ok"]
        low, high = wilson(int(ok.sum()), len(ok))
        expected = [
            f"{100 * ok.mean():.1f}",
            f"{100 * low:.1f}–{100 * high:.1f}",
            f"n = {len(ok):,}",
        ]
        if len(ok) < 1000:  # Clean accuracy is of 1,000 images: these have their own.
            expected.append(f"of {100 * clean_ok.mean():.1f} clean")
        if target == source and title != ["Clean"]:
            expected.insert(1, "*white-box*")
        assert cell == expected
        seen += 1
    assert seen == 5 * 7


def test_every_paired_gain(data, written):
    seen = 0
    for model, title, cell in cells_of(data, written, "Difference", "resnet50"):
        first, second = (text.removeprefix("against ").strip("`") for text in model)
        settings = column_settings(title, "resnet50")
        a, b = (arrays_of(data, target=t, **settings)["ok"] for t in (first, second))
        assert float(cell[0].replace("−", "-")) == pytest.approx(
            100 * (a.mean() - b.mean()), abs=0.051
        )
        assert cell[1] == f"{np.sum(a & ~b)} : {np.sum(~a & b)}"
        seen += 1
    assert seen == 5 * 7


def test_distances_of_the_minimal_norm_attack(data):
    results, _ = data
    table = tables.distance_table(results, protocol_of(results, None))
    assert len(table.rows) == 5
    for model, _, success, mean, median in table.rows:
        target = model.text.strip("`")
        arrays = arrays_of(data, target=target, attack="cw", adv_set=None)
        fooled = arrays["clean_ok"] & ~arrays["ok"]
        assert success.text == f"{100 * fooled.sum() / arrays['clean_ok'].sum():.1f}"
        assert float(mean.text) == pytest.approx(arrays["l2"][fooled].mean(), rel=5e-3)
        assert float(median.text) == pytest.approx(
            np.median(arrays["l2"][fooled]), rel=5e-3
        )


def decision_based_results():
    """Two models under PGD, and under HopSkipJump, which no network resists."""
    store = Store()
    n = np.arange(100)
    for target, right in (("resnet50", 20), ("resnet50-ensemble", 60)):
        store.measure(target, "clean", setting="clean", n=100)
        live = (target, "white-box", "inf")
        for attack, goal, eps_text, correct in (
            ("pgd", "fixed-eps", "8/255", right),
            ("hop_skip_jump", "minimal-norm", None, right // 10),
        ):
            arrays = n >= 0, n < correct, np.ones(100, np.float32)
            store.add(target, attack, *live, goal, eps_text, {}, None, *arrays)
        store.records[-1] |= {"access": "decisions", "mean_linf": right / 100}
    return _complete(store.records), store.per_example


def test_an_attack_by_decisions_has_a_distance_and_no_comparable_accuracy():
    results, per_example = decision_based_results()
    protocol = protocol_of(results, None)
    rows = tables.distance_table(results, protocol).rows
    assert [[c.text for c in row[:4]] for row in rows] == [
        ["`resnet50`", "HopSkipJump", "98.0", "0.200"],
        ["`resnet50-ensemble`", "HopSkipJump", "94.0", "0.600"],
    ]
    said = " ".join(summary.sentences(results, per_example))
    assert "gains over `resnet50` on 1 of 1 attack, best under PGD (ε = 8/255)" in said
    assert "White-box HopSkipJump fools at least 94.0 %" in said
    # Of one bounded attack there is no worst case.
    assert "Overview" not in sections(results, per_example)


def test_a_record_names_its_attack():
    results, per_example = decision_based_results()
    for record in results["records"]:
        record["title"] = {"pgd": "Madry's attack"}.get(record["attack"])
    text = markdown.render("", build_sections(results, per_example))
    assert "Madry's attack (ε = 8/255)" in text and "HopSkipJump" in text
    assert "PGD" not in text.split("Definitions")[0]


def test_csv_has_every_record_at_full_precision(data, written):
    results, per_example = data
    rows = list(csv.DictReader(io.StringIO(written["csv"].read_text())))
    assert [row["key"] for row in rows] == [r["key"] for r in results["records"]]
    for row in rows:
        ok = per_example[f"{row['key']}/ok"]
        assert int(row["correct"]) == ok.sum() and int(row["num_examples"]) == len(ok)
        assert float(row["accuracy"]) == ok.mean()
        low, high = wilson(int(ok.sum()), len(ok))
        assert float(row["interval_low"]) == pytest.approx(low, abs=1e-9)
        assert float(row["interval_high"]) == pytest.approx(high, abs=1e-9)


def test_all_measurements_are_listed(data, written):
    results, _ = data
    listed = next(
        rows
        for caption, _, rows in markdown_tables(written["markdown"].read_text())
        if caption.startswith("Every measurement")
    )
    assert len(listed) == len(results["records"])
    for row, record in zip(listed, results["records"]):
        assert row[0][0] == f"`{record['target']}`"
        assert row[3][0] == formats.percent(record["accuracy"])


def test_distance_curve_counts_the_fooled_among_the_correct(data):
    results, per_example = data
    protocol = protocol_of(results, None)
    (condition,) = (c for c in protocol.conditions if c.attack == "cw")
    lengths, attacked = figures.distances(protocol, condition, per_example)["resnet50"]
    arrays = arrays_of(data, target="resnet50", attack="cw", adv_set=None)
    assert attacked == arrays["clean_ok"].sum()
    assert list(lengths) == sorted(arrays["l2"][arrays["clean_ok"] & ~arrays["ok"]])


# --- what stands beside what -------------------------------------------------------


def test_protocols_separate_sources_and_budgets(data):
    results, _ = data
    found = protocols.protocols(results)
    assert [p.source for p in found] == ["resnet50", "alexnet", None]
    assert [found[0].title_of(c) for c in found[0].conditions] == [
        "Clean",
        "FGSM (ε = 0.001)",
        "FGSM (ε = 0.01)",
        "FGSM (ε = 0.07)",
        "FGSM (ε = 0.3)",
        "CW",
        "Sparse L1 (ε = 10)",
    ]
    for protocol in found:
        for (model, condition), record in protocol.cells.items():
            assert record["target"] == model
            if condition.attack != "clean":
                assert record["source"] == (protocol.source or model)


def test_budgets_that_differ_in_one_parameter_are_two_columns():
    store = Store()
    for steps in (20, 100):
        for target in ("resnet50", "resnet50-b"):
            store.measure(
                target,
                "pgd",
                source=target,
                setting="white-box",
                norm="inf",
                goal="fixed-eps",
                eps_text="8/255",
                params={"nb_iter": steps},
            )
            store.records[-1]["key"] += str(steps)
    protocol = protocol_of(_complete(store.records), None)
    assert [protocol.title_of(c) for c in protocol.conditions] == [
        "PGD (ε = 8/255, nb_iter=100)",
        "PGD (ε = 8/255, nb_iter=20)",
    ]


def test_the_source_row_falls_back_to_its_live_attack():
    store = Store()
    store.measure("resnet50", "cw", source="resnet50", setting="white-box", n=128, **CW)
    store.measure(
        "alexnet",
        "cw",
        source="resnet50",
        setting="transfer",
        adv_set="resnet50-cw-test",
        **CW,
    )
    protocol = protocol_of(_complete(store.records), "resnet50")
    (condition,) = protocol.attacked()
    assert protocol.cells["resnet50", condition]["num_examples"] == 128


def test_a_set_scored_on_its_own_source_alone_is_shown_as_white_box():
    store = Store()
    store.measure(
        "resnet50",
        "cw",
        source="resnet50",
        setting="white-box",
        adv_set="resnet50-cw-test",
        **CW,
    )
    (protocol,) = protocols.protocols(_complete(store.records))
    assert protocol.source is None and len(protocol.cells) == 1


def test_white_box_is_what_the_record_says_not_what_names_say():
    store = Store()
    for target, setting in (("resnet50", "white-box"), ("alexnet", "transfer")):
        store.measure(
            target,
            "cw",
            source="elsewhere/model.keras",
            setting=setting,
            adv_set="model-cw-test",
            **CW,
        )
    protocol = protocol_of(_complete(store.records), "elsewhere/model.keras")
    own = {model: protocol.is_own(model, c) for model, c in protocol.cells}
    assert own == {"resnet50": True, "alexnet": False}


def test_the_baseline_has_the_same_architecture(data):
    results, _ = data
    assert protocols.baseline_of(results, "resnet50-ensemble") == "resnet50"
    assert protocols.baseline_of(results, "resnet50-b") == "resnet50"
    assert protocols.baseline_of(results, "resnet50") is None


def test_models_keep_their_colour_and_marker():
    marks = figures.styles([f"m{i}" for i in range(40)])
    assert len({tuple(mark.items()) for mark in marks.values()}) == 40


# --- one table for all, and attackers who overlook a defence ------------------------


def defended_results():
    """Two white-box attacks, one oblivious, and transfer from a held-out source."""
    store = Store()
    n = np.arange(10)
    for target, right in (("resnet50", (4, 2)), ("resnet50-ensemble", (8, 6))):
        store.measure(target, "clean", setting="clean", n=10)
        for attack, correct in zip(("fgsm", "pgd"), right):
            # From either end, so that the worst case is neither attack's.
            ok = n < correct if attack == "fgsm" else n >= 10 - correct
            store.add(
                target,
                attack,
                target,
                "white-box",
                "inf",
                "fixed-eps",
                "8/255",
                {},
                None,
                n >= 0,
                ok,
                np.ones(10, np.float32),
            )
        store.add(
            target,
            "fgsm",
            "alexnet",
            "transfer",
            "inf",
            "fixed-eps",
            "8/255",
            {},
            "set",
            n >= 0,
            n < 9,
            np.ones(10, np.float32),
        )
    store.add(
        "resnet50-ensemble",
        "pgd",
        "resnet50-ensemble",
        "oblivious",
        "inf",
        "fixed-eps",
        "8/255",
        {},
        None,
        n >= 0,
        n < 9,
        np.ones(10, np.float32),
    )
    results = _complete(store.records)
    results["models"]["resnet50-ensemble"]["sources"] = ["alexnet"]
    return results, store.per_example


def test_the_overview_has_every_attack_and_their_worst_case():
    (table,) = sections(*defended_results())["Overview"]
    assert [(c.text, c.detail) for c in table.header] == [
        ("Model", ""),
        ("Clean", ""),
        ("FGSM", "ε = 8/255"),
        ("PGD", "ε = 8/255"),
        ("Worst case", "ε = 8/255"),
        ("FGSM", "ε = 8/255\nfrom `alexnet`"),
    ]
    own, ensemble = table.rows
    # 4 from one end and 2 from the other share no image, 8 and 6 share 4.
    assert [c.text for c in own[2:]] == ["40.0", "20.0", "0.0", "90.0"]
    assert [c.text for c in ensemble[2:]] == ["80.0", "60.0", "40.0", "90.0"]
    assert ensemble[4].detail.startswith(formats.interval(wilson(4, 10)))
    assert "FGSM (ε = 8/255) and PGD (ε = 8/255)" in table.caption


def test_the_worst_case_joins_on_the_images_of_all():
    arrays = {
        "a/index": np.array([5, 1, 3]),
        "a/ok": np.array([True, True, False]),
        "b/index": np.array([3, 5, 9]),
        "b/ok": np.array([True, True, True]),
    }
    assert statistics.worst_case(arrays, ["a", "b"]).tolist() == [False, True]
    assert statistics.worst_case(arrays, ["a", "c"]) is None


def test_the_overview_shows_the_radius_nearest_8_255(data):
    (table,) = sections(*data)["Overview"]
    shown = [c.detail for c in table.header if c.text == "FGSM"]
    assert shown == [
        "ε = 8/255",
        "ε = 0.01\nfrom `resnet50`",
        "ε = 0.01\nfrom `alexnet`",
    ]
    cw = [c.text for c in table.header].index("CW")
    assert table.rows[0][cw].detail.splitlines()[-1].startswith("L2 ")


def test_who_was_trained_on_a_source_is_marked():
    results, _ = defended_results()
    table = tables.accuracy_table(results, protocol_of(results, "alexnet"))
    assert [[c.mark for c in row[1:]] for row in table.rows] == [
        ["", ""],
        ["", "trained on"],
    ]
    assert "for all others it is held out" in table.caption
    results["models"]["resnet50-ensemble"]["sources"] = ["resnet50"]
    table = tables.accuracy_table(results, protocol_of(results, "alexnet"))
    assert not any(c.mark for row in table.rows for c in row)
    assert "held out" not in table.caption


def test_oblivious_stands_beside_adaptive():
    results, per_example = defended_results()
    table = tables.oblivious_table(results, protocol_of(results, None))
    assert [[c.text for c in row] for row in table.rows] == [
        ["`resnet50-ensemble`", "–", "90.0"],
        ["`resnet50-ensemble`", "80.0", "60.0"],
    ]
    assert [row[0].detail for row in table.rows] == [
        "oblivious attacker",
        "adaptive attacker",
    ]
    said = " ".join(summary.sentences(results, per_example))
    assert "`resnet50-ensemble` from 90.0 to 60.0 % under PGD (ε = 8/255)." in said
    # The oblivious record is in no other table.
    white_box = tables.accuracy_table(results, protocol_of(results, None))
    assert white_box.rows[1][3].text == "60.0"


def test_no_oblivious_table_without_oblivious_attacks(data):
    results, _ = data
    assert tables.oblivious_table(results, protocol_of(results, None)) is None


# --- the summary says what the numbers say -----------------------------------------


def one_attack(correct, n=200):
    """Results of one transfer attack with `correct[model]` images right."""
    store = Store()
    for target, right in correct.items():
        ok = np.arange(n) < right
        setting = "white-box" if target == "resnet50" else "transfer"
        store.add(
            target,
            "fgsm",
            "resnet50",
            setting,
            "inf",
            "fixed-eps",
            "8/255",
            {},
            "set",
            np.ones(n, bool),
            ok,
            np.ones(n, np.float32),
        )
    return _complete(store.records), store.per_example


@pytest.mark.quick
def test_summary_credits_a_gain_beyond_the_control():
    said = " ".join(
        summary.sentences(
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
    said = " ".join(summary.sentences(results, arrays))
    assert "on the 100 images of both, 100.0 % against 20.0 % (+80.0 points" in said


def test_summary_does_not_credit_what_the_control_gains_too():
    said = " ".join(
        summary.sentences(
            *one_attack({"resnet50": 20, "resnet50-b": 118, "resnet50-ensemble": 120})
        )
    )
    assert "better on none of 1 attack" in said
    assert "nothing here tells its gain from that of just another network" in said


def test_summary_says_that_intervals_overlap_and_that_a_control_is_missing():
    said = " ".join(
        summary.sentences(*one_attack({"resnet50": 100, "resnet50-ensemble": 112}))
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
    said = " ".join(summary.sentences(results, per_example))
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
    results = _complete(store.records)
    results["models"]["resnet50-ensemble"]["sources"] = [trained_on]
    said = " ".join(summary.sentences(results, store.per_example))
    assert f"On examples crafted on `{told}`" in said


def test_summary_is_short(data):
    assert 3 <= len(summary.sentences(*data)) <= 6


# --- files -------------------------------------------------------------------------


def test_paths_and_no_leftovers(written):
    files = [written["markdown"], written["html"], written["csv"], *written["figures"]]
    assert all(path.is_file() and path.stat().st_size for path in files)
    present = {p for p in files[0].parent.rglob("*") if p.is_file()}
    assert present == set(files)


def test_same_input_gives_the_same_bytes(data, written, tmp_path):
    again = write_report(tmp_path, *data, [synthetic_example()])
    for kind in ("markdown", "csv", "html"):
        assert again[kind].read_bytes() == written[kind].read_bytes()


def test_html_is_self_contained_and_balanced(written):
    page = written["html"].read_text()
    assert "<script" not in page and not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("data:image/png;base64,") == len(written["figures"])
    tags = "table tr td th section figure p ul li small b code"
    for tag in tags.split():
        opened = len(re.findall(rf"<{tag}[ >]", page))
        assert opened == page.count(f"</{tag}>"), tag


def test_markdown_links_the_figures(written):
    linked = re.findall(r"\]\((figures/[^)]+)\)", written["markdown"].read_text())
    root = written["markdown"].parent
    assert sorted(root / name for name in linked) == sorted(written["figures"])


def test_everything_is_escaped(tmp_path):
    nasty = '<b>x|y*z` $a$ & "q"'
    results, per_example = one_attack({"resnet50": 20, "alexnet": 60})
    for record in results["records"]:
        record["target"] = record["target"].replace("alexnet", nasty)
    results["models"][nasty] = {**results["models"].pop("alexnet"), "model": nasty}
    results["flags"] = [{"flag": nasty, "where": nasty, "detail": nasty}]
    results["dataset"]["note"] = results["commands"][0] = nasty
    paths = write_report(tmp_path, results, per_example)
    page, text = paths["html"].read_text(), paths["markdown"].read_text()
    assert "<b>x" not in page and "&lt;b&gt;x|y*z" in page
    assert "\\<b>x\\|y\\*z" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert (
            len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()})
            == 1
        )


@pytest.mark.parametrize(
    "keep",
    [
        lambda r: False,
        lambda r: r["attack"] == "clean",
        lambda r: r["attack"] == "fgsm" and r["eps_text"] == "8/255",
        lambda r: r["setting"] == "white-box" and r["adv_set"] is None,
        lambda r: r["setting"] == "transfer",
        lambda r: r["setting"] != "clean" and r["source"] == "alexnet",
        lambda r: r["target"] == "resnet50-ensemble",
    ],
)
def test_missing_records_leave_no_empty_section(data, keep):
    results, per_example = data
    kept = [r for r in results["records"] if keep(r)]
    for title, blocks in sections({**results, "records": kept}, per_example).items():
        assert blocks, title
        for block in blocks:
            assert not isinstance(block, document.Table) or block.rows


def test_missing_keys_arrays_and_models(data):
    results, _ = data
    bare = {
        "format": 1,
        "models": {},
        "records": [
            {name: r[name] for name in r if not name.startswith(("mean", "median"))}
            for r in results["records"][:20]
        ],
    }
    built = sections(bare)
    assert "Models" not in built and "How this was made" not in built
    assert markdown.render("t", [document.Section("s", b) for b in built.values()])


def test_an_unknown_attack_shows_under_its_own_name():
    store = Store()
    store.measure(
        "resnet50",
        "spsa_v2",
        source="resnet50",
        setting="white-box",
        params={"delta": 0.01},
    )
    protocol = protocol_of(_complete(store.records), None)
    assert tables.accuracy_table(_complete(store.records), protocol).header[1].text == (
        "spsa_v2"
    )


def test_red_flags_stand_in_the_summary(data):
    results, _ = data
    flag = {
        "flag": "accuracy grows with eps",
        "where": "resnet50",
        "detail": "accuracy rises with ε",
        "remedy": "Distrust it.",
    }
    table = sections({**results, "flags": [flag]})["Summary"][-1]
    assert [cell.text for cell in table.rows[0]] == list(flag.values())
    del flag["remedy"]  # as in former results
    table = sections({**results, "flags": [flag]})["Summary"][-1]
    assert [cell.text for cell in table.rows[0]] == [*flag.values(), ""]


# --- image grids -------------------------------------------------------------------


@pytest.mark.parametrize(
    "largest, factor", [(0.0, 1), (0.8, 1), (0.3, 1), (0.07, 5), (0.01, 50), (0.05, 10)]
)
def test_magnification_fills_the_range_without_clipping(largest, factor):
    assert grids.magnification(np.array([0.0, -largest])) == factor


def test_difference_is_signed_around_mid_grey(monkeypatch):
    drawn = []
    monkeypatch.setattr(grids, "_draw", lambda axes, image: drawn.append(image))
    example = synthetic_example(n=1)
    example["adversarial"] = example["clean"].copy()
    example["adversarial"][0, 0, 0, 0] += 0.1
    example["adversarial"][0, 1, 1, 1] -= 0.05
    grids.image_grid(example)
    clean, adversarial, difference = drawn
    np.testing.assert_array_equal(clean, example["clean"][0])
    np.testing.assert_allclose(adversarial, example["adversarial"][0], atol=1e-6)
    assert difference[0, 0, 0] == pytest.approx(1.0, abs=1e-5)
    assert difference[1, 1, 1] == pytest.approx(0.25, abs=1e-5)
    assert difference[2, 2, 2] == 0.5


def test_grids_of_grey_images_without_class_names():
    example = synthetic_example(channels=1)
    del example["class_names"]
    assert grids.image_grid(example).startswith(b"\x89PNG")


# --- formats and imports -----------------------------------------------------------


@pytest.mark.parametrize(
    "function, value, text",
    [
        (formats.percent, 0.53906, "53.9"),
        (formats.percent, None, "–"),
        (formats.percent, math.nan, "–"),
        (formats.interval, (0.496, 0.5824), "49.6–58.2"),
        (formats.points, 0.1234, "+12.3"),
        (formats.points, -0.02, "−2.0"),
        (formats.points, -0.0001, "0.0"),
        (formats.p_value, 0.0004, "p < 0.001"),
        (formats.p_value, 0.0215, "p = 0.021"),
        (formats.count, 23608202, "23,608,202"),
        (formats.distance, 0.20831, "0.208"),
        (formats.distance, 3072.0, "3072"),
        (formats.distance, 32.0, "32.0"),
        (formats.distance, 128.0, "128"),
        (formats.seconds, 12.34, "12.3 s"),
        (formats.seconds, 90, "1.5 min"),
        (formats.seconds, 7200, "2.0 h"),
        (formats.params, {"b": 2, "a": 1}, "a=1, b=2"),
        (formats.listing, ["a", "b", "c"], "a, b and c"),
        (formats.listing, ["a"], "a"),
    ],
)
def test_formats(function, value, text):
    assert function(value) == text


def test_reporting_imports_no_tensorflow():
    program = (
        "import sys, tf_advdefense.reporting\n"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('tensorflow', 'keras') or m == 'matplotlib.pyplot'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        text=True,
        capture_output=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert ran.stdout.strip() == "[]", ran.stderr


def test_red_flags_come_first_in_the_terminal(data):
    flag = {"flag": "accuracy at chance", "where": "a", "detail": "10.3 %"}
    shown = render_tables({**data[0], "flags": [flag]})
    assert shown.startswith("Red flag: accuracy at chance, a: 10.3 %\n\n")
    shown = render_tables({**data[0], "flags": [{**flag, "remedy": "Train it."}]})
    assert shown.startswith("Red flag: accuracy at chance, a: 10.3 %. Train it.\n\n")


def test_terminal_tables_have_every_cell_of_figure_4(data):
    results, _ = data
    blocks = dict(
        block.split("\n", 1) for block in render_tables(results).split("\n\n")
    )
    for protocol in protocols.protocols(results):
        rows = {
            line.split()[0]: line
            for line in blocks[protocol.title.replace("`", "")].splitlines()
        }
        for (model, condition), record in protocol.cells.items():
            mark = "*" if protocol.is_own(model, condition) else ""
            interval = formats.interval(record["interval"])
            cell = f" {formats.percent(record['accuracy'])}{mark} ({interval})"
            if record["num_examples"] < 1000:
                share = record["clean_correct"] / record["num_examples"]
                cell += f" of {formats.percent(share)} clean"
            assert cell in rows[model]
