"""Sets and reports of several processes, here or on Beam, are those of one."""

import importlib.util
import shlex
import shutil

import binaries
from faults import campaign
import pytest

from tf_advdefense.commands.work import workers

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
CRAFT = ["make_adv", "--dataset=digits", "--run=a", "--attack=pgd", "--batch_size=8"]
CRAFT += ["--attack_args=nb_iter=3", "--num_examples=40", "--name=s"]
BEAM = ["--runner=DirectRunner"]
BEAM += ["--runner_args=--direct_num_workers=2 --direct_running_mode=multi_processing"]

either_way = pytest.mark.parametrize(
    "how",
    [
        [],
        pytest.param(
            BEAM, marks=pytest.mark.skipif(not HAS_BEAM, reason="needs apache-beam")
        ),
    ],
    ids=["processes", "beam"],
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    given = [*campaign.TRAIN, "--epochs=1", "--name=a"]
    campaign.succeeded(binaries.run("train", *given, f"--output_dir={outputs}"))
    return outputs


def shards(outputs):
    named = campaign.set_files(outputs, "s")
    return {name: digest for name, digest in named.items() if "tfrecord" in name}


@pytest.mark.slow
@either_way
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


def test_four_shares_make_the_bytes_of_one_process(trained, tmp_path):
    whole, shared = (shutil.copytree(trained, tmp_path / name) for name in "ab")
    campaign.succeeded(binaries.run(*CRAFT, f"--output_dir={whole}"))
    for index in (2, 0, 3, 1):
        line = [*CRAFT, f"--shard={index}/4", f"--output_dir={shared}"]
        campaign.succeeded(binaries.run(*line))
    assert len(shards(whole)) == 5
    assert campaign.set_files(shared, "s") == campaign.set_files(whole, "s")


def test_a_worker_of_beam_makes_its_part_by_the_command_of_the_whole(trained, tmp_path):
    """What a runner has its workers do, without one."""
    outputs = shutil.copytree(trained, tmp_path / "outputs")
    line = [*CRAFT[1:], *BEAM, "--workers=2", f"--output_dir={outputs}"]
    for index in range(2):
        assert workers.make_part(shlex.join(["bin/make_adv", *line]), index, 2) == 0
    assert len(shards(outputs)) == 5


@pytest.fixture(scope="module")
def measured(trained, tmp_path_factory):
    """The outputs of a report that one process made, and its flags."""
    given = [*campaign.REPORT, "--attacks=fgsm,pgd,cw", "--eps=0.05,0.1", "--runs=a"]
    outputs = tmp_path_factory.mktemp("measured") / "outputs"
    shutil.copytree(trained, outputs)
    campaign.succeeded(binaries.run("report", *given, f"--output_dir={outputs}"))
    return outputs, given


def test_shares_of_a_report_are_all_of_it(measured, trained, tmp_path):
    """Two take what there is to take, none of it twice, and the third finds it all."""
    outputs = shutil.copytree(trained, tmp_path / "outputs")
    line = ["report", *measured[1], f"--output_dir={outputs}"]
    kept = []
    for share in ("0/2", "1/2"):
        campaign.succeeded(binaries.run(*line, f"--shard={share}"))
        kept.append(len(list((outputs / "measurements").iterdir())))
        assert not (outputs / "report").exists()
    whole = len(list((measured[0] / "measurements").iterdir()))
    assert 0 < kept[0] < kept[1] == whole
    done = campaign.succeeded(binaries.run(*line))
    assert "Everything is measured already." in done.stdout
    assert campaign.numbers(outputs) == campaign.numbers(measured[0])


@pytest.mark.real
@either_way
def test_workers_make_the_report_of_one_process(how, measured, trained, tmp_path):
    outputs = shutil.copytree(trained, tmp_path / "outputs")
    line = ["report", *measured[1], *how, "--workers=2", f"--output_dir={outputs}"]
    campaign.succeeded(binaries.run_alone(*line))
    assert campaign.numbers(outputs) == campaign.numbers(measured[0])


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


def test_a_report_by_workers_is_no_share(trained):
    line = ["report", *campaign.REPORT, "--workers=2", "--shard=0/2"]
    done = binaries.run(*line, f"--output_dir={trained}")
    assert campaign.is_one_line(done) and "Received: --shard beside" in done.stderr


@pytest.mark.skipif(HAS_BEAM, reason="it is installed")
def test_beam_is_not_installed(trained):
    done = binaries.run(*CRAFT, "--runner=DirectRunner", f"--output_dir={trained}")
    assert campaign.is_one_line(done) and "pip install 'apache-beam" in done.stderr
