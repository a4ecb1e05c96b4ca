"""`regard evaluate`: loss, perplexity, BLEU …, with the conventions beside them."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.lines import check_writable, refuse


def evaluate(
    model: Annotated[str, Parameter(help="The folder of a run or of a model.")],
    /,
    *,
    data: Annotated[
        list[str] | None,
        Parameter(
            help="Files, folders, -, hf:OWNER/NAME or builtin:python-docs. Default: the run's validation part.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    target: Annotated[
        list[str] | None, Parameter(help="Translators: files with the other side, where --data has one only.")
    ] = None,
    decode: Annotated[
        Literal["auto", "beam", "mask-predict"], Parameter(help="Translators: how they write; auto: as they learnt.")
    ] = "auto",
    beams: Annotated[int | None, Parameter(help="Translators: beginnings that the search keeps; 4.")] = None,
    language: Annotated[
        str | None, Parameter(help="Translators: of the targets (de, zh …), which chooses BLEU's tokenizer.")
    ] = None,
    tokenized: Annotated[
        bool, Parameter(help="Translators: texts are tokens between spaces, and BLEU takes them as they are.")
    ] = False,
    lowercase: Annotated[bool, Parameter(help="Translators: scores ignore case.")] = False,
    part: Annotated[
        Literal["test", "validation", "all"] | None,
        Parameter(help="Speech: which recordings; the run's test part, or all that --data names."),
    ] = None,
    by_length: Annotated[bool, Parameter(help="Translators: BLEU by the length of the source, too.")] = False,
    write: Annotated[str | None, Parameter(help="Translators: a file for what the model wrote, a line each.")] = None,
    stride: Annotated[int | None, Parameter(help="Tokens between windows. Default: a whole context.")] = None,
    context_length: Annotated[int | None, Parameter(help="Tokens a window. Default: what the model sees.")] = None,
    batch_size: Annotated[int, Parameter(help="Windows at once; changes no number.")] = 16,
    tokenizer: Annotated[str | None, Parameter(help="Another tokenizer than the folder's.")] = None,
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
    json: Annotated[bool, Parameter(help="One JSON object, for programs.")] = False,
) -> None:
    """Measure how well a model predicts or translates.

    Each token is predicted once, from what stands before it in its window and document. What a translator writes is
    scored by BLEU, chrF and TER, what is heard by word and character error rates.
    """
    from regard.bundle import load
    from regard.evaluation import evaluate

    lm = load(model, tokenizer=tokenizer, device=device)
    if lm.hears:
        _speech(lm, data, part, beams, json)
        return
    if lm.family == "encoder-decoder":
        from regard.evaluation.pairs import evaluate_pairs
        from regard.generation import Beam, Refinement

        refuse(lm.name, "translates", {"--stride": stride, "--context-length": context_length})
        how: Any = None if beams is None else Beam(size=beams)
        if decode == "mask-predict":
            refuse("mask-predict", "has no beams", {"--beams": beams is not None})
            how = Refinement()
        elif decode == "beam":
            how = how or Beam()
        if write is not None:
            check_writable(write)
        scores = evaluate_pairs(
            lm, data, target or (), how=how, language=language, tokenized=tokenized, lowercase=lowercase
        )
        if write is not None:
            Path(write).write_text("".join(f"{text}\n" for text in scores.written), encoding="utf-8")
        print(json_.dumps({"model": model, "data": data, **scores.to_dict()}, ensure_ascii=False) if json else scores)
        if by_length and not json:
            print(scores.by_length(target_language=language, tokenized=tokenized, lowercase=lowercase))
        return
    refuse(lm.name, "translates nothing", {
        "--target": target, "--decode": decode != "auto", "--beams": beams is not None, "--language": language,
        "--part": part, "--tokenized": tokenized, "--lowercase": lowercase, "--by-length": by_length, "--write": write,
    })  # fmt: skip
    found = evaluate(lm, data, stride=stride, context_length=context_length, batch_size=batch_size)
    print(json_.dumps({"model": model, "data": data, **found.to_dict()}, ensure_ascii=False) if json else found)


def _speech(lm: Model, data: list[str] | None, part: str | None, beams: int | None, json: bool) -> None:
    """Error rates of what a model hears: in the test part of its own recordings, or in all of others."""
    from regard.evaluation.speech import evaluate_speech, recordings_of
    from regard.generation import Beam
    from regard.generation.transcribing import Transcriber

    ear = Transcriber(lm.transformer, lm.tokenizer)
    recordings = recordings_of(lm, None if data is None else tuple(data))
    beam = None if beams is None else Beam(size=beams)
    found = evaluate_speech(ear, recordings, part or ("test" if data is None else "all"), beam)
    print(json_.dumps({"model": lm.name, "data": data, **found.to_dict()}, ensure_ascii=False) if json else found)
