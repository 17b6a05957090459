"""Flags of work that several processes share, here or on Apache Beam."""

from collections.abc import Sequence
import shlex

from absl.flags import FlagValues

from tf_advdefense.commands.group import Group


def define(values: FlagValues, parts: str) -> None:
    """The flags.

    Args:
      values: to define them in.
      parts: what is shared out: "shards".
    """
    group = Group(values, "Workers")
    group.value(
        "shard",
        None,
        f"i/n: make only every n-th of the {parts}, from the i-th on.",
        parse=_shard,
    )
    group.whole(
        "workers",
        1,
        f"Processes that each make a part of the {parts}; the outcome is the same.",
        at_least=1,
        at_most=1024,
    )
    group.text(
        "runner",
        None,
        "Of Apache Beam, which gives the parts to its workers: DirectRunner, "
        "FlinkRunner, SparkRunner, DataflowRunner.",
    )
    group.text("runner_args", "", "Its pipeline options: '--a=1 --b=2'.")
    group.only_with("runner_args", "runner")


def is_shared(flags: FlagValues) -> bool:
    """Whether other processes are to do the work."""
    return flags.workers > 1 or bool(flags.runner)


def run_workers(
    flags: FlagValues, command: str, contrary: Sequence[str] = ("shard",)
) -> None:
    """Has the work done by other processes, which get the same flags.

    Args:
      flags: of the command.
      command: as it was typed.
      contrary: flags that make no sense beside workers.

    Raises:
      ValueError: one of these is given, or Beam is not installed.
      ChildProcessError, RuntimeError: a process failed; it has said why.
    """
    for name in contrary:
        if flags[name].value:
            raise ValueError(
                "--workers and --runner make all parts of what is new or not finished. "
                f"Received: --{name} beside them. Leave one of them out."
            )
    from tf_advdefense.commands.work import workers

    if flags.runner:
        arguments = shlex.split(flags.runner_args)
        workers.run_on_beam(command, flags.workers, flags.runner, arguments)
    else:
        workers.run_here(command, flags.workers)


def _shard(text: str) -> tuple[int, int]:
    """(i, n) of i/n."""
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and int(i) < int(n)):
        raise ValueError(f"i/n with 0 <= i < n is needed. Received: {text}")
    return int(i), int(n)
