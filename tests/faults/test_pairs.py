"""Two commands at once on one name: one winner, and one clear line of the other."""

import subprocess
import sys

import binaries
from faults import campaign
import pytest

NAME = ["--name=twice"]
TRAIN = ["train", *campaign.TRAIN, "--epochs=6", *NAME]
CRAFT = ["make_adv", *campaign.FGSM, "--run=a", "--num_examples=128", *NAME]
REPORT = ["report", *campaign.REPORT, "--adv_data=", "--eps=0.05,0.2"]

# Two command lines, and whether both must succeed, as workers of one set do.
PAIRS = {
    "two trainings": ([*TRAIN], [*TRAIN], False),
    "training again beside one": ([*TRAIN], [*TRAIN, "--overwrite"], False),
    "resuming beside one": ([*TRAIN], [*TRAIN, "--resume"], False),
    "two sets": ([*CRAFT, "--resume"], [*CRAFT, "--resume"], False),
    "another seed": ([*CRAFT], [*CRAFT, "--seed=1", "--overwrite"], False),
    "shards": ([*CRAFT, "--shard=0/2"], [*CRAFT, "--shard=1/2"], True),
    "two reports": (REPORT, REPORT, False),
    "two exports": (["export", "--run=a"], ["export", "--run=a"], False),
}
SAMPLE = ["shards"]


def both(first, second, outputs):
    """Both commands at once; their results, in the order in which they began."""
    there = f"--output_dir={outputs}"
    started = [
        subprocess.Popen(
            binaries.command(*line, there),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in (first, second)
    ]
    found = []
    for process in started:
        out, err = process.communicate(timeout=300)
        found.append(
            subprocess.CompletedProcess(process.args, process.returncode, out, err)
        )
    return found


@pytest.mark.parametrize("name", PAIRS if campaign.WHOLE else SAMPLE)
def test_pairs(name, outputs):
    first, second, together = PAIRS[name]
    results = both(first, second, outputs)
    codes = sorted(result.returncode for result in results)
    told = [(result.returncode, result.stderr) for result in results]
    assert codes in ([0, 0], [0, 2]), told
    assert not together or codes == [0, 0], told
    for result in results:
        assert result.returncode == 0 or campaign.is_one_line(result), told
    campaign.count(name, "both in turn" if codes == [0, 0] else "one winner")
    # What is there is whole, and nobody's lock or temporary is left.
    assert not [p for p in outputs.rglob(".*") if p.name.startswith((".tmp", ".lock"))]
    if first[0] == "train":
        again = binaries.run(*TRAIN, f"--output_dir={outputs}")
        assert again.returncode == 0 and "nothing to do" in again.stdout
        assert (outputs / "runs" / "twice" / "model.keras").exists()
    if first[0] == "make_adv":
        given = ["--adv_data=twice", f"--output_dir={outputs}"]
        again = binaries.run("report", *campaign.REPORT, *given)
        assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_the_first_use_of_digits_by_two(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script = (
        "from tf_advdefense.datasets import load_dataset; "
        "print(load_dataset('digits').fingerprint)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=binaries.BIN.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    found = []
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found.append(out.splitlines()[-1])
    assert len(set(found)) == 1 and len(found[0]) == 64
    campaign.count("first use of digits", "both")
