"""The tables at the end of a command."""

from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import render_tables
from tf_advdefense.reporting import verdict


def test_red_flags_and_the_verdict_come_last_in_the_terminal(data):
    results, arrays = data
    flag = {"flag": "accuracy at chance", "where": "a", "detail": "10.3 %"}
    *_, flags, said = render_tables({**results, "flags": [flag]}, arrays).split("\n\n")
    assert flags == "Red flag: accuracy at chance, a: 10.3 %"
    assert said == verdict.spoken(results, arrays) and "holds out best" in said
    flag["remedy"] = "Train it."
    shown = render_tables({**results, "flags": [flag]}, arrays)
    assert "\nRed flag: accuracy at chance, a: 10.3 %. Train it.\n" in shown


def test_terminal_tables_have_every_cell_of_figure_4(data):
    results, arrays = data
    shown = render_tables(results, arrays).split("\n\n")
    blocks = dict(block.split("\n", 1) for block in shown if "\n" in block)
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
