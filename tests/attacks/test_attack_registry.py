"""The registry of attacks: each one is complete, and the table in docs has it."""

import inspect
import pathlib
import re

import numpy as np
import pytest

from tf_advdefense.attacks import ATTACKS

pytestmark = pytest.mark.quick

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
NORMS = {np.inf: "Linf", 2: "L2", 1: "L1", 0: "L0", None: "none"}
IMAGE, CLASSES = (32, 32, 3), 10  # of the page's numbers

every_attack = pytest.mark.parametrize("name", ATTACKS)


@every_attack
def test_an_attack_says_what_it_is(name):
    attack = ATTACKS[name]
    assert attack.name == name and attack.title
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", attack.paper)
    assert attack.goal in ("fixed-eps", "minimal-norm", "none")
    assert attack.access in ("gradients", "scores", "decisions")
    assert attack.norm == attack.norms[0]
    assert attack.budget.keys() <= attack.defaults.keys()


@every_attack
def test_an_attack_is_its_three_functions_or_its_parts(name):
    attack = ATTACKS[name]
    if attack.parts is None:
        assert callable(attack.init) and callable(attack.finish)
    else:
        assert attack.init is attack.advance is attack.finish is None
        assert len(attack.parts(attack.hyper)) > 1


@every_attack
def test_passes_are_positive_and_backwards_where_gradients_are_needed(name):
    forwards, backwards = ATTACKS[name].cost(IMAGE, CLASSES)
    assert forwards > 0 and backwards >= 0
    assert (backwards > 0) == ATTACKS[name].needs_gradient


@every_attack
def test_the_docstring_names_source_and_every_hyperparameter(name):
    attack = ATTACKS[name]
    text = inspect.getdoc(type(attack.hyper))
    assert inspect.cleandoc(attack.__doc__) == text
    assert re.search(r"arXiv:\d{4}\.\d+", text)
    fields = re.findall(r"(?m)^  ((?:\w+, )*\w+): ", text.partition("Attributes:")[2])
    assert sorted(", ".join(fields).split(", ")) == sorted(attack.defaults)


@every_attack
def test_titles_are_each_attacks_own(name):
    titles = [attack.title for attack in ATTACKS.values()]
    assert titles.count(ATTACKS[name].title) == 1


def test_the_readme_lists_every_attack_as_the_registry_has_it():
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", PAGE.read_text("utf-8"))
    rows = {name: cells.split(" | ") for name, cells in rows if name in ATTACKS}
    assert list(rows) == list(ATTACKS)
    for name, (norms, goal, access, paper, passes, command) in rows.items():
        attack = ATTACKS[name]
        first, *others = re.findall(r"\w+", norms)
        assert first == NORMS[attack.norm]
        assert {first, *others} == {NORMS[norm] for norm in attack.norms}
        assert (goal, access) == (attack.goal, attack.access)
        assert paper.endswith(attack.paper)
        assert passes == "{:,} / {:,}".format(*attack.cost(IMAGE, CLASSES))
        if attack.budget:
            cost = attack.replace(**attack.budget).cost(IMAGE, CLASSES)
            assert command.strip().endswith("{:,} / {:,}".format(*cost))
            assert all(
                f"{key}={value}" in command for key, value in attack.budget.items()
            )
        else:
            assert not command.strip()
