"""How often the gate errs on a model of yours, beside what it says of itself.

    python docs/gate_error_rates.py --model=mine.keras --dataset=cifar10

Each trial takes other test images, in turn. The model is compared with itself under
another seed of the attack, which the gate should pass; and with itself after noise was
added to the weights of its last layer, so much that `--loss` points of robust accuracy
are lost on average, which the gate should fail.
"""

import argparse
import os
import sys

import keras
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import tf_advdefense as adv  # noqa: E402
from tf_advdefense.evaluation.error_rates import Rule  # noqa: E402
from tf_advdefense.evaluation.gate import rates_of  # noqa: E402


def main():
    given = arguments()
    model = adv.load_model(given.model)
    data = adv.load_dataset(given.dataset, data_dir=given.data_dir)
    attack = adv.make_attack("apgd_ce", eps=given.eps, n_iter=given.iterations)
    trials = Trials(model, data.test, attack, given.images, given.max_drop)
    scale = trials.scale_of(given.loss / 100)
    print(f"Noise of {scale:.3f} standard deviations of the last layer's weights.")
    same, noisy = [], []
    for trial in range(given.trials):
        same.append(trials.run(trial, model, seed=1 + trial))
        noisy.append(trials.run(trial, with_noise(model, scale, 1 + trial)))
        print(trial, same[-1].line, noisy[-1].line, sep="\n  ", flush=True)
    tell("the same model, another seed", same, given.max_drop)
    tell("with noise", noisy, given.max_drop)


def arguments():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data_dir")
    parser.add_argument("--eps", type=float, default=1 / 255)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--max_drop", type=float, default=2)
    parser.add_argument("--loss", type=float, default=5)
    return parser.parse_args()


class Trials:
    """Gates of one model, each on images of its own."""

    def __init__(self, model, test, attack, count, max_drop):
        self.model, self.test, self.attack = model, test, attack
        self.count, self.max_drop, self.baselines = count, max_drop, {}

    def run(self, trial, other, seed=0):
        """The gate's result of another model on the trial's images."""
        images, labels = self.images(trial)
        if trial not in self.baselines:
            self.baselines = {trial: self.measured(self.model, trial)}
        return adv.gate(
            other,
            self.baselines[trial],
            self.max_drop,
            images=images,
            labels=labels,
            seed=seed,
            verbose=False,
        )

    def measured(self, model, trial):
        return adv.evaluate(
            model, *self.images(trial), self.attack, verbose=False, name="baseline"
        )

    def images(self, trial):
        first = trial * self.count % (len(self.test) - self.count + 1)
        rows = slice(first, first + self.count)
        return self.test.images[rows], self.test.labels[rows]

    def scale_of(self, loss, steps=5, seeds=(101, 102)):
        """The noise that costs this share of images, by bisection on the first ones."""
        low, high = 0.0, 1.0
        for _ in range(steps):
            middle = (low + high) / 2
            noisy = [with_noise(self.model, middle, seed) for seed in seeds]
            drops = [-self.run(0, each).pair.gain for each in noisy]
            low, high = (low, middle) if np.mean(drops) > loss else (middle, high)
        return (low + high) / 2


def with_noise(model, scale, seed):
    """A copy with Gaussian noise in its last kernel, in standard deviations of that."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernel = next(layer for layer in reversed(copy.layers) if layer.weights).weights[0]
    values = np.asarray(kernel)
    noise = np.random.default_rng(seed).normal(size=values.shape)
    kernel.assign(values + scale * values.std() * noise)
    return copy


def tell(what, results, max_drop):
    """A row of the table: failures, and what the exact rates predict."""
    n = results[0].pair.n
    gained = np.mean([r.pair.only_first for r in results]) / n
    lost = np.mean([r.pair.only_second for r in results]) / n
    drop = 100 * max(0.0, lost - gained)
    expected = Rule(max_drop).fail_rate(n, 2 * min(lost, gained), drop)
    equal = np.mean([rates_of(r.pair, max_drop).equal for r in results])
    failed = sum(not r.passed for r in results)
    print(
        f"{what}: failed {failed} of {len(results)}; mean drop "
        f"{100 * (lost - gained):.2f} points, {100 * lost:.2f} % of images lost and "
        f"{100 * gained:.2f} % won; exact rate at these shares {100 * expected:.1f} %; "
        f"stated rate for an equal model {100 * equal:.2f} %"
    )


if __name__ == "__main__":
    main()
