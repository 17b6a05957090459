"""What all binaries share: the interpreter, the flags, and one line for an error.

import _bootstrap  # First: may start another interpreter.
...
_bootstrap.run(main)
"""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
_VENV = ROOT / ".venv"

# The environment that bin/demo and bin/test made is used wherever it exists.
if (_VENV / "bin" / "python").exists() and pathlib.Path(sys.prefix) != _VENV:
    os.execv(_VENV / "bin" / "python", [str(_VENV / "bin" / "python"), *sys.argv])
sys.path.insert(0, str(ROOT))

try:
    from absl import flags
except ModuleNotFoundError:
    sys.exit(
        "The packages of requirements.txt are missing. Run bin/test once, which "
        "sets up .venv, or pip install -r requirements.txt."
    )

import ast  # noqa: E402
import fractions  # noqa: E402
import math  # noqa: E402
import re  # noqa: E402
import shlex  # noqa: E402
import time  # noqa: E402

from absl import logging  # noqa: E402  (defines --verbosity)

import tf_advdefense  # noqa: E402, F401  (before Keras: sets TensorFlow's defaults)


def _load_quietly():
    """Load TensorFlow without what its runtime logs before it can be told not to."""
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
    return tensorflow


tf = _load_quietly()

# Keras loads models that contain these layers once it knows them.
from tf_advdefense.defenses.transforms import layers  # noqa: E402, F401

FLAGS = flags.FLAGS
# Of a test set that an attack is run on, unless --num_examples says otherwise.
NUM_EXAMPLES = 512


def number(text):
    """The value of `0.3` or `8/255`."""
    try:
        return float(fractions.Fraction(str(text)))
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"a number or a fraction such as 8/255 is needed. Received: {text}"
        ) from None


class _Numbers(flags.ArgumentParser):
    """Comma-separated numbers or fractions, kept as texts."""

    syntactic_help = "comma-separated numbers or fractions such as 2/255,8/255"

    def parse(self, argument):
        if isinstance(argument, list):
            return argument
        texts = [text.strip() for text in argument.split(",") if text.strip()]
        for text in texts:
            number(text)
        return texts


def define_numbers(name, default, help_text):
    """A flag of comma-separated numbers or fractions; its value is a list of texts."""
    flags.DEFINE(
        _Numbers(), name, default, help_text, serializer=flags.CsvListSerializer(",")
    )


def arguments(text, flag):
    """`{"k": value}` of `k=v,...`; values are Python literals, fractions or names."""
    result = {}
    for pair in filter(None, text.split(",")):
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"--{flag} takes name=value pairs. Received: {pair}")
        result[key.strip()] = _literal(value.strip())
    return result


def _literal(text):
    if "/" in text:
        return number(text)
    if text == "inf":
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def define_common(batch_size=128):
    """The flags of every binary that loads data."""
    flags.DEFINE_string("output_dir", "outputs", "Where runs, sets and reports lie.")
    flags.DEFINE_string("dataset", "cifar10", "A TFDS name, digits, or folder:PATH.")
    flags.DEFINE_string("data_dir", None, "TFDS directory; also TFDS_DATA_DIR.")
    flags.DEFINE_integer(
        "image_size", None, "Resize images to this side.", lower_bound=8
    )
    flags.DEFINE_integer("batch_size", batch_size, "Images per batch.", lower_bound=1)
    flags.DEFINE_integer(
        "seed", 0, "Determines every random draw.", lower_bound=0, upper_bound=2**31 - 1
    )


def run(main):
    """Parse the flags and call `main()`; any wrong input ends with one line, code 2."""
    try:
        _parse()
        main()
    except KeyboardInterrupt:
        sys.exit(_say(f"Interrupted. Continue with: {_continuation()}", 130))
    except (ValueError, OSError, flags.Error) as error:
        if FLAGS.is_parsed() and FLAGS.verbosity >= 1:
            raise
        sys.exit(_say(f"{pathlib.Path(sys.argv[0]).name}: {_one_line(error)}", 2))


def command(given=None):
    """The command line, as it would be repeated from the repository's root."""
    given = sys.argv[1:] if given is None else given
    return shlex.join(["bin/" + pathlib.Path(sys.argv[0]).name, *given])


def duration(seconds):
    """`42 s`, `3.5 min` or `2.1 h`."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def progress(what):
    """A callback that draws a progress bar on a terminal, or prints a last line."""
    started = time.time()

    def show(done, total, fooled):
        passed = time.time() - started
        line = f"{what}: {done}/{total} images, {fooled} fooled, {duration(passed)}"
        if sys.stderr.isatty():
            bar = "=" * (30 * done // total)
            rate = f", {100 * fooled / max(done, 1):.0f} %"
            left = f", {duration(passed / done * (total - done))} left" if done else ""
            # Erased to the end: the line before may have been longer.
            print(
                f"\r[{bar:<30}] {line}{rate}{left}\033[K",
                end="\n" * (done == total),
                file=sys.stderr,
                flush=True,
            )
        elif done == total:
            print(line, file=sys.stderr, flush=True)

    return show


def _parse():
    if {"-h", "--help", "-help"} & set(sys.argv[1:]):
        print(sys.modules["__main__"].__doc__.strip(), "\n")
        print(FLAGS.module_help(sys.modules["__main__"]))
        print(FLAGS.module_help(sys.modules[__name__]))
        sys.exit(0)
    extra = FLAGS(sys.argv)[1:]
    if extra:
        raise ValueError(f"Flags begin with --. Received: {extra[0]}. See --help.")
    # TFDS warns of its own deprecations at every start, and TensorFlow of tracing a
    # function for every model.
    if FLAGS.verbosity < 1:
        logging.set_verbosity(logging.ERROR)
        tf.get_logger().setLevel("ERROR")


def _continuation():
    """This command, going on where it was interrupted."""
    given = [f for f in sys.argv[1:] if f not in ("--overwrite", "--resume")]
    return command(given + ["--resume"] * ("resume" in FLAGS))


# What does a library function's work on the command line.
_BINARIES = {
    "train_run": "bin/train",
    "make_set": "bin/make_adv",
    "compare": "bin/report",
}
# Flags that a remedy names although it may be another binary's.
_OF_OTHERS = ("name", "overwrite", "resume")


def _one_line(error):
    """A library error, of functions and parameters, in terms of binaries and flags."""

    def flag(match):
        return f"{match[1]}--{match[2]}" if match[2] in FLAGS else match[0]

    def named(match):
        known = match[1] in FLAGS or match[1] in _OF_OTHERS
        return _BINARIES.get(match[1]) or (f"--{match[1]}" if known else match[0])

    line = " ".join(str(error).split())
    line = re.sub(r"`(\w+)`", named, line)
    return re.sub(r"(Received: )(\w+)(?==)", flag, line)


def _say(line, code):
    print(line, file=sys.stderr, flush=True)
    return code
