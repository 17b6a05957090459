"""Streams, signals, and the last resort: commands as programs of their own."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time
import types

import binaries
import pytest

from tf_advdefense.commands import errors
from tf_advdefense.commands import machine
from tf_advdefense.commands.run import CommandLine
from tf_advdefense.commands.run import run

HELP = " ".join(binaries.command("train", "--help"))


def shell(line, **environment):
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def command(main):
    """A command of its own, `bin/mine`."""
    return types.SimpleNamespace(
        __doc__="Mine.", define=lambda values: None, main=lambda values, text: main()
    )


def told(main, capsys, *given):
    code = run(command(main), CommandLine("bin/", "mine", list(given)))
    return code, capsys.readouterr().err


def failing(error):
    def main():
        raise error

    return main


# === Streams ===


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams(closed):
    done = shell(f"{HELP} {closed}")
    assert done.returncode == 0, done.stderr
    assert ("Train a" in done.stdout) == (not closed.startswith(">"))


def test_a_reader_that_has_seen_enough():
    done = shell(f"{HELP} | head -1")
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and not done.stderr


def test_a_terminal_without_the_letters(capsys):
    script = (
        "from tf_advdefense.commands import machine; machine.open_streams(); "
        "print('L\u221e 8/255')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout == b"L? 8/255\n", done.stderr


def test_no_file_is_opened_in_the_place_of_a_closed_stream(tmp_path):
    """Or the runtime's messages would be written into it."""
    script = (
        "from tf_advdefense.commands import machine; machine.open_streams(); "
        f"file = open('{tmp_path}/a', 'w'); print(file.fileno() > 2, file=file)"
    )
    done = shell(f'{sys.executable} -c "{script}" <&- >&- 2>&-')
    assert done.returncode == 0
    assert (tmp_path / "a").read_text() == "True\n"


# === Signals ===


@pytest.fixture(autouse=True)
def heard():
    """Whoever runs the tests in the background ignores Ctrl-C."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_are_as_ctrl_c(number, code, capsys):
    def main():
        os.kill(os.getpid(), number)
        time.sleep(5)

    before = signal.getsignal(number)
    found = told(main, capsys, "--verbosity=0")
    assert found == (code, "Interrupted. Continue with: bin/mine --verbosity=0\n")
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_comes_out_as_an_error(number, capsys):
    """A function written in C makes a SystemError of what is raised within it."""

    def main():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    code, said = told(main, capsys)
    assert code == 128 + number and said.startswith("Interrupted. Continue with:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_c_code_drops_comes_again(number, capsys):
    """Of a callback from C, Python prints what is raised, and goes on."""

    @ctypes.CFUNCTYPE(None)
    def callback():
        os.kill(os.getpid(), number)
        time.sleep(0.01)

    def main():
        callback()
        time.sleep(5)

    hooks = sys.excepthook, sys.unraisablehook
    code, said = told(main, capsys)
    assert (code, said.count("\n")) == (128 + number, 1)
    assert said.startswith("Interrupted. Continue with:")
    assert hooks == (sys.excepthook, sys.unraisablehook)


def test_other_errors_that_c_code_drops_are_printed(capsys, monkeypatch):
    """They are not ours to hide."""
    seen = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda found: seen.append(found.exc_type)
    )

    @ctypes.CFUNCTYPE(None)
    def callback():
        raise ValueError("of a callback")

    assert told(callback, capsys)[0] == 0 and seen == [ValueError]


def test_an_ignored_signal_stays_ignored(capsys):
    """As under `nohup`."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert told(lambda: os.kill(os.getpid(), signal.SIGHUP), capsys) == (0, "")
    finally:
        signal.signal(signal.SIGHUP, former)


def test_other_threads_have_no_signals():
    found = []

    def work():
        with machine.Signals().as_interruptions():
            found.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


@pytest.mark.parametrize(
    "given",
    [
        ["--overwrite"],
        ["-overwrite"],
        ["--overwrite=true"],
        ["--nooverwrite"],
        ["--resume=false", "--overwrite=1"],
        ["--resume"],
    ],
)
def test_what_continues_does_not_begin_anew(given):
    line = CommandLine("bin/", "train", ["--model=alexnet", *given])
    assert line.continued(True) == "bin/train --model=alexnet --resume"


# === The last resort ===


def test_a_bug_is_one_line_and_a_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, said = told(failing(KeyError("absent\nand more")), capsys)
    assert code == 1 and said.count("\n") == 1
    assert said.startswith("mine: This is a bug of ours: KeyError: 'absent")
    (log,) = tmp_path.iterdir()
    assert str(log) in said
    assert "Traceback" in log.read_text() and "in failing" not in said
    with pytest.raises(KeyError):
        run(
            command(failing(KeyError("absent"))), CommandLine("", "", ["--verbosity=1"])
        )


@pytest.mark.parametrize(
    "error, expected",
    [
        (OSError(errno.ENOSPC, "It is full", "/x/y"), "It is full: /x/y. Free some"),
        (PermissionError(errno.EACCES, "Denied", "/x"), "Denied: /x. Choose another"),
        (OSError(errno.EROFS, "Read-only", "/x"), "Read-only: /x. Choose another"),
        (OSError(errno.ENAMETOOLONG, "Long", "/x"), "Long: /x. Choose a shorter"),
        (FileNotFoundError("No model at x."), "No model at x."),
        (ValueError("`eps` is wrong."), "`eps` is wrong."),
    ],
)
def test_what_a_user_can_mend(error, expected, capsys):
    code, said = told(failing(error), capsys)
    assert code == 2 and said.startswith(f"mine: {expected}"), said


def test_errors_of_tensorflow_that_tell_of_the_machine():
    import tensorflow as tf

    full = tf.errors.ResourceExhaustedError(None, None, "No space left\non device")
    assert errors.told(full) == "The disk or the memory is full: No space left"
    damaged = tf.errors.DataLossError(None, None, "truncated record at 7")
    assert errors.told(damaged) == "A file is damaged: truncated record at 7"
    assert errors.told(tf.errors.InvalidArgumentError(None, None, "shape")) is None


def test_programs_end_when_they_are_told_to(tmp_path):
    """SIGTERM in the middle of a training: it says how to go on, and it does."""
    flags = ["--dataset=digits", "--model=small_cnn", "--model_args=width=4"]
    flags += ["--epochs=40", "--train_examples=512", f"--output_dir={tmp_path}"]
    with subprocess.Popen(
        binaries.command("train", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                process.send_signal(signal.SIGTERM)
                break
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    (line,) = said.splitlines()
    assert line.startswith("Interrupted. Continue with: bin/train --dataset=digits ")
    assert line.endswith(" --resume")
    (run_directory,) = (tmp_path / "runs").iterdir()  # And no lock is left.
    epochs = len((run_directory / "history.csv").read_text().splitlines()) - 1
    assert 2 <= epochs < 40
    assert not (run_directory / "config.json").exists()
