"""The tables at the end of a command."""

from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import render_tables


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
