"""Red flags of a model: it guesses, or its gradients say nothing of its robustness."""

from collections.abc import Iterator

from tf_advdefense.evaluation.diagnostics import CHANCE
from tf_advdefense.evaluation.diagnostics import is_at_chance
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.red_flags.evidence import Evidence
from tf_advdefense.evaluation.red_flags.evidence import Found
from tf_advdefense.evaluation.red_flags.evidence import RedFlag
from tf_advdefense.evaluation.red_flags.evidence import exceeds

_GAP = 30.0  # Log odds; 17 is where float32 rounds a probability to 1.
_COSINE = 0.2
_UNSTABLE = 0.05


def _is_untrained(record: Record) -> bool:
    return bool((record.get("signs") or {}).get("untrained"))


def _untrained(evidence: Evidence) -> Iterator[Found]:
    for record in filter(_is_untrained, evidence.clean):
        detail = "biases and moving averages are as a new model has them"
        yield Found(record["target"], record["target"], detail)


def _at_chance(evidence: Evidence) -> Iterator[Found]:
    classes = evidence.num_classes
    for record in evidence.clean:
        guesses = is_at_chance(record["correct"], record["num_examples"], classes)
        if guesses and not _is_untrained(record):
            yield Found(
                record["target"],
                record["target"],
                f"{100 * record['accuracy']:.1f} % of {record['num_examples']} clean "
                f"images with {classes} classes: {CHANCE} No number of this model "
                "means anything",
            )


def _no_logits(evidence: Evidence) -> Iterator[Found]:
    for name, model in evidence.results.get("models", {}).items():
        for warning in model.get("warnings") or []:
            yield Found(name, name, warning)


def _vanished(evidence: Evidence) -> Iterator[Found]:
    for target, look in evidence.looks().items():
        if look["zero_gradients"]:
            yield Found(
                target,
                target,
                f"on {look['zero_gradients']} of {look['seen']} rightly classified "
                "images the gradient of the log odds is exactly zero",
            )


def _saturated(evidence: Evidence) -> Iterator[Found]:
    for target, look in evidence.looks().items():
        if look["median_log_odds"] is not None and look["median_log_odds"] > _GAP:
            yield Found(
                target,
                target,
                f"of {look['seen']} rightly classified images, the gradient of the "
                f"cross-entropy is exactly zero on {look['zero_ce_gradients']} and "
                f"below 1e-6 in every pixel on {look['tiny_ce_gradients']}; the median "
                f"log odds of the label are {look['median_log_odds']:.0f}",
            )


def _shattered(evidence: Evidence) -> Iterator[Found]:
    for target, look in evidence.looks().items():
        if look["cosine"] is not None and look["cosine"] < _COSINE:
            yield Found(
                target,
                target,
                f"noise of half a grey level turns the gradient to a cosine of "
                f"{look['cosine']:.2f} (median of {look['seen']} images)",
            )


def _unstable(evidence: Evidence) -> Iterator[Found]:
    for target, look in evidence.looks().items():
        if exceeds(look["unstable"], look["seen"], _UNSTABLE):
            yield Found(
                target,
                target,
                f"noise of half a grey level makes {look['unstable']} of "
                f"{look['seen']} rightly classified images wrong",
            )


AT_CHANCE = RedFlag(
    "accuracy at chance",
    "Clean accuracy is no more than guessing gives, and no number means anything.",
    "Check that the model is trained, its order of classes and its input range.",
    "Carlini et al. 2019",
    _at_chance,
)
UNTRAINED = RedFlag(
    "untrained model",
    "All biases and moving averages still have their initial values.",
    "Load the trained weights, or the right file.",
    "this project",
    _untrained,
)
NO_LOGITS = RedFlag(
    "outputs are no logits",
    "What attacks climb was rounded or cut off on its way out of the model.",
    "Save the model up to its logits, and give it as that.",
    "this project",
    _no_logits,
)
VANISHED = RedFlag(
    "vanished gradients",
    "Where the gradient of the log odds is exactly zero, a gradient attack stands "
    "still: that is masking, no robustness.",
    "Believe the Square attack, which is run beside; find the clipped, rounded or dead "
    "layer and attack around it (BPDA).",
    "Athalye et al. 2018; Pintor et al. 2022, unavailable gradients; AutoAttack",
    _vanished,
)
SATURATED = RedFlag(
    "saturated cross-entropy",
    "Logits are so large that the cross-entropy has no gradient left in float32. "
    "Attacks here climb the log odds instead; those of other libraries stand still.",
    "Compare with other libraries on logits divided by a temperature, or on their "
    "margin losses.",
    "Carlini and Wagner 2016",
    _saturated,
)
SHATTERED = RedFlag(
    "shattered gradients",
    "The gradient turns within half a grey level, so that steps along it lead nowhere.",
    "Run `square` and `hop_skip_jump` beside, average gradients over noise, or attack "
    "around the layer that shatters them (BPDA).",
    "Athalye et al. 2018; Andriushchenko and Flammarion 2020",
    _shattered,
)
UNSTABLE = RedFlag(
    "unstable predictions",
    "The model decides otherwise on the same image with invisible noise: an attack's "
    "success is partly a matter of luck.",
    "Report means over several seeds, and attack the expectation "
    "(`autoattack` with version=rand).",
    "Pintor et al. 2022, unstable predictions; AutoAttack",
    _unstable,
)
