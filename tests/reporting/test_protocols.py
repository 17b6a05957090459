"""What stands beside what."""

from reporting.synthetic import CW
from reporting.synthetic import Store
from reporting.synthetic import complete
from reporting.synthetic import defended_results
from reporting.synthetic import protocol_of
from reporting.synthetic import sections

from tf_advdefense.reporting import document
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import summary
from tf_advdefense.reporting import tables


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
    protocol = protocol_of(complete(store.records), None)
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
    protocol = protocol_of(complete(store.records), "resnet50")
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
    (protocol,) = protocols.protocols(complete(store.records))
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
    protocol = protocol_of(complete(store.records), "elsewhere/model.keras")
    own = {model: protocol.is_own(model, c) for model, c in protocol.cells}
    assert own == {"resnet50": True, "alexnet": False}


def test_the_baseline_has_the_same_architecture(data):
    results, _ = data
    assert protocols.baseline_of(results, "resnet50-ensemble") == "resnet50"
    assert protocols.baseline_of(results, "resnet50-b") == "resnet50"
    assert protocols.baseline_of(results, "resnet50") is None


def overview(results, per_example):
    blocks = sections(results, per_example)["Against what"]
    return next(block for block in blocks if isinstance(block, document.Table))


def test_the_overview_has_every_attack_and_their_worst_case():
    table = overview(*defended_results())
    assert [(c.text, c.detail) for c in table.header] == [
        ("Model", ""),
        ("Clean", ""),
        ("FGSM", ""),
        ("PGD", ""),
        ("Worst case", "L∞ 8/255"),
        ("FGSM", "from `alexnet`"),
    ]
    ensemble, own = table.rows  # The best first.
    # 4 from one end and 2 from the other share no image, 8 and 6 share 4.
    assert [c.text for c in own[2:]] == ["40.0", "20.0", "0.0", "90.0"]
    assert [c.text for c in ensemble[2:]] == ["80.0", "60.0", "40.0", "90.0"]
    assert "at L∞ 8/255 where no radius stands" in table.note
    assert table.note.count("Images: 10.") == 1


def test_the_overview_shows_the_radius_nearest_the_headline(data):
    results, per_example = data
    asked = {"norm": "inf", "eps": 4 / 255, "eps_text": "4/255"}
    table = overview({**results, "threat_models": [asked]}, per_example)
    shown = [c.detail for c in table.header if c.text == "FGSM"]
    assert shown == [
        "",
        "ε = 0.01\nfrom `alexnet`",
        "ε = 0.01\nfrom `resnet50`",
    ]
    cw = [c.detail for c in table.header if c.text == "CW"]
    assert cw[0] == "mean L2"


def test_who_was_trained_on_a_source_is_marked():
    results, _ = defended_results()
    table = tables.accuracy_table(results, protocol_of(results, "alexnet"))
    assert [[c.mark for c in row[1:]] for row in table.rows] == [
        ["", ""],
        ["", "trained on"],
    ]
    assert "for all others it is held out" in table.note
    results["models"]["resnet50-ensemble"]["sources"] = ["resnet50"]
    table = tables.accuracy_table(results, protocol_of(results, "alexnet"))
    assert not any(c.mark for row in table.rows for c in row)
    assert "held out" not in table.note


def test_oblivious_stands_beside_adaptive():
    results, _ = defended_results()
    table = tables.oblivious_table(results, protocol_of(results, None))
    assert [[c.text for c in row] for row in table.rows] == [
        ["`resnet50-ensemble`", "–", "90.0"],
        ["`resnet50-ensemble`", "80.0", "60.0"],
    ]
    assert [row[0].detail for row in table.rows] == [
        "oblivious attacker",
        "adaptive attacker",
    ]
    said = summary.overlooked(results, protocol_of(results, None))
    assert "`resnet50-ensemble` from 90.0 to 60.0 % under PGD (ε = 8/255)." in said
    # The oblivious record is in no other table.
    white_box = tables.accuracy_table(results, protocol_of(results, None))
    assert white_box.rows[1][3].text == "60.0"


def test_no_oblivious_table_without_oblivious_attacks(data):
    results, _ = data
    assert tables.oblivious_table(results, protocol_of(results, None)) is None
