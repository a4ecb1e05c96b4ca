"""What turns ids into vectors: one input a file (`base.py` is their contract)."""

from regard.inputs.base import Input, InputModule
from regard.inputs.tokens import TokenInput

KINDS: dict[str, type[Input]] = {
    "tokens": TokenInput,
}

__all__ = ["KINDS", "Input", "InputModule", "TokenInput"]
