"""How a deployed model agrees with the float model that it was made from.

agreement(results["records"])
# ["m.tflite agrees with its parent m on 98.4 % of 64 clean images, on 61.2 % of
#   them under pgd 8/255."]
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.threat_models import is_of_parent
from tf_advdefense.reporting import formats


def agreement(
    records: Sequence[Record], named: Callable[[str], str] = str
) -> list[str]:
    """What is to be said of each deployed model: see the module's docstring.

    Where nothing was run on a deployed model itself, that is said, too: examples of
    another model are the weakest of attacks.

    Args:
      records: of `Results`.
      named: how the name of a model is written.
    """
    targets: dict[str, list[Record]] = {}
    for record in records:
        if is_of_parent(record):
            targets.setdefault(record["target"], []).append(record)
    return [
        line for name in targets for line in _of(name, targets[name], records, named)
    ]


def _of(
    name: str,
    transferred: Sequence[Record],
    records: Sequence[Record],
    named: Callable[[str], str],
) -> Iterator[str]:
    alike: dict[tuple, list[Record]] = {}
    for record in transferred:
        images = record["source"], record["num_examples"], _share(record, "alike_clean")
        alike.setdefault(images, []).append(record)
    yield from (_agreement(each, named) for each in alike.values())
    if not any(r["target"] == name and r["setting"] == "white-box" for r in records):
        yield (
            f"{named(name)} itself was not attacked, and its accuracy is an upper "
            "bound: add square or hop_skip_jump, which need no gradient."
        )


def _agreement(records: Sequence[Record], named: Callable[[str], str]) -> str:
    first = records[0]
    under = [
        f"on {_share(each, 'alike')} of them under "
        f"{' '.join(filter(None, [each['attack'], each['eps_text']]))}"
        for each in records
    ]
    return (
        f"{named(first['target'])} agrees with its parent {named(first['source'])} on "
        f"{_share(first, 'alike_clean')} of {formats.count(first['num_examples'])} "
        f"clean images, {formats.listing(under)}."
    )


def _share(record: Record, name: str) -> str:
    signs: Any = record["signs"]
    return f"{formats.percent(signs[name] / record['num_examples'])} %"
