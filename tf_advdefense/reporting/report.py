"""From results to `report.md`, `report.html`, `results.csv` and `figures/*.png`."""

from collections.abc import Sequence
import pathlib
from typing import Any

from tf_advdefense.artifacts import files
from tf_advdefense.evaluation.records import Path
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import figures
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import grids
from tf_advdefense.reporting import html
from tf_advdefense.reporting import listings
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting import overview
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import summary
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Bullets
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Code
from tf_advdefense.reporting.document import Figure
from tf_advdefense.reporting.document import Prose
from tf_advdefense.reporting.document import Section
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.document import slug
from tf_advdefense.reporting.formats import code


def write_report(
    directory: Path,
    results: Results,
    per_example: PerExample,
    examples: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Writes the report's files, each under a temporary name that is then renamed.

    The same input gives the same bytes: nothing of the time or place is written.

    Args:
      directory: where to; made if absent.
      results: the content of `results.json` (see `evaluation.records`), with
        optional "flags": [{"flag", "where", "detail", "remedy"}] to warn of.
      per_example: the arrays of `per_example.npz`; comparisons and distance curves
        are left out where arrays are missing.
      examples: image grids, [{"attack", "title", "eps_text", "source", "clean" and
        "adversarial": float32 [n, h, w, c] in [0, 1], "label", "clean_prediction" and
        "prediction": int [n], "class_names"}].

    Returns:
      {"markdown", "html", "csv": path, "figures": [path, ...]} of `pathlib.Path`.
    """
    directory = pathlib.Path(directory)
    title = _title(results)
    sections = build_sections(results, per_example, examples)
    drawn = [b for s in sections for b in s.blocks if isinstance(b, Figure)]
    paths = {
        "figures": [
            _write(directory / "figures" / f"{plot.name}.png", plot.png)
            for plot in drawn
        ]
    }
    texts = {
        "markdown": ("report.md", markdown.render(title, sections)),
        "html": ("report.html", html.render(title, sections)),
        "csv": ("results.csv", listings.records_csv(results)),
    }
    for kind, (name, text) in texts.items():
        paths[kind] = _write(directory / name, text.encode())
    return paths


def _write(path, data):
    files.write_bytes(path, data)
    return path


def _title(results):
    name = results.get("dataset", {}).get("name")
    return f"Adversarial robustness on {name}" if name else "Adversarial robustness"


def build_sections(
    results: Results, per_example: PerExample, examples: Sequence[dict[str, Any]] = ()
) -> list[Section]:
    """The report's content; sections without a block are left out."""
    found = protocols.protocols(results)
    marks = figures.styles(
        protocols.ordered_models(results, {r["target"] for r in results["records"]})
    )
    sections = [Section("Summary", _summary(results, per_example))]
    sections += [Section("Overview", [overview.overview_table(results, per_example)])]
    sections += [_protocol_section(results, per_example, p, marks) for p in found]
    sections += [
        Section("Accuracy against ε", _sweeps(found, marks)),
        Section("Examples", _grids(examples)),
        Section("Models", [listings.models_table(results)]),
        Section("All measurements", [listings.records_table(results)]),
        Section("How this was made", _making(results)),
        Section("Definitions", [Bullets(DEFINITIONS)]),
    ]
    sections = [Section(s.title, [b for b in s.blocks if b]) for s in sections]
    return [section for section in sections if section.blocks]


def _summary(results, per_example):
    return [Prose(text) for text in summary.sentences(results, per_example)] + [
        _flags(results)
    ]


def _flags(results):
    header = [Cell(t) for t in ("Red flag", "Where", "What it says", "What to do")]
    rows = [
        [Cell(str(f.get(key, ""))) for key in ("flag", "where", "detail", "remedy")]
        for f in results.get("flags") or []
    ]
    caption = "Signs that a number above may not mean what it seems to."
    return Table(caption, header, rows, layout="text") if rows else None


def _protocol_section(results, per_example, protocol, marks):
    kind = "Transfer" if protocol.source else "White-box"
    caption = "Dots are accuracies and whiskers 95 % intervals" + (
        "; hollow dots are white-box." if protocol.source else "."
    )
    blocks = [
        tables.accuracy_table(results, protocol),
        Figure(
            f"accuracy-{slug(protocol.name)}",
            caption,
            figures.dot_plot(protocol, marks),
        ),
        tables.gain_table(results, per_example, protocol),
    ]
    if not protocol.source:
        blocks.insert(2, tables.oblivious_table(results, protocol))
        blocks += [
            tables.distance_table(results, protocol),
            *_distance_curves(per_example, protocol, marks),
        ]
    return Section(f"{kind}: {protocol.title[0].lower()}{protocol.title[1:]}", blocks)


def _distance_curves(per_example, protocol, marks):
    for condition in protocol.attacked():
        lengths = figures.distances(protocol, condition, per_example)
        if condition.goal == protocols.MINIMAL_NORM and lengths:
            title = protocol.title_of(condition)
            yield Figure(
                f"distances-{slug(title)}",
                f"White-box {title}: the share of a model's correctly classified "
                "images that are fooled within a distance. A curve further to the "
                "right is the more robust model.",
                figures.distance_cdf(lengths, condition.norm or "2", marks),
            )


def _sweeps(found, marks):
    series = figures.sweeps(found)
    labels = {c.attack: c.label for p in found for c in p.attacked()}
    for attack, norm, settings in series:
        title = labels[attack]
        if sum(other == attack for other, *_ in series) > 1:
            title += f" ({', '.join(filter(None, [formats.norm(norm), settings]))})"
        yield Figure(
            f"accuracy-against-eps-{slug(title)}",
            f"{title}: accuracy against ε with 95 % intervals, on a logarithmic axis "
            "that begins at the clean accuracy. Dashed and hollow: the source itself, "
            "white-box.",
            figures.accuracy_against_eps(found, (attack, norm, settings), marks),
        )


def _grids(examples):
    for number, example in enumerate(examples, 1):
        if len(example["clean"]):
            title = formats.attack(example)
            if example.get("eps_text"):
                title += f" (ε = {example['eps_text']})"
            yield Figure(
                f"examples-{number}-{slug(example['attack'])}",
                f"{title}, crafted on {code(example['source'])}. Predicted class above "
                "each image, blue if right and orange if wrong.",
                grids.image_grid(example),
                narrow=True,
            )


def _making(results):
    data = results.get("dataset", {})
    commands = results.get("commands") or []
    packages = [f"{k} {v}" for k, v in (results.get("versions") or {}).items()]
    facts = [
        f"{key.replace('_', ' ').capitalize()}: {value}"
        for key, value in data.items()
        if key != "note" and isinstance(value, (str, int, float))
    ]
    return [
        Prose(f"Data set: {data['note']}") if data.get("note") else None,
        Bullets(facts) if facts else None,
        Code(commands) if commands else None,
        Prose(f"Versions: {formats.listing(packages)}.") if packages else None,
    ]


DEFINITIONS = [
    "Accuracy under attack (robust accuracy): the share of images that are classified "
    "correctly both as they are and in their attacked copy. A wrongly classified image "
    "counts as lost without an attack.",
    "White-box: the examples were crafted on the very model that is scored. Transfer: "
    "they were crafted on another one, the source.",
    "Adaptive: a white-box attack goes through the whole model. Where a transformation "
    "has no gradient, the backward pass goes around it (BPDA); where it is random, the "
    "attack climbs the mean over draws (EOT); logits of a model that was trained at a "
    "temperature are divided by it. Oblivious: the attack overlooks all that.",
    "Worst case: the share of images that are right when clean and under every one of "
    "several attacks.",
    "Control: a second undefended network, trained independently. Examples crafted on "
    "one network fool another less, defended or not; only a gain over the control is "
    "the defence's own.",
    "95 % interval: Wilson's interval of the share, from the number of images. It says "
    "nothing of how much a retrained network would differ.",
    "p: exact two-sided McNemar test on the images that both models were scored on, "
    "not corrected for the number of comparisons. Intervals that overlap may go with a "
    "small p, because the test is paired.",
    "ε and all distances are in units of images in [0, 1]; 8/255 is eight grey levels.",
    "Passes: forward or backward evaluations of the model that the attack made.",
]
