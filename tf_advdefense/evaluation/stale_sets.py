"""Adversarial sets whose source is no longer the model that they were crafted on.

    stale_sets(sets, targets, "outputs")     # {"resnet50-fgsm-test": "resnet50"}

A run that was trained again under its name leaves the old run's sets behind. A column
"crafted on resnet50" would then be of weights that nobody has.
"""

from collections.abc import Sequence
import os

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.evaluation.targets import Target


def stale_sets(
    sets: Sequence[AdversarialSet],
    targets: Sequence[Target],
    output_dir: str | os.PathLike[str],
) -> dict[str, str]:
    """Name of each stale set to the name of its source, "A+B" if several at once.

    Args:
      sets: finished adversarial sets.
      targets: models by whose names sources may be called.
      output_dir: of the runs that sources may be, too. A source that is neither there
        nor among the targets cannot be compared, and its sets are not stale.
    """
    known = {target.name: target for target in targets}
    finished = set(runs.list_runs(output_dir))

    def is_stale(name: str, sha256: str) -> bool:
        if name in known:
            return not known[name].is_called(sha256)
        if name not in finished:
            return False
        run = runs.load_run(output_dir, name)
        recorded = run.config["weights_sha256"]
        # A former set has the hash of the file.
        return sha256 != recorded and sha256 != identity.files_sha256(run.model_path)

    found = {}
    for each in sets:
        request = each.config["request"]
        sources, digests = (
            request[key].split("+") for key in ("source", "source_sha256")
        )
        if any(map(is_stale, sources, digests)):
            found[each.name] = request["source"]
    return found
