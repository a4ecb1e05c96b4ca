"""`__all__` is the namespace, and the front of the package is what it says."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import regard

MODULES = [
    regard,
    *(
        importlib.import_module(m.name)
        for m in pkgutil.walk_packages(regard.__path__, "regard.")
        if not m.name.endswith("__main__")
    ),
]
LISTED = [module for module in MODULES if hasattr(module, "__all__")]


@pytest.mark.parametrize("module", LISTED, ids=lambda module: module.__name__)
def test_all_exists(module):
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize(
    "module",
    [module for module in LISTED if hasattr(module, "__path__") and module is not regard],
    ids=lambda m: m.__name__,
)
def test_all_is_the_namespace(module):
    """Every public name that a package's __init__ makes is in its __all__."""
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    typing_names = {"Any", "Literal", "TYPE_CHECKING"}
    assert public - typing_names == set(module.__all__)


def test_front_is_typed():
    """What the package gives lazily is what type checkers see."""
    tree = ast.parse(Path(regard.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == regard._HOMES
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        regard.trian  # noqa: B018
