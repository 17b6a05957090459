"""A set of several processes, here or on Beam: the bytes are those of one."""

import importlib.util
import shutil

import binaries
from faults import campaign
import pytest

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
CRAFT = ["make_adv", "--dataset=digits", "--run=a", "--attack=pgd", "--batch_size=8"]
CRAFT += ["--attack_args=nb_iter=3", "--num_examples=40", "--name=s"]
BEAM = ["--runner=DirectRunner"]
BEAM += ["--runner_args=--direct_num_workers=2 --direct_running_mode=multi_processing"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    given = [*campaign.TRAIN, "--epochs=1", "--name=a"]
    campaign.succeeded(binaries.run("train", *given, f"--output_dir={outputs}"))
    return outputs


def shards(outputs):
    named = campaign.set_files(outputs, "s")
    return {name: digest for name, digest in named.items() if "tfrecord" in name}


@pytest.mark.parametrize(
    "how",
    [
        [],
        pytest.param(
            BEAM, marks=pytest.mark.skipif(not HAS_BEAM, reason="needs apache-beam")
        ),
    ],
    ids=["processes", "beam"],
)
def test_workers_make_the_bytes_of_one_process(how, trained, tmp_path):
    outputs = [shutil.copytree(trained, tmp_path / name) for name in ("one", "two")]
    campaign.succeeded(binaries.run(*CRAFT, f"--output_dir={outputs[0]}"))
    several = [*CRAFT, *how, "--workers=2", f"--output_dir={outputs[1]}"]
    done = campaign.succeeded(binaries.run_alone(*several))
    assert len(shards(outputs[0])) == 5
    assert shards(outputs[0]) == shards(outputs[1])
    assert not list(outputs[1].rglob(".tmp-*"))
    if not how:  # Beam's workers speak for themselves.
        assert "40 images" in done.stdout


@pytest.mark.real
def test_what_a_worker_refuses_is_said(trained):
    command = [*CRAFT, "--workers=2", "--num_examples=0", f"--output_dir={trained}"]
    assert campaign.is_one_line(binaries.run(*command))
    absent = ["--run=absent", *CRAFT[1:2], "--attack=fgsm", "--workers=2"]
    done = binaries.run_alone("make_adv", *absent, f"--output_dir={trained}")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("No finished run 'absent'") == 2
    assert "--workers must all reach their end. Received: 2 of 2" in done.stderr


@pytest.mark.parametrize("flag", ["--shard=0/2", "--overwrite"])
@pytest.mark.parametrize("how", ["--workers=2", "--runner=DirectRunner"])
def test_what_contradicts_workers(how, flag, trained):
    done = binaries.run(*CRAFT, how, flag, f"--output_dir={trained}")
    assert campaign.is_one_line(done)
    assert f"Received: {flag.partition('=')[0]} beside them" in done.stderr


@pytest.mark.skipif(HAS_BEAM, reason="it is installed")
def test_beam_is_not_installed(trained):
    done = binaries.run(*CRAFT, "--runner=DirectRunner", f"--output_dir={trained}")
    assert campaign.is_one_line(done) and "pip install 'apache-beam" in done.stderr
