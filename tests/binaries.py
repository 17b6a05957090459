"""Runs commands: in this process, or as programs of their own.

    run("train", "--model=small_resnet", "--dataset=digits").stdout
    first, second = run_each("report", [["--help"], ["--runs=absent"]])
    run_alone("train", "--model=resnet51").stderr      # as a user starts it

Starting TensorFlow takes longer than most of what the tests ask for, hence `run`.
"""

import contextlib
import dataclasses
import functools
import io
import pathlib
import subprocess
import sys
from unittest import mock
import warnings

# Before Keras: it sets how TensorFlow computes, here as in a process of its own.
from tf_advdefense.commands import main

BIN = pathlib.Path(__file__).resolve().parent.parent / "bin"


def command(binary, *flags):
    return [sys.executable, str(BIN / binary), *map(str, flags)]


def run_alone(binary, *flags, **kwargs):
    """A finished process of its own."""
    return subprocess.run(
        command(binary, *flags), capture_output=True, text=True, **kwargs
    )


def run(binary, *flags):
    """The result as `run_alone` gives it, of a call in this process."""
    import keras

    from tf_advdefense import datasets

    line = [binary, *map(str, flags)]
    # As a new process: layers are named from 1 on. Memory is left to Python, which in a
    # process full of traces takes seconds to look through it.
    keras.utils.clear_session(free_memory=False)
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        mock.patch.object(datasets, "load", load),
    ):
        _print_warnings()
        code = main.run(line, prefix="bin/")
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())


def load(name, data_dir=None, image_size=None, color=None, test_only=False, **more):
    """`datasets.load`, of `digits` once per process: dozens of commands read it."""
    from tf_advdefense.datasets import load_dataset

    if name != "digits" or image_size or color or more:
        return load_dataset(name, data_dir, image_size, color, test_only, **more)
    data = _digits()
    none = data.test.take(0)
    return dataclasses.replace(data, train=none, validation=none) if test_only else data


@functools.cache
def _digits():
    from tf_advdefense.datasets import load_dataset

    return load_dataset("digits")


def _print_warnings():
    """Warnings are filtered and printed as for a user, not as for tests."""
    warnings.resetwarnings()
    for ignored in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
        warnings.simplefilter("ignore", ignored)
    warnings.showwarning = lambda message, category, filename, line, *_: print(
        warnings.formatwarning(message, category, filename, line), file=sys.stderr
    )


def run_each(binary, command_lines):
    """One result per command line."""
    return [run(binary, *flags) for flags in command_lines]
