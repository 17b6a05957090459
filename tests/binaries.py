"""Runs the programs in bin/: each by itself, or with many command lines in one process.

    run("train", "--model=small_resnet", "--dataset=digits").stdout
    first, second = run_each("report", [["--help"], ["--runs=absent"]])

Starting TensorFlow takes longer than most of what the tests ask for, hence `run_each`.
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import subprocess
import sys
import traceback

BIN = pathlib.Path(__file__).resolve().parent.parent / "bin"


def command(binary, *flags):
    return [sys.executable, str(BIN / binary), *map(str, flags)]


def run(binary, *flags, **kwargs):
    """A finished process of its own, as a user starts it."""
    return subprocess.run(
        command(binary, *flags), capture_output=True, text=True, **kwargs
    )


def run_each(binary, command_lines, **kwargs):
    """One result per command line, as `run` gives it, all from one process."""
    lines = [list(map(str, flags)) for flags in command_lines]
    process = subprocess.run(
        [sys.executable, __file__, binary],
        input=json.dumps(lines),
        text=True,
        capture_output=True,
        **kwargs,
    )
    results = process.stdout.splitlines()
    assert len(results) == len(lines), process.stderr
    return [subprocess.CompletedProcess(**json.loads(line)) for line in results]


def _load(binary):
    path = str(BIN / binary)
    loader = importlib.machinery.SourceFileLoader(binary, path)
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(binary, loader)
    )
    sys.modules["__main__"] = sys.modules[binary] = module
    sys.path.insert(0, str(BIN))
    sys.argv = [path]
    loader.exec_module(module)
    return module


def _result(module, flags):
    module.FLAGS.unparse_flags()
    sys.argv[1:] = flags
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            module._bootstrap.run(module.main)
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            code = 1
            traceback.print_exc()
    return {
        "args": [*sys.argv],
        "returncode": code or 0,
        "stdout": out.getvalue(),
        "stderr": err.getvalue(),
    }


if __name__ == "__main__":
    lines = json.load(sys.stdin)
    program = _load(sys.argv[1])
    for line in lines:
        print(json.dumps(_result(program, line)), flush=True)
