"""Synthetic measurements, and what tests of reports read from them."""

import re

import numpy as np

from tf_advdefense.reporting import protocols
from tf_advdefense.reporting.contents import build_report

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
    return complete(store.records), store.per_example


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


def complete(records):
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


def protocol_of(results, source):
    return next(p for p in protocols.protocols(results) if p.source == source)


def sections(results, per_example=None, examples=()):
    """{title: blocks} of a whole report."""
    report = build_report(results, per_example or {}, examples)
    return {section.title: section.blocks for section in report.sections}


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
    return complete(store.records), store.per_example


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
    results = complete(store.records)
    results["models"]["resnet50-ensemble"]["sources"] = ["alexnet"]
    return results, store.per_example


def one_attack(correct, n=200, own=False):
    """Results of one attack with `correct[model]` images right.

    On the first model, by whose examples the others are scored, or on each itself.
    """
    store = Store()
    for target, right in correct.items():
        ok = np.arange(n) < right
        source = target if own else "resnet50"
        setting = "white-box" if target == source else "transfer"
        store.add(
            target,
            "fgsm",
            source,
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
    return complete(store.records), store.per_example
