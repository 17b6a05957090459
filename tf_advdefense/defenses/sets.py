"""Which pre-generated adversarial sets a defence may train on, and how often each.

A set is described by its `config.json` (`artifacts.adversarial_sets`).
"""


def check_set(name, config, dataset, image_shape):
    """Refuse a set of another data set or shape, or of images held out of training."""
    request = config["request"]
    if request["dataset_fingerprint"] != dataset:
        raise ValueError(
            f"Adversarial sets must be made from the training data set. Received: "
            f"'{name}' made from {request['dataset']} with another fingerprint."
        )
    if tuple(config["image_shape"]) != tuple(image_shape):
        raise ValueError(
            f"Adversarial images must have the training images' shape. Received: "
            f"'{name}' with {config['image_shape']} for {list(image_shape)}."
        )
    if request["split"] != "train":
        raise ValueError(
            f"Training must not see {request['split']} images. Received: '{name}' of "
            f"split {request['split']}. Craft one with bin/make_adv --split=train."
        )


def same_architecture(model_name, sources):
    """Adversarial training as the paper has it: examples of the trained network."""
    others = sorted(set(sources) - {model_name})
    if others:
        raise ValueError(
            "--defense=adversarial takes sets crafted on the trained architecture. "
            f"Received: a set crafted on {others[0]} for --model={model_name}. Use "
            "--defense=ensemble for sets of other models."
        )


def other_architecture(model_name, sources):
    """Ensemble adversarial training decouples crafting from the trained network."""
    if set(sources) <= {model_name}:
        raise ValueError(
            "--defense=ensemble needs at least one set crafted on another "
            f"architecture. Received: only sets of {model_name} for "
            f"--model={model_name}. Craft one with bin/make_adv --run=alexnet "
            "--split=train, or use --defense=adversarial."
        )


def sources(sets):
    """Name of each set to the architecture it was crafted on."""
    return {name: config["request"]["source_model"] for name, config in sets.items()}


def set_weights(sets):
    """Probability with which a batch draws each set: sources alike, then their sets."""
    of = sources(sets)
    counts = {source: list(of.values()).count(source) for source in of.values()}
    return {name: 1 / (len(counts) * counts[source]) for name, source in of.items()}
