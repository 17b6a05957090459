"""A defence is one explicit object: what it takes, what it trains on, by which loss.

    class Hyper(NamedTuple):
        "Author 2020 (arXiv:...), equation 3."
        beta: float = 6.0

    def loss(model, batch, hyper): ...

    mine = Defense(name="mine", hyper=Hyper(), loss=loss)

`make_defense` binds it to values; what comes of it is called in a training step.
"""

from collections.abc import Callable
import dataclasses
import functools
import inspect
import numbers
from typing import Any

import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.hyperparameters import recorded
from tf_advdefense.defenses import hyperparameters
from tf_advdefense.defenses.losses import Criterion
from tf_advdefense.defenses.registry import SUMMARIES
from tf_advdefense.defenses.robust_accuracy import Score
from tf_advdefense.defenses.robust_accuracy import under_pgd

Batch = dict[str, tf.Tensor]
Loss = tuple[tf.Tensor, tf.Tensor]  # a scalar, and the logits [n, classes]


@dataclasses.dataclass(frozen=True, repr=False)
class Defense:
    """A kind of defence.

    Attributes:
      name: in the registry.
      hyper: a NamedTuple of its own hyperparameters with their defaults; its docstring
        says where they come from.
      loss: `loss(model, batch, hyper) -> (loss, clean_logits)`; the variables of
        `state` come as keyword arguments, and so does `criterion`, where the user
        gives a loss and the function has that argument; see `losses.Criterion`.
      craft: None, or `craft(model, batch, hyper) -> batch`, run outside the gradient
        tape; the attack and the parts come as keyword arguments.
      attack: None, or the name of the attack that `craft` is given.
      parts: names of what else `craft` is given, such as "teacher".
      state: None, or a function from an image's shape to a dict of `tf.Variable` that
        last for the training and are part of its checkpoints.
      check_sources: None, or `check_sources(model_name, sources)` for a defence that
        trains on adversarial sets: refuses sets by the models they were crafted on.
      published: name of a data set to the hyperparameters published for it, of the
        attack too; those of "cifar10" hold for data sets without an entry.
      training: optimizer, learning_rate, weight_decay, schedule and epochs where they
        are part of the method.
      max_drop: the fall of the accuracy under PGD, in [0, 1], that ends a training;
        None: none does.
      score: `score(hyper, attack, parts)`, the accuracy that it claims, by which the
        best epoch is chosen, or None for that on clean images; see `robust_accuracy`.
    """

    name: str
    hyper: Any
    loss: Callable[..., Loss]
    craft: Callable[..., Batch] | None = None
    attack: str | None = None
    parts: tuple[str, ...] = ()
    state: Callable[[tuple[int, ...]], dict[str, tf.Variable]] | None = None
    check_sources: Callable | None = None
    published: dict[str, dict[str, Any]] = dataclasses.field(
        default_factory=lambda: {"cifar10": {}}
    )
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    max_drop: float | None = None
    score: Score = under_pgd

    @property
    def summary(self) -> str:
        """What it trains on, and its source, in a line."""
        return SUMMARIES[self.name]

    def bind(
        self,
        *,
        dataset: str = "cifar10",
        attack: str | None = None,
        parts: dict[str, Any] | None = None,
        **hyper: Any,
    ) -> "BoundDefense":
        """The defence with all its values; arguments and errors as `make_defense`."""
        defaults = self.hyper._asdict()
        published = self.published.get(dataset, self.published["cifar10"])
        published = {**published, **_scaled_step(published, hyper)}
        chosen = self._attack(attack, published, hyper)
        own = {**_only(published, defaults), **_only(hyper, defaults)}
        values = self.hyper._replace(**own)
        hyperparameters.check(values._asdict(), defaults)
        self._check_parts(parts or {})
        return BoundDefense(self, values, chosen, parts or {})

    def _attack(self, chosen, published, hyper):
        """Its attack with hyperparameters; refuses those that nobody knows."""
        if chosen and not self.attack:
            raise ValueError(
                f"`defense={self.name}` takes no other attack. Received: "
                f"attack={chosen}. Choose another `defense`."
            )
        chosen = chosen or self.attack
        # Of an unknown attack, make_attack names the nearest.
        known = _hyper(make_attack(chosen)) if chosen else {}
        own = self.hyper._asdict()
        for key in hyper:
            if key not in own and key not in known:
                raise hyperparameters.unknown(self.name, key, {**own, **known})
        if not chosen:
            return None
        # What was published for one attack need not fit another, but for its radius.
        kept = known if chosen == self.attack else {"eps", "norm"} & known.keys()
        return make_attack(chosen, **{**_only(published, kept), **_only(hyper, known)})

    def _check_parts(self, parts):
        for part in self.parts:
            if part not in parts:
                raise ValueError(
                    f"`defense={self.name}` needs its {part}. Received: none. Give "
                    f"`{part}`."
                )
        for part in parts:
            if part not in self.parts:
                raise ValueError(
                    f"`defense={self.name}` takes no {part}. Received: `{part}`. "
                    "Choose another `defense`."
                )


class BoundDefense:
    """A defence with all its values, for one training.

    Attributes:
      kind: the `Defense`.
      parts: models that it needs, by name.
      craft: None where nothing is crafted, or `craft(model, batch) -> batch`.
      hyper: every hyperparameter, its attack's too, as a dict.
      recorded: those by which a run is recognised; see `hyperparameters.recorded`.
      replays: how often in a row each batch is trained on.
      training: optimizer settings and epochs that are part of the method, as a dict.
      robust_accuracy: None, or `robust_accuracy(model, images, labels)`, which scores
        its epochs; its `name` is that of the score.
      max_drop: see `Defense`.
    """

    def __init__(self, kind: Defense, values: Any, attack: Any, parts: dict[str, Any]):
        self.kind, self.parts = kind, parts
        self._values, self._state = values, {}
        given = {**parts, **({"attack": attack} if attack else {})}
        self.craft = kind.craft and functools.partial(kind.craft, hyper=values, **given)
        self.hyper = _described(values, attack, lambda hyper: hyper._asdict())
        self.recorded = _described(values, attack, recorded)
        self.replays = self.hyper.get("replays", 1)
        self.training, self.max_drop = dict(kind.training), kind.max_drop
        self.robust_accuracy = kind.score(self.hyper, attack, parts)
        self._criterion: dict[str, Criterion] = {}

    def __call__(self, model: Any, batch: Batch) -> Loss:
        """The training loss, a scalar, and the clean images' logits [n, classes]."""
        return self.loss(model, self.craft(model, batch) if self.craft else batch)

    def loss(self, model: Any, batch: Batch) -> Loss:
        """The loss of a batch that `craft` has been through."""
        self.build(tuple(batch["image"].shape[1:]))
        given = {**self._state, **self._criterion}
        return self.kind.loss(model, batch, self._values, **given)

    def judge_by(self, criterion: Criterion | None) -> None:
        """Train by another loss than the cross-entropy; None: by that.

        Raises:
          ValueError: in one line, for a defence that is a loss of its own.
        """
        self._criterion = {}
        if criterion is None:
            return
        if "criterion" not in inspect.signature(self.kind.loss).parameters:
            raise ValueError(
                f"`defense={self.name}` has a loss of its own. Received: another "
                "`loss`. Leave it out."
            )
        self._criterion = {"criterion": criterion}

    def build(self, image_shape: tuple[int, ...]) -> None:
        """Make its variables for images [height, width, channels], the first time."""
        if self.kind.state is not None and not self._state and None not in image_shape:
            with tf.init_scope():
                self._state = self.kind.state(image_shape)

    @property
    def name(self) -> str:
        """Of its kind."""
        return self.kind.name

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint must hold of it, once it is built: each device's own."""
        state = self._state.values()
        return [own for each in state for own in getattr(each, "values", [each])]

    def __repr__(self) -> str:
        values = (f"{key}={value!r}" for key, value in self.hyper.items())
        return f"{self.kind.name}({', '.join(values)})"


def _scaled_step(published, hyper):
    """The published step as a multiple of the given radius, where no step is given."""
    eps = hyper.get("eps")
    if not {"eps", "eps_iter"} <= published.keys() or "eps_iter" in hyper:
        return {}
    if not isinstance(eps, numbers.Real) or not eps > 0:
        return {}
    return {"eps_iter": published["eps_iter"] * (eps / published["eps"])}


def _only(values, names):
    return {key: value for key, value in values.items() if key in names}


def _hyper(attack):
    return attack.hyper._asdict()


def _described(values, attack, named):
    """Its own hyperparameters, and its attack's, as `named` tells them."""
    if attack is None:
        return named(values)
    about = {"attack": attack.name, "norm": attack.norm}
    return {**named(values), **about, **named(attack.hyper)}
