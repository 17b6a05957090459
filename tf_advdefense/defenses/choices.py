"""The values of hyperparameters that are names."""

# BatchNorm while crafting: by its moving statistics, or by those of the batch.
CRAFT_BN = ("inference", "training")
# Of which images the one pass that updates BatchNorm's moving statistics is.
STATISTICS = ("joint", "clean", "adversarial")
# The labels that an attack leaves: the data set's, or the model's own predictions.
LABELS = ("true", "predicted")
# Of several examples of an image, the worst one is trained on, each, or a drawn one.
MIXES = ("max", "avg", "random")

CHOICES = {
    "craft_bn": CRAFT_BN,
    "statistics": STATISTICS,
    "labels": LABELS,
    "mix": MIXES,
}
