"""Every number of a report is counted anew from the per-example arrays."""

import csv
import io

import numpy as np
import pytest
from reporting.synthetic import arrays_of
from reporting.synthetic import decision_based_results
from reporting.synthetic import markdown_tables
from reporting.synthetic import protocol_of
from reporting.synthetic import wilson

from tf_advdefense.reporting import distributions
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting import summary
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.contents import build_report


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


def cells_of(written, caption):
    """(model, heading, cell) of one table of the Markdown report."""
    tables_found = markdown_tables(written["markdown"].read_text())
    _, header, rows = next(t for t in tables_found if t[0].startswith(f"**{caption}"))
    for model, *cells in rows:
        for title, cell in zip(header[1:], cells, strict=True):
            yield model, title, cell


@pytest.mark.quick
@pytest.mark.parametrize("source", ["resnet50", "alexnet"])
def test_every_cell_of_figure_4(data, written, source):
    seen = 0
    for model, title, cell in cells_of(
        written, f"Examples crafted on `{source}`, in transfer"
    ):
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
    for model, title, cell in cells_of(
        written, "Examples crafted on `resnet50`: paired differences"
    ):
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


def test_an_attack_by_decisions_has_a_distance_and_no_comparable_accuracy():
    results, per_example = decision_based_results()
    protocol = protocol_of(results, None)
    rows = tables.distance_table(results, protocol).rows
    assert [[c.text for c in row[:4]] for row in rows] == [
        ["`resnet50`", "HopSkipJump", "98.0", "0.200"],
        ["`resnet50-ensemble`", "HopSkipJump", "94.0", "0.600"],
    ]
    said = " ".join(summary.tested(results, per_example))
    assert "gains over `resnet50` on 1 of 1 attack, best under PGD (ε = 8/255)" in said
    assert "White-box HopSkipJump fools at least 94.0 %" in summary.distances(protocol)


def test_a_record_names_its_attack():
    results, per_example = decision_based_results()
    for record in results["records"]:
        record["title"] = {"pgd": "Madry's attack"}.get(record["attack"])
    text = markdown.render(build_report(results, per_example))
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
        if caption.startswith("**Every measurement")
    )
    assert len(listed) == len(results["records"])
    for row, record in zip(listed, results["records"]):
        assert row[0][0] == f"`{record['target']}`"
        assert row[3][0] == formats.percent(record["accuracy"])


def test_distance_curve_counts_the_fooled_among_the_correct(data):
    results, per_example = data
    protocol = protocol_of(results, None)
    (condition,) = (c for c in protocol.conditions if c.attack == "cw")
    found = distributions.amounts(protocol, condition, per_example, "l2")
    lengths, attacked = found["resnet50"]
    arrays = arrays_of(data, target="resnet50", attack="cw", adv_set=None)
    assert attacked == arrays["clean_ok"].sum()
    assert list(lengths) == sorted(arrays["l2"][arrays["clean_ok"] & ~arrays["ok"]])
