"""Red flags of attacks beside each other, where a weaker one wins."""

from collections.abc import Iterator

from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.red_flags.evidence import Evidence
from tf_advdefense.evaluation.red_flags.evidence import Found
from tf_advdefense.evaluation.red_flags.evidence import RedFlag
from tf_advdefense.evaluation.red_flags.evidence import differing
from tf_advdefense.evaluation.red_flags.evidence import exceeds
from tf_advdefense.evaluation.red_flags.evidence import is_iterated
from tf_advdefense.evaluation.red_flags.evidence import on
from tf_advdefense.evaluation.red_flags.evidence import steps

_SLACK = 0.005
_SEARCH = 0.002  # AutoAttack's own threshold for Square.
_TRANSFER = 0.01
_LOSSES = 0.05
_OVERFITTED = 0.25
_LOSS_OF = {"apgd_ce": ("apgd", "ce"), "apgd_dlr": ("apgd", "dlr")}
_LAST_RESORTS = ("square",)  # Parts of a sequence that see no gradient.


def _one_and_many(evidence: Evidence) -> Iterator[tuple[Record, Record, int, int, int]]:
    """A single step, many steps, how many images resist each, and of how many."""
    for rivals in evidence.balls():
        single = [r for r in rivals if r["access"] == "gradients" and steps(r) == 1]
        for one in single:
            for many in filter(is_iterated, rivals):
                first, second = evidence.share(one, many)
                yield one, many, sum(first), sum(second), len(first)


def _one_step_beats_many(evidence: Evidence) -> Iterator[Found]:
    for one, many, by_one, by_many, total in _one_and_many(evidence):
        if exceeds(by_many - by_one, total, _SLACK):
            yield Found(
                many["target"],
                on(many),
                f"{by_many} of {total} images resist its {steps(many)} steps, "
                f"{by_one} the single one of {one['attack']}",
            )


def _one_step_alone(evidence: Evidence) -> Iterator[Found]:
    for one, many, by_one, by_many, total in _one_and_many(evidence):
        right = one["clean_correct"] * total / max(1, one["num_examples"])
        robust = by_one > right / 2 and by_many < right / 10
        if robust and exceeds(by_one - by_many, total, _OVERFITTED):
            yield Found(
                one["target"],
                on(one),
                f"{by_one} of {total} images resist its single step, {by_many} the "
                f"{steps(many)} of {many['attack']}",
            )


def _losses_disagree(evidence: Evidence) -> Iterator[Found]:
    for rivals in evidence.balls():
        alike: dict[tuple, list[tuple[str, Record]]] = {}
        for record in rivals:
            kind, loss = _LOSS_OF.get(
                record["attack"], (record["attack"], record["params"].get("loss"))
            )
            if loss is not None:
                key = kind, *differing(record, "loss")[1:]
                alike.setdefault(key, []).append((loss, record))
        for found in alike.values():
            yield from _apart(evidence, found)


def _apart(evidence: Evidence, found: list[tuple[str, Record]]) -> Iterator[Found]:
    (first, one), *others = found
    for second, other in others:
        resisting, rest = evidence.share(one, other)
        apart = abs(sum(resisting) - sum(rest))
        if first != second and exceeds(apart, len(rest), _LOSSES):
            yield Found(
                one["target"],
                on(one),
                f"{sum(resisting)} of {len(rest)} images resist the loss {first!r}, "
                f"{sum(rest)} the loss {second!r}",
            )


def _searched(evidence: Evidence, noise: bool) -> Iterator[Found]:
    """Images that resist every climbing attack of the ball, and fall to a search."""
    for rivals in evidence.balls():
        climbing = list(filter(is_iterated, rivals))
        for record in rivals:
            blind = record["access"] in ("scores", "decisions")
            if not climbing or not blind or (record["attack"] == "noise") != noise:
                continue
            *climbed, found = evidence.share(*climbing, record)
            resists = [all(each) for each in zip(*climbed)]
            beaten = sum(ok and not kept for ok, kept in zip(resists, found))
            if exceeds(beaten, len(found), _SEARCH):
                names = ", ".join(dict.fromkeys(r["attack"] for r in climbing))
                yield Found(
                    record["target"],
                    on(record),
                    f"it fools {beaten} of {sum(resists)} images that resist {names}",
                )


def _noise_beats_gradients(evidence: Evidence) -> Iterator[Found]:
    yield from _searched(evidence, noise=True)


def _black_box_beats_white_box(evidence: Evidence) -> Iterator[Found]:
    yield from _searched(evidence, noise=False)
    for record in evidence.white_box:
        signs = record.get("signs") or {}
        by_part = signs.get("fooled_by") or {}
        last = next(reversed(by_part), "")
        # Images without a gradient are a failure of their own.
        beaten = by_part.get(last, 0) - signs.get("zero_gradients", 0)
        if last in _LAST_RESORTS and exceeds(beaten, record["num_examples"], _SEARCH):
            yield Found(
                record["target"],
                on(record),
                f"{last}, its last part, fools {by_part[last]} images that resist the "
                "parts with gradients",
            )


def _transfer_beats_white_box(evidence: Evidence) -> Iterator[Found]:
    own = {(r["target"], r["attack"], r["eps"]): r for r in evidence.white_box}
    for record in evidence.attacked:
        white_box = own.get((record["target"], record["attack"], record["eps"]))
        if record["setting"] != "transfer" or white_box is None:
            continue
        resists, transferred = evidence.share(white_box, record)
        beaten = sum(ok and not kept for ok, kept in zip(resists, transferred))
        if exceeds(beaten, record["num_examples"], _TRANSFER):
            yield Found(
                record["target"],
                on(record),
                f"{beaten} of {sum(resists)} images that resist the model's own attack "
                f"fall to examples of {record['source']}",
            )


ONE_STEP_BEATS_MANY = RedFlag(
    "one step beats many",
    "A single step along the gradient fools more images than many: the gradients of "
    "the many steps lead astray.",
    "Check the step size; attack the expectation of a random model with more draws, "
    "and run `square` beside.",
    "Athalye et al. 2018; Carlini et al. 2019",
    _one_step_beats_many,
)
ONE_STEP_ALONE = RedFlag(
    "robust to one step alone",
    "The model resists a single step and hardly anything else (catastrophic "
    "overfitting).",
    "Do not report the single step; train with many (`pgd_at`, `trades`), or stop "
    "earlier.",
    "Wong et al. 2020; Andriushchenko and Flammarion 2020",
    _one_step_alone,
)
LOSSES_DISAGREE = RedFlag(
    "losses disagree",
    "The same attack on another loss leaves a number that is five points away.",
    "Report the lower one, or `autoattack`, which climbs several.",
    "Croce and Hein 2020",
    _losses_disagree,
)
NOISE_BEATS_GRADIENTS = RedFlag(
    "noise beats gradients",
    "Random noise fools images that resist every attack along the gradient.",
    "Look for masked gradients; report the worst of both.",
    "Athalye et al. 2018; Carlini et al. 2019",
    _noise_beats_gradients,
)
BLACK_BOX_BEATS_WHITE_BOX = RedFlag(
    "black-box beats white-box",
    "An attack without gradients fools images that resist every attack with them.",
    "Strengthen the gradient attacks (steps, restarts, margin loss), look for masked "
    "gradients, and report the worst of all.",
    "AutoAttack; Carlini et al. 2019",
    _black_box_beats_white_box,
)
TRANSFER_BEATS_WHITE_BOX = RedFlag(
    "transfer beats white-box",
    "Another model's examples fool images that resist the model's own attack.",
    "Strengthen the white-box attack, and look for masked gradients.",
    "Athalye et al. 2018; Carlini et al. 2019",
    _transfer_beats_white_box,
)
