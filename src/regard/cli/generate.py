"""`regard generate`: continue a text, or write one for another, and show how sure the model was."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.lines import piped, plain, refuse, write_lines

if TYPE_CHECKING:
    from regard.generation import Piece

RUNNERS_UP = 3


def generate(
    model: Annotated[str, Parameter(help="The folder of a run or of a model.")],
    prompt: Annotated[
        str | None, Parameter(help="The text to continue or translate; - or nothing reads what is piped in.")
    ] = None,
    /,
    *,
    tokens: Annotated[int, Parameter(help="At most so many tokens.")] = 128,
    decode: Annotated[
        Literal["auto", "sample", "beam", "greedy", "mask-predict"],
        Parameter(help="How words are chosen; auto: a text is continued by samples and translated by beams."),
    ] = "auto",
    beams: Annotated[int | None, Parameter(help="Beginnings that a beam search keeps; 4.")] = None,
    n_best: Annotated[int, Parameter(help="Translations of each line, best first, with their scores.")] = 1,
    length_penalty: Annotated[float | None, Parameter(help="Above 1 favours long translations; 1.")] = None,
    iterations: Annotated[int | None, Parameter(help="Rounds of mask-predict; 10.")] = None,
    prefix: Annotated[str, Parameter(help="What each translation begins with.")] = "",
    overlong: Annotated[
        Literal["refuse", "split"], Parameter(help="A line longer than the model reads: refuse or split it.")
    ] = "refuse",
    align: Annotated[str | None, Parameter(help="Draw which words looked at which, into this SVG file.")] = None,
    temperature: Annotated[float, Parameter(help="Below 1 bolder in the likely; 0 takes the likeliest.")] = 1.0,
    top_k: Annotated[int | None, Parameter(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[float | None, Parameter(help="Draw from the likeliest that together reach p.")] = None,
    min_p: Annotated[float | None, Parameter(help="Draw from those p times as likely as the likeliest.")] = None,
    repetition_penalty: Annotated[float, Parameter(help="Above 1: what is there already gets less likely.")] = 1.0,
    stop: Annotated[
        list[str] | None, Parameter(help="End before this text appears (may be given again).", consume_multiple=False)
    ] = None,
    seed: Annotated[int | None, Parameter(help="The same seed writes the same text.")] = None,
    samples: Annotated[int, Parameter(help="How many texts; number i is drawn with seed + i.")] = 1,
    tokenizer: Annotated[str | None, Parameter(help="Another tokenizer than the folder's.")] = None,
    overflow: Annotated[
        Literal["window", "refuse"], Parameter(help="Past the context: see the newest tokens only, or refuse.")
    ] = "window",
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
    show_probabilities: Annotated[
        bool, Parameter(help="A line for each token: its probability by the model, and the runners-up.")
    ] = False,
    json: Annotated[bool, Parameter(help="One JSON object a text, for programs.")] = False,
) -> None:
    """Continue a text, or write one for another.

    A language model's prompt is printed first, then what it writes, as it comes. A translator writes a line for each.
    """
    from regard.bundle import load
    from regard.generation import Sampling
    from regard.settings import RegardError

    lm = load(model, tokenizer=tokenizer, device=device)
    if lm.family == "encoder-decoder":
        refuse(lm.name, "translates", {"--stop": stop, "--show-probabilities": show_probabilities,
                "--overflow": overflow != "window"})  # fmt: skip
        if min(n_best, samples) < 1:
            raise RegardError("--n-best and --samples are 1 or more.")
        how = _how(
            decode, samples, seed,
            {"beams": beams, "length_penalty": length_penalty},
            {"temperature": temperature if temperature != 1 else None, "top_k": top_k, "top_p": top_p, "min_p": min_p,
             "repetition_penalty": repetition_penalty if repetition_penalty != 1 else None},
            {"iterations": iterations},
        )  # fmt: skip
        write_lines(
            lm, prompt, how, n_best=max(n_best, samples), tokens=tokens, prefix=prefix, overlong=overlong,
            align=align, json=json,
        )  # fmt: skip
        return
    refuse(lm.name, "continues a text, token by token", {
        "--decode": decode not in ("auto", "sample"), "--beams": beams is not None, "--n-best": n_best != 1,
        "--length-penalty": length_penalty is not None, "--iterations": iterations is not None, "--prefix": prefix,
        "--overlong": overlong != "refuse", "--align": align,
    })  # fmt: skip
    text = _prompt(prompt)
    length = len(lm.tokenizer.encode(text))
    if length > lm.context_length and overflow == "window":
        print(
            f"regard: the prompt is {length:,} tokens long, and the model sees its last {lm.context_length:,}.",
            file=sys.stderr,
        )
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
    ).seeded()
    pieces = lm.stream(
        text,
        tokens,
        samples=samples,
        candidates=RUNNERS_UP + 1 if show_probabilities else 0,
        stop=stop or (),
        overflow=overflow,
        **sampling.to_dict(),
    )
    if json:
        for record in _records(pieces, samples, text, sampling.seed or 0, show_probabilities):
            print(json_.dumps(record, ensure_ascii=False), flush=True)
        return
    show = _show_probabilities if show_probabilities else _show_text
    for sample, own in enumerate(_one_by_one(pieces, samples)):
        if samples > 1:
            print(f"{'' if sample == 0 else chr(10)}— {sample + 1} of {samples}, seed {(sampling.seed or 0) + sample}")
        show(text, own)


def _how(
    decode: str,
    samples: int,
    seed: int | None,
    beam: dict[str, Any],
    sampling: dict[str, Any],
    refining: dict[str, Any],
) -> Any:
    """How a translator chooses its words, from the options that were given; None: as it was trained.

    Raises `RegardError` for an option of another way.
    """
    from regard.generation import Beam, Refinement, Sampling
    from regard.settings import RegardError

    ways = {"sample": sampling, "beam": beam, "mask-predict": refining}
    given = {way: {name: v for name, v in options.items() if v is not None} for way, options in ways.items()}
    if decode == "auto":
        decode = "sample" if samples > 1 else next((way for way in ways if given[way]), "auto")
    for way, options in given.items():
        if options and way != decode:
            raise RegardError(f"--{next(iter(options)).replace('_', '-')} is for --decode {way}, and not for {decode}.")
    if decode == "mask-predict":
        return Refinement(**given[decode])
    if decode == "sample":
        return Sampling(**given[decode], seed=seed).seeded()
    if decode == "beam" and "beams" in given[decode]:
        given[decode]["size"] = given[decode].pop("beams")
    return {"auto": None, "greedy": Beam(size=1)}[decode] if decode != "beam" else Beam(**given[decode])


def _prompt(given: str | None) -> str:
    """The prompt, read from standard input where that is asked for or piped; its last line end is dropped."""
    if given not in (None, "-"):
        return given or ""
    if given is None and (sys.stdin is None or sys.stdin.isatty()):
        return ""
    return "\n".join(piped())


def _one_by_one(pieces: Iterator[Piece], samples: int) -> Iterator[Iterator[Piece]]:
    """The pieces of each sample after those of the one before, as soon as they can be shown."""
    waiting: list[list[Piece]] = [[] for _ in range(samples)]

    def of(sample: int) -> Iterator[Piece]:
        done = False
        while not done:
            while waiting[sample]:
                piece = waiting[sample].pop(0)
                done = piece.finished is not None
                yield piece
            piece_ = None if done else next(pieces, None)
            if piece_ is None:
                return
            waiting[piece_.sample].append(piece_)

    yield from (of(sample) for sample in range(samples))


def _show_text(prompt: str, pieces: Iterable[Piece]) -> None:
    print(plain(prompt), end="", flush=True)
    for piece in pieces:
        print(plain(piece.text), end="", flush=True)
    print()


def _show_probabilities(prompt: str, pieces: Iterable[Piece]) -> None:
    from rich.cells import cell_len

    def padded(text: str, width: int) -> str:
        return text + " " * (width - cell_len(text))

    print(plain(prompt))
    print(f"{padded('token', 18)} {'p':>6}   runners-up (p is the model's own: temperature 1, nothing filtered)")
    for piece in pieces:
        others = [other for other in piece.candidates if other.id != piece.id][:RUNNERS_UP]
        shown = "  ".join(padded(f"{other.token!r} {other.probability:.1%}", 18) for other in others)
        print(f"{padded(repr(piece.token), 18)} {piece.probability:6.1%}   {shown}".rstrip(), flush=True)


def _records(
    pieces: Iterator[Piece], samples: int, prompt: str, seed: int, probabilities: bool
) -> Iterator[dict[str, Any]]:
    for sample, own in enumerate(_one_by_one(pieces, samples)):
        every = list(own)
        record: dict[str, Any] = {
            "prompt": prompt,
            "text": "".join(piece.text for piece in every),
            "seed": seed + sample,
            "finished": every[-1].finished if every else "limit",
            "tokens": len(every),
            "log_probability": sum(piece.log_probability for piece in every),
        }
        if probabilities:
            record["pieces"] = [_piece(piece) for piece in every]
        yield record


def _piece(piece: Piece) -> dict[str, Any]:
    kept = ("token", "id", "probability", "log_probability", "sampling_probability")
    return {name: getattr(piece, name) for name in kept} | {
        "candidates": [candidate._asdict() for candidate in piece.candidates]
    }
