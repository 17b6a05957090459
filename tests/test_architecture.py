"""The rules of the house: who may import whom, no circles, no long files."""

import ast
import functools
import pathlib
import statistics

import pytest

PACKAGE = "tf_advdefense"
ROOT = pathlib.Path(__file__).resolve().parent.parent / PACKAGE

# What the modules of a room may import of the package, beside their own room; "X.y"
# is that module alone. `commands` may import everything.
ALLOWED = {
    "": set(),
    "zoo": set(),
    "models": {"registry", "images", "chatter", "zoo"},
    "datasets": {"registry", "images", "locks", "untrusted"},
    "attacks": {"registry", "images", "models"},
    "artifacts": {
        *("registry", "images", "zoo", "untrusted", "models.outputs", "models.tflite"),
    },
    "defenses": {"registry", "images", "attacks", "models"},
    "training": {
        *("registry", "images", "distribution", "artifacts", "datasets", "models"),
        *("locks", "untrusted"),
        *("defenses", "evaluation.classifiers", "evaluation.diagnostics"),
        "reporting.model_card",
    },
    "evaluation": {
        *("registry", "images", "artifacts", "attacks", "datasets", "defenses"),
        *("models", "reporting", "radii", "zoo", "locks", "untrusted", "distribution"),
    },
    "reporting": {
        *("evaluation.records", "evaluation.statistics", "artifacts.files"),
        *("evaluation.threat_models", "evaluation.placement"),
    },
}
# Packages that only one room may import.
OWNED = {
    "cleverhans": {"attacks"},
    "tensorflow_datasets": {"datasets", "artifacts"},
    "absl.flags": {"commands"},
}
# Rooms and modules that must not load TensorFlow when they are imported.
LIGHT = (
    *("zoo", "reporting", "evaluation.records", "evaluation.statistics", "registry"),
    *("evaluation.threat_models", "evaluation.reference"),
    *("evaluation.error_rates", "evaluation.gate", "evaluation.baselines"),
    *("evaluation.changes", "artifacts.manifest", "commands.work.current"),
    *("defenses.registry", "defenses.choices", "defenses.source_sets"),
    *("defenses.transforms.registry", "training.registry", "strategies"),
)


@functools.cache
def modules():
    """Dotted name below the package, "" for itself, to (path, syntax tree)."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path, ast.parse(path.read_text())
    return found


def imports(name, at_load=False):
    """The dotted names that a module imports; `at_load`: not those in functions."""
    tree = modules()[name][1]
    nodes = list(_loaded(tree)) if at_load else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _loaded(node):
    """The nodes that run as a module is loaded, and not for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _loaded(child)


def own(name, at_load=False):
    """The modules of the package that a module imports."""
    found = set()
    for imported in imports(name, at_load):
        parts = imported.split(".")
        if parts[0] != PACKAGE:
            continue
        inner = ".".join(parts[1:])
        while inner and inner not in modules():
            inner = inner.rpartition(".")[0]
        found.add(inner)
    return found - {name}


def room(name):
    return name.partition(".")[0] if (ROOT / name.partition(".")[0]).is_dir() else ""


@pytest.mark.parametrize("name", [n for n in modules() if room(n) != "commands"])
def test_rooms_import_only_whom_they_may(name):
    allowed = ALLOWED[room(name)]
    for imported in own(name):
        if room(imported) == room(name) and room(name):
            continue
        known = {imported, room(imported)} & allowed
        # The package itself gives its version, and environment for TensorFlow.
        assert known or not imported or not room(name), f"{name} imports {imported}"


@pytest.mark.parametrize("package", OWNED)
def test_packages_that_one_room_owns(package):
    for name in modules():
        if any((i + ".").startswith(package + ".") for i in imports(name)):
            assert room(name) in OWNED[package], name


def test_there_is_no_circle():
    graph = {name: own(name, at_load=True) for name in modules()}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name in done:
            return
        path.append(name)
        for imported in sorted(graph[name]):
            visit(imported)
        done.add(path.pop())

    for name in graph:
        visit(name)


@pytest.mark.parametrize("start", LIGHT)
def test_light_modules_do_without_tensorflow(start):
    seen, left = set(), {n for n in modules() if f"{n}.".startswith(f"{start}.")}
    while left:
        name = left.pop()
        seen.add(name)
        heavy = {"tensorflow", "keras"} & {i.split(".")[0] for i in imports(name, True)}
        assert not heavy, f"{name} imports {heavy}"
        # Importing a module loads the packages around it, too.
        above = {name.rpartition(".")[0]} & set(modules())
        left |= (own(name, at_load=True) | above) - seen


def functions():
    for name, (_, tree) in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body
                docstring = ast.get_docstring(node) is not None
                lines = node.end_lineno - node.lineno + 1
                if docstring:
                    lines -= body[0].end_lineno - body[0].lineno + 1
                yield name, node, lines


def test_files_and_functions_are_short():
    long = [n for n, (path, _) in modules().items() if _lines(path) > 300]
    assert not long
    assert statistics.median(lines for _, _, lines in functions()) < 10


def _lines(path):
    return len(path.read_text().splitlines())


def test_public_functions_are_annotated():
    lacking = []
    for name, node, _ in functions():
        if node.name.startswith("_") or not _is_public(name, node):
            continue
        arguments = [*node.args.args, *node.args.kwonlyargs]
        arguments = [a for a in arguments if a.arg not in ("self", "cls")]
        if node.returns is None or any(a.annotation is None for a in arguments):
            lacking.append(f"{name}.{node.name}")
    assert not lacking


def _is_public(name, node):
    """Defined at the top of a module or of a public class."""
    tree = modules()[name][1]
    tops = [
        tree,
        *(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"),
    ]
    return any(node in top.body for top in tops)


def test_nothing_is_hung_on_functions():
    for name, (_, tree) in modules().items():
        defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Attribute):
                    owner = ast.unparse(target.value)
                    assert owner not in defined, f"{name}: {owner}.{target.attr}"
