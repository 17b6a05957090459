"""What an attacker attacks of a defended model: all of it, or without the defence.

    attacked_view("white-box", model, temperature=100.0)    # the adaptive attacker's
    attacked_view("oblivious", model)      # that of one who overlooks it

A model with input transformations is attacked adaptively as it is (`transforms`); who
overlooks them attacks the classifier behind. A model trained at a temperature, such as
a distilled one, has logits so large that its cross-entropy has no gradient left in
float32: the adaptive attacker divides them by the temperature (Carlini and Wagner 2016,
arXiv:1607.04311), the oblivious one does not. Either way the model itself decides
whether an image fools it.
"""

import keras

from tf_advdefense.defenses.transforms import without_transforms


def attacked_view(
    setting: str, model: keras.Model, temperature: float = 1.0
) -> keras.Model:
    """The model to craft on.

    Args:
      setting: "white-box" or "oblivious".
      model: `keras.Model` to logits.
      temperature: at which it was trained.

    Returns:
      `model` itself where the attacker changes nothing.
    """
    if setting == "oblivious":
        return without_transforms(model)
    return model if temperature == 1 else _cooled(model, temperature)


def _cooled(model, temperature):
    images = keras.Input(model.input_shape[1:], name="images")
    logits = keras.layers.Rescaling(1 / temperature, dtype="float32")(model(images))
    return keras.Model(images, logits, name=model.name)
