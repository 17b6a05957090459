"""A command's work done by several processes, here or where a runner of Beam has them.

Each makes every n-th shard of a set, or takes every n-th measurement of a report, by
the very command that makes all of them, so that the outcome is the same.
"""

from collections.abc import Sequence
import importlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

from absl.flags import FlagValues

from tf_advdefense.commands.run import CommandLine
from tf_advdefense.commands.run import run

_CODE = "from tf_advdefense.commands.work import workers; workers.work()"
_ROOT = pathlib.Path(__file__).resolve().parents[3]
_FAILED = "`workers` must all reach their end. Received: {} of {} that did not."


class _Part:
    """A command, of a part of its work."""

    def __init__(self, name: str, shard: tuple[int, int]):
        self._command = importlib.import_module(f"tf_advdefense.commands.{name}")
        self._shard, self.__doc__ = shard, self._command.__doc__

    def define(self, flags: FlagValues) -> None:
        """The flags of the whole."""
        self._command.define(flags)

    def main(self, flags: FlagValues, command: str) -> None:
        """Makes the part; what is recorded is the command of the whole."""
        for name in ("workers", "runner", "runner_args"):
            flags[name].unparse()  # As if not typed: some are about the others.
        flags.shard = self._shard
        self._command.main(flags, command)


def make_part(command: str, index: int, number: int) -> int:
    """Makes every `number`-th part, from the `index`-th on; returns the exit code.

    Args:
      command: of the whole, as it was typed.
    """
    program, *given = shlex.split(command)
    prefix, _, name = program.rpartition("/")
    prefix += "/"
    if prefix == "/":  # "advdefense make_adv"
        prefix, (name, *given) = f"{program} ", given
    return run(_Part(name, (index, number)), CommandLine(prefix, name, given))


def work() -> None:
    """Makes the part that the arguments of this process name."""
    sys.exit(make_part(*json.loads(sys.argv[1])))


def run_here(command: str, number: int) -> None:
    """Processes of this machine, which share its processors out.

    Raises:
      ChildProcessError: one of them failed; it has said why.
    """
    threads = str(max(1, len(os.sched_getaffinity(0)) // number))
    environment = {**_environment(), "TF_NUM_INTRAOP_THREADS": threads}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CODE, json.dumps([command, index, number])],
            env=environment,
        )
        for index in range(number)
    ]
    try:
        codes = [process.wait() for process in processes]
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise
    failed = sum(map(bool, codes))
    if failed:
        raise ChildProcessError(_FAILED.format(failed, number))


def run_on_beam(
    command: str, number: int, runner: str, arguments: Sequence[str]
) -> None:
    """Parts as elements of a pipeline of Apache Beam; failed ones are tried again.

    Every worker sees the same files and has this package installed.

    Args:
      command, number: as of `make_part`.
      runner: DirectRunner, FlinkRunner, SparkRunner, DataflowRunner.
      arguments: its pipeline options.

    Raises:
      ValueError: Beam is not installed.
      RuntimeError: a part failed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ValueError(
            "`runner` needs Apache Beam. Received: it is not installed. Install it: "
            "pip install 'apache-beam>=2.77,<2.78'."
        ) from error

    os.environ.update(_environment())
    options = PipelineOptions([f"--runner={runner}", *arguments])
    with beam.Pipeline(options=options) as pipeline:
        parts = pipeline | beam.Create(range(number)) | beam.Reshuffle()
        _ = parts | beam.Map(_part_on_beam, command, number)


def _part_on_beam(index: int, command: str, number: int) -> None:
    code = make_part(command, index, number)
    if code:
        raise RuntimeError(f"Part {index} of {number} ended with code {code}.")


def _environment() -> dict[str, str]:
    """Of processes that find this package where it is."""
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}
