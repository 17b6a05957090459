"""Flags in groups, which `--help` prints as they were made.

    data = Group(flags, "Data")
    data.text("dataset", "cifar10", "A TFDS name, digits, folder:PATH, or npz:FILE.")
    data.whole("batch_size", 128, "Images per batch.", at_least=1)
    data.only_with("center_crop", "image_size")

What is typed and would be ignored is refused: `only_with`, `not_with`.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from absl import flags
from absl.flags import FlagValues


class _Parser(flags.ArgumentParser):
    """A kind of value as absl wants it; values that are not typed are taken as is."""

    def __init__(self, parse: Callable[[str], Any]):
        self._parse = parse

    def parse(self, argument: Any) -> Any:
        return self._parse(argument) if isinstance(argument, str) else argument


class Group:
    """Defines flags that belong together.

    Args:
      values: the flags of a command.
      heading: under which `--help` prints the group.
    """

    def __init__(self, values: FlagValues, heading: str):
        self._values, self._heading = values, heading

    def text(self, name: str, default: str | None, help_text: str) -> None:
        """A flag of any text."""
        self.value(name, default, help_text, parse=str)

    def switch(self, name: str, default: bool | None, help_text: str) -> None:
        """A flag that is given as `--name` or `--noname`."""
        self._add(flags.BooleanFlag(name, default, help_text))

    def whole(
        self,
        name: str,
        default: int | None,
        help_text: str,
        *,
        at_least: int,
        at_most: int | None = None,
    ) -> None:
        """A flag of a whole number within bounds."""
        parser = flags.IntegerParser(at_least, at_most)
        self._add(flags.Flag(parser, None, name, default, help_text))

    def choice(
        self, name: str, default: str | None, known: Iterable[str], help_text: str
    ) -> None:
        """A flag of one of few words, which its help lists."""
        parser = flags.EnumParser(list(known))
        listed = f"{help_text} One of {', '.join(known)}."
        self._add(flags.Flag(parser, None, name, default, listed))

    def value(
        self,
        name: str,
        default: Any,
        help_text: str,
        *,
        parse: Callable[[str], Any],
    ) -> None:
        """A flag of any kind of value, such as `number` or `arguments` below."""
        self._add(flags.Flag(_Parser(parse), None, name, default, help_text))

    def needed(self, name: str, message: str) -> None:
        """Without this flag the command ends with the message."""
        flags.register_validator(
            name, lambda value: value is not None, message, self._values
        )

    def only_with(self, name: str, *others: str) -> None:
        """The flag is about one of these; without them it would be ignored."""
        about = " or ".join(f"--{other}" for other in others)

        def check(given: dict[str, Any]) -> bool:
            return not self._typed(name) or any(given[other] for other in others)

        self._check(
            [name, *others],
            check,
            f"--{name} is about {about}, which is not given. Leave it out, or add "
            f"{about}.",
        )

    def not_with(self, name: str, other: str) -> None:
        """Of two flags that say the same the first would be ignored."""
        self._check(
            [name, other],
            lambda given: not (self._typed(name) and given[other]),
            f"--{name} and --{other} contradict each other. Leave one of them out.",
        )

    def _typed(self, name: str) -> bool:
        return bool(self._values[name].present)

    def _check(
        self, names: list[str], check: Callable[[dict[str, Any]], bool], message: str
    ) -> None:
        flags.register_multi_flags_validator(names, check, message, self._values)

    def _add(self, flag: flags.Flag) -> None:
        flags.DEFINE_flag(flag, self._values, self._heading)
