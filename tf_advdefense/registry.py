"""Registries: names to objects that are imported when they are first asked for.

    ATTACKS = Registry("attack", "tf_advdefense.attacks", {"cw": "minimal_norm.cw:cw"})
    list(ATTACKS)          # names, without TensorFlow
    ATTACKS["cw"]          # imports tf_advdefense.attacks.minimal_norm.cw
    ATTACKS.find("wc")     # ValueError: Unknown attack 'wc'. Did you mean 'cw'? ...

Commands check names and print help before TensorFlow, which takes seconds, is loaded.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import difflib
import importlib
from typing import Any


class Registry(Mapping):
    """A read-only mapping of names to lazily imported objects.

    Args:
      kind: of what, in the singular, for messages.
      package: dotted name that the references are relative to.
      references: name to "module:object", in the order that help shows.
      others: what else is known by name, for messages.
    """

    def __init__(
        self, kind: str, package: str, references: dict[str, str], others: str = ""
    ):
        self._kind, self._package = kind, package
        self._references, self._others = references, others

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self._references[name].partition(":")
        return getattr(importlib.import_module(f"{self._package}.{module}"), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)

    def check(self, name: str) -> None:
        """Raises ValueError, in one line that names the nearest, for an unknown one."""
        if name not in self._references:
            raise ValueError(
                f"Unknown {self._kind} {name!r}. {nearest(name, self)}"
                f"Known: {', '.join(self)}{self._others}."
            )

    def find(self, name: str) -> Any:
        """The object of a name; raises like `check`."""
        self.check(name)
        return self[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as "Did you mean 'eps'? ", or nothing."""
    return "".join(
        f"Did you mean {match!r}? "
        for match in difflib.get_close_matches(name, list(known), n=1)
    )
