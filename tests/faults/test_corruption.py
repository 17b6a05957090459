"""Damaged files: refused in one line, or noticed and made again; never believed."""

import random
import shutil

import binaries
from faults import campaign
import pytest

SETS = "a-fgsm-eps0.1"


def flipped(data, draw):
    place = draw.randrange(len(data))
    return (
        data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    )


def truncated(data, draw):
    return data[: draw.randrange(len(data))]


DAMAGES = {
    "flipped": flipped,
    "truncated": truncated,
    "emptied": lambda data, draw: b"",
    "overwritten": lambda data, draw: draw.randbytes(len(data)),
    "null": lambda data, draw: b"null",
    "a list": lambda data, draw: b"[]",
    "an object": lambda data, draw: b"{}",
    "removed": None,
}


def report(outputs):
    return binaries.run("report", *campaign.REPORT, f"--output_dir={outputs}")


def same_report(base, outputs, said):
    return campaign.numbers(base) == campaign.numbers(outputs)


def same_or_left_out(base, outputs, said):
    """A set that cannot be read is named, and the report is of the others.

    One without a configuration is unfinished, and never a report's.
    """
    left = "Left out, as it cannot be read: " in said and SETS in said
    left |= not (outputs / "adv" / f"{SETS}-test" / "config.json").exists()
    return left or same_report(base, outputs, said)


def attack(outputs):
    given = [*campaign.FGSM, "--run=a", "--num_examples=32", "--name=again"]
    return binaries.run("make_adv", *given, f"--output_dir={outputs}")


def same_set(base, outputs, said):
    """Its files' names hold its own name."""
    ours = campaign.set_files(outputs, "again")
    theirs = campaign.set_files(base, f"{SETS}-test")
    shards = [
        [digest for name, digest in sorted(each.items()) if "tfrecord" in name]
        for each in (ours, theirs)
    ]
    return shards[0] == shards[1]


def defend(outputs):
    given = ["--defense=adversarial", f"--adv_data={SETS}-train", "--epochs=1"]
    given += ["--name=defended", "--overwrite", f"--output_dir={outputs}"]
    return binaries.run("train", *campaign.TRAIN, *given)


def resume(outputs):
    given = ["--name=a", "--resume", f"--output_dir={outputs}"]
    return binaries.run("train", *campaign.TRAIN, *given)


def same_run(base, outputs, said):
    return campaign.weights(base) == campaign.weights(outputs)


def gate(outputs):
    given = ["--run=a", f"--baseline={outputs}/report/results.json"]
    given += ["--batch_size=16", "--num_examples=16", f"--output_dir={outputs}"]
    return binaries.run("gate", *given)


def anything(base, outputs, said):
    """The command says for itself what came of it."""
    return True


# The file, what reads it, and whether the outcome is right all the same.
READ = {
    "configuration of a run": ("runs/a/config.json", attack, same_set),
    "model": ("runs/a/model.keras", attack, same_set),
    "checkpoint": ("runs/a/checkpoints/state.npz", resume, same_run),
    "best weights": ("runs/a/checkpoints/best.npz", resume, same_run),
    "request": ("runs/a/request.json", resume, same_run),
    "configuration of a set": (
        f"adv/{SETS}-test/config.json",
        report,
        same_or_left_out,
    ),
    "shard of a test set": (f"adv/{SETS}-test/*.tfrecord-*", report, same_or_left_out),
    "shard of a train set": (f"adv/{SETS}-train/*.tfrecord-*", defend, anything),
    "metadata of a set": (f"adv/{SETS}-train/features.json", defend, anything),
    "measurement": ("measurements/*.npz", report, same_report),
    "results": ("report/results.json", report, same_report),
    "per example": ("report/per_example.npz", report, same_report),
    "baseline": ("report/results.json", gate, anything),
}
UNFINISHED = ("checkpoint", "best weights", "request")


@pytest.mark.parametrize("kind", READ)
def test_damaged(kind, base, tmp_path):
    pattern, command, is_right = READ[kind]
    draw = random.Random(kind)
    for trial in campaign.trials(2, len(DAMAGES)):
        name = list(DAMAGES)[(trial + draw.randrange(8)) % len(DAMAGES)]
        outputs = shutil.copytree(base, tmp_path / f"{kind} {trial}".replace(" ", "_"))
        if kind in UNFINISHED:
            (outputs / "runs" / "a" / "config.json").unlink()
        path = draw.choice(sorted(outputs.glob(pattern)))
        if DAMAGES[name] is None:
            path.unlink()
        else:
            path.write_bytes(DAMAGES[name](path.read_bytes(), draw))
        result = command(outputs)
        told = f"{path.relative_to(outputs)} {name}: {result.stdout}{result.stderr}"
        if campaign.is_one_line(result):
            campaign.count(kind, "refused in one line")
        else:
            assert result.returncode == 0, told
            assert is_right(base, outputs, result.stdout), told
            campaign.count(kind, "made again, or harmless")
        shutil.rmtree(outputs)
