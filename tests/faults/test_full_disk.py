"""A disk that is full: one line, nothing half-written, and it goes on with space.

No file may grow beyond a limit, for Python's and TensorFlow's writers alike: what a
write then gets is an error, as on a full disk.
"""

import random
import resource
import shutil
import signal
import subprocess

import binaries
from faults import campaign
from faults.test_kills import WORK
import pytest


def limited(command, size):
    """The result of a command whose files may hold so many bytes each."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # A write fails instead.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        binaries.command(*command), capture_output=True, text=True, preexec_fn=limit
    )


@campaign.only_whole
@pytest.mark.parametrize("name", WORK)
def test_full_disk(name, base, tmp_path):
    command, _, outcome = WORK[name]
    whole = shutil.copytree(base, tmp_path / "whole")
    assert binaries.run(*command, f"--output_dir={whole}").returncode == 0
    draw = random.Random(name)
    for trial in campaign.trials(1, 10):
        outputs = shutil.copytree(base, tmp_path / f"{trial}")
        there = f"--output_dir={outputs}"
        # From 1 kB, so that what the runtime says fits into its own file, to 300 kB.
        size = int(10 ** draw.uniform(3, 5.5))
        result = limited([*command, there], size)
        if result.returncode == 0:
            campaign.count(f"full disk, {name}", "enough space")
        else:
            assert campaign.is_one_line(result), (size, result.stderr)
            campaign.count(f"full disk, {name}", "one line")
        assert not list(outputs.rglob(".tmp-*")), size
        done = binaries.run(*command, there)
        assert done.returncode == 0, done.stderr
        assert outcome(outputs) == outcome(whole), size
        shutil.rmtree(outputs)
