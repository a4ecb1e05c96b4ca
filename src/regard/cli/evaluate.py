"""`regard evaluate`: loss, perplexity, BLEU …, with the conventions beside them."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.lines import check_picture, check_writable, plain, refuse

if TYPE_CHECKING:
    from regard.bundle import Model


def evaluate(
    model: Annotated[str, Parameter(help="The folder of a run or of a model.")],
    /,
    *settings: Annotated[
        str,
        Parameter(
            name="data.KEY=VALUE", help="Encoders: how --data is read, such as data.label=2; else as the run did."
        ),
    ],
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
        str | None, Parameter(help="Of a translator's targets or of answers (de, zh …): chooses how they are compared.")
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
    picture: Annotated[
        str | None, Parameter(help="Classes, tags: an SVG file for which labels are taken for which.")
    ] = None,
    reliability: Annotated[
        str | None, Parameter(help="Classes, labels, tags: an SVG file for how sure and how often right.")
    ] = None,
    worst: Annotated[
        int | None, Parameter(help="Encoders: how many of the examples to show that it fails on most; 20.")
    ] = None,
    long: Annotated[
        Literal["begin", "windows", "refuse"] | None,
        Parameter(help="Encoders: a longer text than the model reads: its beginning, all of it, or refuse it."),
    ] = None,
    stride: Annotated[int | None, Parameter(help="Tokens between windows. Default: a whole context.")] = None,
    context_length: Annotated[int | None, Parameter(help="Tokens a window. Default: what the model sees.")] = None,
    batch_size: Annotated[int | None, Parameter(help="Windows at once; changes no number; 16.")] = None,
    tokenizer: Annotated[str | None, Parameter(help="Another tokenizer than the folder's.")] = None,
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
    json: Annotated[bool, Parameter(help="One JSON object, for programs.")] = False,
) -> None:
    """Measure how well a model does its task.

    An encoder is measured by its task: accuracy, F1, correlations, entities or answers, with intervals, calibration and
    the examples that it fails on most. Where a model writes, each token is predicted once, from what stands before it
    in its window and document. What a translator writes is scored by BLEU, chrF and TER, what is heard by word and
    character error rates.
    """
    from regard.bundle import load
    from regard.evaluation import evaluate
    from regard.evaluation.encoders import TASKS
    from regard.prediction.verbs import verb_of

    lm = load(model, tokenizer=tokenizer, device=device)
    of_translators = {
        "--target": target, "--decode": decode != "auto", "--beams": beams is not None, "--tokenized": tokenized,
        "--lowercase": lowercase, "--by-length": by_length, "--write": write,
    }  # fmt: skip
    windows = {"--stride": stride, "--context-length": context_length, "--batch-size": batch_size}
    if lm.config.head.kind in TASKS:
        does = verb_of(lm.config).does
        refuse(lm.name, does, {**of_translators, **windows, "--part": part})
        if lm.config.head.kind != "answer":
            refuse(lm.name, does, {"--language": language})
        _task(lm, data, settings, picture, reliability, worst, language, long, json)
        return
    of_tasks = {
        "--picture": picture, "--reliability": reliability, "--worst": worst is not None, "--long": long,
        **dict.fromkeys(settings, True),
    }  # fmt: skip
    refuse(lm.name, verb_of(lm.config).does, of_tasks)
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
    refuse(lm.name, "translates nothing", {**of_translators, "--language": language, "--part": part})
    if lm.family == "encoder":
        from regard.evaluation.masked import evaluate_masked

        refuse(lm.name, verb_of(lm.config).does, {"--stride": stride})
        filled = evaluate_masked(lm, data, context_length=context_length, batch_size=batch_size or 16)
        shown = {"model": model, "data": data, **filled.to_dict()}
        print(json_.dumps(shown, ensure_ascii=False) if json else filled)
        return
    found = evaluate(lm, data, stride=stride, context_length=context_length, batch_size=batch_size or 16)
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


def _task(
    lm: Model,
    data: list[str] | None,
    settings: tuple[str, ...],
    picture: str | None,
    reliability: str | None,
    worst: int | None,
    language: str | None,
    long: str | None,
    json: bool,
) -> None:
    """The scores of an encoder with a task's head, and their pictures."""
    from regard.evaluation.encoders import WORST, evaluate_examples
    from regard.settings import RegardError

    kind = lm.config.head.kind
    if worst is not None and worst < 0:
        raise RegardError(f"--worst is 0 or more, got {worst}.")
    if settings and data is None:
        raise RegardError(f"{settings[0]} says how --data is read, and would change nothing without it.")
    for option, path, kinds in (
        ("--picture", picture, ("classify", "tag")),
        ("--reliability", reliability, ("classify", "multilabel", "tag")),
    ):
        if path is not None:
            if kind not in kinds:
                raise RegardError(f"{option} is drawn of {', '.join(kinds)}, and the head of {lm.name} is {kind}.")
            check_picture(path)

    def say(message: str) -> None:
        print(f"regard: {message}", file=sys.stderr, flush=True)

    found = evaluate_examples(
        lm, data, settings, worst=WORST if worst is None else worst, language=language, long=long, say=say
    )
    name = f"{lm.name}: {found.examples:,} examples of {found.data}"
    for path, draw in ((picture, found.confusion_svg), (reliability, found.reliability_svg)):
        if path is not None:
            Path(path).write_text(draw(name), encoding="utf-8")
            say(f"drew {path}")
    shown = {"model": lm.name, "data": data, **found.to_dict()}
    print(json_.dumps(shown, ensure_ascii=False) if json else plain(str(found)))
