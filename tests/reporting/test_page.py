"""The files of a report: whole, escaped, self-contained, for every reader."""

import html.parser
import re
import xml.etree.ElementTree

import pytest
from reporting.synthetic import Store
from reporting.synthetic import arrays_of
from reporting.synthetic import complete
from reporting.synthetic import one_attack
from reporting.synthetic import protocol_of
from reporting.synthetic import sections
from reporting.synthetic import synthetic_example
from reporting.synthetic import synthetic_results

from tf_advdefense.reporting import contents
from tf_advdefense.reporting import document
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting import tables
from tf_advdefense.reporting import write_report
from tf_advdefense.reporting.contents import build_report
from tf_advdefense.reporting.standings import standings


def test_paths_and_no_leftovers(written):
    files = [written["markdown"], written["html"], written["csv"], *written["figures"]]
    assert all(path.is_file() and path.stat().st_size for path in files)
    present = {p for p in files[0].parent.rglob("*") if p.is_file()}
    assert present == set(files)


def test_same_input_gives_the_same_bytes(data, written, tmp_path):
    again = write_report(tmp_path, *data, [synthetic_example()])
    for kind in ("markdown", "csv", "html"):
        assert again[kind].read_bytes() == written[kind].read_bytes()


class Balance(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects what tests ask of elements."""

    VOID = {"meta", "img", "link", "br", "line", "circle"}

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.tables, self.captions = [], [], 0, 0
        self.ids, self.links = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.images += [attrs] if tag == "img" else []
        self.tables += tag == "table"
        if tag == "caption":
            assert self.open[-1] == "table"
            self.captions += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in self.VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_self_contained_and_balanced(written):
    page = written["html"].read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert not re.search(r"url\(|@import|https?://", page.split("</style>")[0])
    found = Balance(page)
    assert not found.open
    assert len(set(found.ids)) == len(found.ids)
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_every_table_has_a_caption_and_every_image_says_what_it_shows(written):
    found = Balance(written["html"].read_text())
    assert found.tables == found.captions > 5
    assert len(found.images) == len(written["figures"]) > 3
    assert all(len(image["alt"]) > 20 for image in found.images)
    assert not any("`" in image["alt"] for image in found.images)


def test_an_alternative_text_is_counted_from_the_data(data):
    figure = sections(*data)["Accuracy against the radius"][0].items[0]
    found = re.findall(r"`([\w-]+)` falls from (\d+) % at 0 to (\d+) %", figure.alt)
    assert len(found) == 3
    ok = arrays_of(data, target=found[0][0], attack="fgsm", eps_text="8/255")
    assert int(found[0][1]) == round(100 * ok["clean_ok"][:512].mean())


def test_figures_suit_light_and_dark(written):
    for path in written["figures"]:
        text = path.read_text()
        style = text.split("<style>")[1].split("</style>")[0]
        assert "prefers-color-scheme: dark" in style and "@media print" in style
        drawn = text.replace(style, "")
        # What is drawn names no colour of its own, whatever page it is on.
        assert "var(--ink)" in drawn or "var(--soft)" in drawn
        assert not re.search(r"#[0-9a-f]{6}\b", drawn), path.name
        assert not re.search(r"\d{4}-\d\d-\d\d|Matplotlib", drawn)
        xml.etree.ElementTree.fromstring(text)


def test_no_two_figures_share_a_file():
    store = Store()
    for name in ("net_1", "net-1"):
        live = {"source": "resnet50", "setting": "white-box", "goal": "minimal-norm"}
        store.measure("resnet50", name, norm="2", strength=1, **live)
    report = build_report(complete(store.records), store.per_example)
    names = [figure.name for figure in report.figures]
    assert len(set(names)) == len(names)
    assert {"distances-net-1", "distances-net-1-2"} <= set(names)


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
    assert markdown.render(build_report(bare, {}))


def test_an_unknown_attack_shows_under_its_own_name():
    store = Store()
    store.measure(
        "resnet50",
        "spsa_v2",
        source="resnet50",
        setting="white-box",
        params={"delta": 0.01},
    )
    protocol = protocol_of(complete(store.records), None)
    assert tables.accuracy_table(complete(store.records), protocol).header[1].text == (
        "spsa_v2"
    )


def test_red_flags_stand_before_all_sections_with_their_remedies(data, tmp_path):
    results, per_example = data
    flags = [
        {
            "flag": "gradients vanish",
            "where": f"net{i}",
            "detail": "all",
            "remedy": "Fix",
        }
        for i in range(5)
    ]
    # Former results have no remedy.
    flags.append({"flag": "accuracy grows", "where": "resnet50", "detail": "by 2"})
    page = write_report(tmp_path, {**results, "flags": flags}, per_example)
    text = page["html"].read_text()
    top = text.split("<section id=")[0]
    assert "6 red flags" in top and "accuracy grows" in top and "Fix" in top
    # Many of one kind are folded, few are not.
    assert top.count("<details>") == 1 and "5 times" in top
    assert page["markdown"].read_text().index("gradients vanish") < 2000


def test_figures_for_more_models_than_can_be_told_apart():
    names = [f"net{i}" for i in range(13)]
    results, per_example = one_attack({name: 10 * i for i, name in enumerate(names)})
    model = synthetic_results()[0]["models"]["resnet50"]
    results["models"] = {n: {**model, "defense": "pgd_at"} for n in names}
    results["models"]["net0"]["defense"] = "none"
    lineup = contents.lineup_of(results, standings(results, per_example))
    assert list(lineup) == [*(f"net{i}" for i in range(12, 3, -1)), "net0"]
    assert sorted(lineup.values()) == list(range(10))
    said = sections(results, per_example)["Accuracy against the radius"][0].text
    assert "10 of 13 models" in said
