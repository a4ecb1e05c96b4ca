"""The command line: one file a verb, imported only when it is called.

What a user can mend is one sentence on standard error and exit code 2; Ctrl-C is 130; a reader that leaves
(`regard … | head`) is no error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from cyclopts import App, CycloptsError, Parameter

from regard import __version__
from regard.settings import RegardError, nearest

VERBS = {
    "train": "Train a model on text, pairs, labels, or speech.",
    "generate": "Continue a text, or write one for another.",
    "transcribe": "Write down what is said in recordings.",
    "predict": "Classify texts, tag their words, or answer questions.",
    "fill": "Say what stands behind a mask.",
    "embed": "Turn texts into vectors, or find the nearest to another.",
    "evaluate": "Measure how well a model does its task.",
    "lint": "Look through data for what spoils training.",
    "models": "List the models that can be had by name.",
    "show": "Show a model's key numbers, before or after training.",
    "reproduce": "Check what papers claimed, in minutes on a CPU.",
    "doctor": "Check this machine: versions, devices, kernels, space.",
}

OPTIONS = ("--help", "-h", "--version")
WRONG, INTERRUPTED, NO_READER = 2, 130, 141


def main(tokens: Sequence[str] | None = None) -> int:
    """Run a command line (None: the process's own) and return the exit code."""
    tokens = list(sys.argv[1:] if tokens is None else tokens)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without Unicode shows ? instead of failing
            stream.reconfigure(errors="replace")
    try:
        code = _run(tokens)
        sys.stdout.flush()
        return code
    except RegardError as error:
        return _wrong(str(error))
    except CycloptsError as error:
        return _wrong(f"{_sentence(error)} See regard {tokens[0]} --help.")
    except KeyboardInterrupt:
        print("\nregard: stopped.", file=sys.stderr)
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _wrong("the memory is not enough for this: take a smaller batch_size, context_length or model.")
    except BrokenPipeError:
        # Python flushes once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER


def app() -> App:
    """The commands with their help; no verb is imported."""
    commands = App(
        name="regard",
        help="Build, train, run and see every Transformer.",
        help_format="plaintext",
        version=__version__,
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
    )
    for place, (verb, what) in enumerate(VERBS.items()):
        commands.command(f"regard.cli.{verb}:{verb}", name=verb, help=what, sort_key=place)
    return commands


def _run(tokens: list[str]) -> int:
    verb = tokens[0] if tokens else "--help"
    if verb not in VERBS and verb not in OPTIONS:
        kind = "option" if verb.startswith("-") else "command"
        raise RegardError(f"there is no {kind} {verb!r}{nearest(verb, OPTIONS if kind == 'option' else VERBS)}")
    code = app()(_dash_last(tokens) or ["--help"])
    return code if isinstance(code, int) else 0


def _dash_last(tokens: list[str]) -> list[str]:
    """`generate MODEL - …`: a lone - stands for standard input; cyclopts takes it only after the options."""
    for place, token in enumerate(tokens):
        if token == "--":
            break
        if token == "-" and tokens[place - 1] != "--data":
            return [*tokens[:place], *tokens[place + 1 :], "--", "-"]
    return tokens


def _sentence(error: CycloptsError) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith((".", "?")) else f"{text}."


def _out_of_memory(error: Exception) -> bool:
    """torch says it by a class of its own on a GPU, and in a plain RuntimeError on a CPU."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)


def _wrong(sentence: str) -> int:
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    print(f"regard: {sentence}", file=sys.stderr)
    return WRONG
