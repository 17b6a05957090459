"""An attack is one explicit object: what it is, what it takes, and its three functions.

    class Hyper(NamedTuple):
        "Author 2016 (arXiv:...), algorithm 1."
        nb_iter: int = 50

    mine = Attack(
        name="mine", title="Mine", paper="arXiv:...", norms=(2,), goal="minimal-norm",
        access="gradients", hyper=Hyper(), init=init, advance=advance, finish=finish,
        passes=passes)

    adv = mine(model, images, labels)
    weaker = mine.replace(nb_iter=10)

`init(model_fn, x, y, keys, hyper, task)` makes a state, a NamedTuple of tensors with a
row per image (`state`); `advance(model_fn, state, hyper, task)`, `state.compiled`, runs
a block of iterations; `finish(state, hyper, task)` reads the adversarial images off. An
attack that does not stop per image is one function, `at_once`; a sequence of attacks,
each on what is still robust, has `parts` instead of the three.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import Literal
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core import batch
from tf_advdefense.attacks.core import hyperparameters
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.inputs import check_inputs
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin

Passes = tuple[int, int]  # forward and backward passes per image, at most


class Task(NamedTuple):
    """What is asked of an attack beside its hyperparameters."""

    targeted: bool = False
    clip_min: float = 0.0
    clip_max: float = 1.0


@dataclasses.dataclass(frozen=True, repr=False)
class Attack:
    """An attack with its hyperparameters.

    Attributes:
      name: in registries and on the command line.
      title: as reports show it.
      paper: its source.
      norms: the orders of the balls or distances it knows, the default first: np.inf,
        2, 1, 0; (None,) where there is none.
      goal: "fixed-eps" stays within a radius, "minimal-norm" makes the perturbation
        small, "none" knows no distance.
      access: what it reads off the model: "gradients", "scores" or "decisions".
      hyper: a NamedTuple; its docstring is the attack's.
      passes: `passes(hyper, image_shape, num_classes)`, the forward and the backward
        passes per image at most.
      init, advance, finish: see the module's docstring.
      parts: `parts(hyper, num_classes)`, the attacks of a sequence, which has no
        stages.
      check: `check(hyper)` refuses values beyond what their kinds tell.
      spent: of an attack that leaves images which it fooled, and those that are wrong
        when clean, the share of `passes` that an image which it fools takes, about;
        None: every image takes all of them, or it is not known.
      eps_per_image: whether eps may be float `[batch]`, too.
      budget: the hyperparameters that commands run instead of the defaults.
      budget_at_bounds: those they run on images that are mostly black and white.
    """

    name: str
    title: str
    paper: str
    norms: Sequence[float | None]
    goal: Literal["fixed-eps", "minimal-norm", "none"]
    access: Literal["gradients", "scores", "decisions"]
    hyper: Any
    passes: Callable[[Any, Sequence[int], int], Passes]
    init: Callable | None = None
    advance: Callable | None = None
    finish: Callable | None = None
    parts: "Callable[..., list[Attack]] | None" = None
    check: Callable[[Any], None] = lambda hyper: None
    spent: float | None = None
    eps_per_image: bool = False
    budget: dict = dataclasses.field(default_factory=dict)
    budget_at_bounds: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "__doc__", type(self.hyper).__doc__)
        hyperparameters.check(self)

    def __call__(
        self,
        model_fn,
        x,
        y=None,
        targeted: bool = False,
        clip_min: float = 0.0,
        clip_max: float = 1.0,
        seed: int = 0,
        index=None,
        **hyper,
    ) -> tf.Tensor:
        """Images that fool a model, near `x`.

        Args:
          model_fn: a keras.Model, or any function, from images to logits, or a list of
            them to attack at once.
          x: float32 `[batch, height, width, channels]` in [clip_min, clip_max].
          y: int `[batch]`, the labels to leave, or with `targeted` the classes to
            reach; None takes the model's own predictions.
          seed: of random draws.
          index: int `[batch]`, the images' indices in their data set, by default 0 to
            batch - 1; draws depend on them and on the seed only.
          **hyper: hyperparameters for this call.

        Returns:
          float32 like `x`: finite, within the bounds and the ball; without gradient.

        Raises:
          ValueError: in one line, for values out of range.
        """
        attack = self.replace(**hyper) if hyper else self
        task = Task(targeted, clip_min, clip_max)
        logits_fn = inference(model_fn)
        x, y, index = check_inputs(logits_fn, x, y, task, index, attack.access)
        keys = row_keys(tf.cast(seed, tf.int64), index)
        return batch.run(attack, logits_fn, x, y, keys, task).images

    def replace(self, **hyper) -> "Attack":
        """The same attack with other hyperparameters.

        Raises:
          ValueError: in one line, for an unknown one, or a value out of range.
        """
        hyperparameters.check_known(self, hyper)
        return dataclasses.replace(self, hyper=self.hyper._replace(**hyper))

    def __repr__(self):
        values = (f"{key}={value!r}" for key, value in self.hyper._asdict().items())
        return f"{self.name}({', '.join(values)})"

    @property
    def defaults(self) -> dict:
        """Every hyperparameter with its default."""
        return type(self.hyper)()._asdict()

    @property
    def norm(self) -> float | None:
        """The order of its ball, or of what it makes small."""
        return getattr(self.hyper, "norm", self.norms[0])

    @property
    def eps(self) -> Any:
        """The radius, or None where it has none."""
        return getattr(self.hyper, "eps", None)

    @property
    def needs_gradient(self) -> bool:
        """Whether it needs the gradient of the model's logits."""
        return self.access == "gradients"

    def cost(self, image_shape: Sequence[int], num_classes: int) -> Passes:
        """The forward and the backward passes it takes per image, at most."""
        return self.passes(self.hyper, tuple(image_shape), num_classes)


class _Answers(NamedTuple):
    """The state of an attack that does all its work at once."""

    images: tf.Tensor  # [n, h, w, c]
    progress: Progress


def at_once(craft: Callable) -> dict[str, Callable]:
    """`init` and `finish` of an attack that does not stop per image.

    Args:
      craft: `craft(model_fn, x, y, keys, hyper, task)`, the adversarial images.
    """

    def init(model_fn, x, y, keys, hyper, task):
        progress = begin(x)
        done = progress._replace(done=tf.ones_like(progress.done))
        return _Answers(craft(model_fn, x, y, keys, hyper, task), done)

    return {"init": init, "finish": lambda state, hyper, task: state.images}
