"""What the words and numbers of a report mean."""

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
    "Threat model: a norm, a radius around each image, and what the attacker knows.",
    "Worst case: the share of images that are right when clean and under every attack "
    "tried, within the radius: an image is lost as soon as one of them found a wrong "
    "copy of it there. It is an upper bound of the robust accuracy.",
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
