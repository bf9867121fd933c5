"""Imports point down only: the layers of docs/design.md, kept by reading every import."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# From the top; a module may import from its own layer only what shares its first name, and from every layer below.
LAYERS = [
    ["tools", "reid.__main__"],
    ["reid.commands"],
    ["reid.builder", "reid.config"],
    [
        "reid.trainer",
        "reid.step",
        "reid.export",
        "reid.optim",
        "reid.checkpoint",
        "reid.average",
        "reid.freeze",
        "reid.state",
    ],
    ["reid.methods.*", "reid.evaluation", "reid.vectors"],
    ["reid.data", "reid.models", "reid.losses", "reid.memory", "reid.methods", "reid.processes", "reid.run_folder"],
    [
        "reid.data.records",
        "reid.pairs",
        "reid.similarity",
        "reid.plan",
        "reid.pages",
        "reid.loggers",
        "reid.clusters",
        "reid.evaluation.metrics",
        "reid.runtime",
        "reid.pace",
    ],
    ["reid.errors", "reid.whole", "reid.schema", "reid.version1", "reid.digest", "reid.shipped", "reid"],
    ["reid.escape"],
]
PEERS = {2, 3}  # layers whose members work together; those of the others do not import each other


def place(module: str) -> tuple[int, str]:
    """The layer and the room of a module; the longest name that fits wins."""
    best = (-1, "", -1)
    for layer, rooms in enumerate(LAYERS):
        for room in rooms:
            name = room.removesuffix(".*")
            inside = (
                module.startswith(f"{name}.")
                if room.endswith(".*")
                else module == name or module.startswith(f"{name}.")
            )
            length = len(name) + room.endswith(".*")
            if inside and length > best[2] and (name != "reid" or module == "reid"):
                best = (layer, room, length)
    assert best[0] >= 0, f"{module} has no layer: add it to LAYERS and to docs/design.md"
    return best[:2]


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, `from reid.data import records` as reid.data.records."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = Path(ROOT, *node.module.split("."), alias.name)
                is_module = full.is_dir() or full.with_suffix(".py").exists()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return {name for name in found if name.split(".")[0] in {"reid", "tools"}}


def test_imports_point_down_only():
    wrong = []
    for path in [*sorted((ROOT / "reid").rglob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module == "reid":
            continue  # the door: it names what is behind it and imports that when it is asked for
        layer, room = place(module)
        for name in sorted(imports(path)):
            other_layer, other_room = place(name)
            level = other_layer == layer and (layer in PEERS or other_room == room)
            if not (other_layer > layer or level):
                wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_a_wrong_import_would_be_found():
    assert place("reid.methods.baseline")[0] < place("reid.methods")[0]
    assert place("reid.data.loader") == (5, "reid.data")
    assert place("reid.data.records")[0] == 6
    assert place("reid.trainer")[0] < place("reid.evaluation.embed")[0]
