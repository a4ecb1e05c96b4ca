"""A model and its tokenizer as one friendly object: text in, text out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from regard.generation import (
    Alternative,
    Beam,
    Generation,
    Overflow,
    Piece,
    Refinement,
    Sampling,
    log_probabilities,
    stream,
)
from regard.generation.scoring import Score, ScoredToken
from regard.generation.transcribing import Transcript, transcribe
from regard.generation.translating import Alignment, How, Overlong, Translation, Translator
from regard.inputs import Audio
from regard.interop import llama2c
from regard.interop.folder import is_foreign, read
from regard.interop.models import locate
from regard.model import Transformer
from regard.prediction import Answered, Blank, Hits, Long, reader
from regard.prediction.answer import LONGEST
from regard.prediction.verbs import verb_of
from regard.settings import RegardError
from regard.store import CONFIG, TARGET_TOKENIZER, load_model, load_tokenizer
from regard.text import Tokenizer

TOKENS = 128
"""How many tokens are written unless told."""


class Model:
    """A model and its tokenizer. Made by `load`, or from parts: `Model(transformer, tokenizer)`."""

    def __init__(
        self,
        transformer: Transformer,
        tokenizer: Tokenizer,
        name: str = "model",
        folder: Path | None = None,
        target_tokenizer: Tokenizer | None = None,
    ) -> None:
        """Raises `RegardError` if a tokenizer has ids that the model does not know."""
        config = transformer.config
        for own, size in ((tokenizer, config.vocab_size), (target_tokenizer, config.output_vocab_size)):
            if own is not None and own.vocab_size > size:
                raise RegardError(
                    f"this tokenizer has {own.vocab_size} tokens and the model knows {size}: "
                    "it was trained with another one."
                )
        self.transformer = transformer.eval()
        self.tokenizer = tokenizer
        self.target_tokenizer = target_tokenizer or tokenizer
        """Of what the model writes, where that has a vocabulary of its own."""
        self.name = name
        self.folder = folder
        """Where it was loaded from."""

    # — written —

    @overload
    def generate(self, prompt: str = "", tokens: int = TOKENS, *, samples: None = None, **settings: Any) -> str: ...
    @overload
    def generate(self, prompt: str = "", tokens: int = TOKENS, *, samples: int, **settings: Any) -> list[str]: ...
    @overload
    def generate(self, prompt: Sequence[str], tokens: int = TOKENS, **settings: Any) -> list[Any]: ...

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        tokens: int = TOKENS,
        *,
        samples: int | None = None,
        **settings: Any,
    ) -> str | list[str] | list[list[str]]:
        """What the model writes after the prompt (which is not repeated), or as the translation of it: at most so
        many tokens.

        Several prompts give a list, `samples=n` gives a list of n texts for each prompt; they run as one batch, and
        each text is the one that its prompt alone would get. Settings: those of `stream`; for an encoder with a
        decoder those of `Beam` (with `beams` for its size), or those of `Sampling`, to draw.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if self.family == "encoder-decoder":
            made = self.translate(prompts, _search(settings), n_best=samples or 1, tokens=tokens)
            texts = [[one.text for one in best] for best in made]
            found = [row if samples is not None else row[0] for row in texts]
            return found[0] if isinstance(prompt, str) else found  # type: ignore[return-value]
        texts = [[""] * (samples or 1) for _ in prompts]
        for piece in self.stream(prompts, tokens, samples=samples or 1, candidates=0, **settings):
            texts[piece.row][piece.sample] += piece.text
        found = [row if samples is not None else row[0] for row in texts]
        return found[0] if isinstance(prompt, str) else found  # type: ignore[return-value]

    def stream(
        self,
        prompt: str | Sequence[str] = "",
        tokens: int = TOKENS,
        *,
        samples: int = 1,
        candidates: int = 5,
        stop: str | Sequence[str] = (),
        end: bool = True,
        overflow: Overflow = "window",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[Piece]:
        """The pieces that the model writes, as they come: `.text`, `.probability`, `.candidates` …

        candidates            how many of the likeliest tokens each piece names
        stop                  a text ends before any of these strings appears in it
        end                   whether the end token ends a text
        overflow              past the context: "window" shows the model the newest tokens only, "refuse" is an error
        temperature, top_k, top_p, min_p, repetition_penalty, seed    as in `Sampling`

        An empty prompt is what the model saw at the start of a document: the tokenizer's begin or end token.
        Raises `RegardError` at once if something is wrong with the settings or prompts.
        """
        self._only("decoder", "continues a text")
        sampling = Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
        )
        prompts = [self._prompt(text) for text in ([prompt] if isinstance(prompt, str) else prompt)]
        generation = Generation(
            self.transformer,
            prompts,
            sampling,
            tokens,
            end=self.tokenizer.end if end else None,
            samples=samples,
            candidates=candidates,
            overflow=overflow,
        )
        return stream(generation, self.tokenizer, prompts, [stop] if isinstance(stop, str) else stop)

    def score(self, text: str, *, stride: int | None = None, candidates: int = 0) -> Score:
        """How likely the model finds each token of a text, after a begin or end token where the tokenizer has one.

        A text longer than the context is read in windows that start `stride` tokens apart (None: a whole context).
        """
        self._only("decoder", "scores a text from left to right")
        opening = self.tokenizer.opening
        ids = self.tokenizer.encode(text)
        after = ([] if opening is None else [opening]) + ids
        own, words, best = log_probabilities(self.transformer, after, stride, candidates)
        if opening is None and ids:
            own, words, best = (torch.cat([part.new_zeros(1, *part.shape[1:]), part]) for part in (own, words, best))
        scored = []
        for place, token in enumerate(ids):
            known = place > 0 or opening is not None
            row = zip(words[place].tolist(), best[place].exp().tolist(), strict=True) if known else ()
            alternatives = tuple(Alternative(self._token(word), p, word) for word, p in row)
            scored.append(ScoredToken(self._token(token), token, float(own[place]) if known else None, alternatives))
        return Score(tuple(scored))

    def translate(
        self,
        texts: Sequence[str],
        how: How | None = None,
        *,
        n_best: int = 1,
        tokens: int = TOKENS,
        prefix: str = "",
        overlong: Overlong = "refuse",
        first: int = 1,
    ) -> list[list[Translation]]:
        """The `n_best` texts that the model writes for each text, best first, with their scores.

        how        `Beam(…)`, `Sampling(…)` to draw so many, or `Refinement(…)`; None: as the model was trained
        tokens     at most so many are written
        prefix     what each of them begins with
        overlong   a text longer than the model reads: "refuse", or "split" it where a sentence ends
        first      the number of the first text, for messages

        A blank text stays blank. Raises `RegardError`.
        """
        return self._translator().translate(
            texts, how, limit=tokens, n_best=n_best, prefix=prefix, overlong=overlong, first=first
        )

    def alignment(self, source: str, target: str | Sequence[int], layer: int | None = None) -> Alignment:
        """Which tokens of the source each token of a target looked at: `print` it, or take its `.svg()`.

        layer: of the decoder, counted from 0; None: the last but one, which aligns best.
        """
        return self._translator().alignment(source, target, layer)

    def transcribe(
        self,
        recording: str | os.PathLike[str] | bytes,
        how: Beam | None = None,
        *,
        tokens: int = 256,
        listening: bool = False,
    ) -> Transcript:
        """What is said in a recording, a file or its bytes: at most so many tokens.

        listening: with what of the sound each token listened to (`.listening`). Raises `RegardError`.
        """
        source = recording if isinstance(recording, bytes) else Path(recording)
        return transcribe(self.transformer, self.tokenizer, source, how, tokens, listening=listening)

    # — predicted —

    def predict(self, texts: Any, *, long: Long | None = None, **settings: Any) -> Any:
        """What a text is, as the model was trained to say: a class, labels, a number, or a tag for each word.

        texts   one, or a list; two texts that belong together are a tuple, and so are the words of a split sentence
        long    a text longer than the model reads: "begin" reads its beginning and says so, "windows" all of it,
                "refuse" is an error; None: the beginning, but all of a text whose words are tagged

        One text gives one answer, a list gives a list; a blank text's answer is empty. Raises `RegardError`.
        """
        single = isinstance(texts, str | tuple)
        found = self.reader("predict", long=long).predict([texts] if single else texts, **settings)
        return found[0] if single else found

    def answer(
        self, question: str, context: str, n_best: int = 1, *, longest: int = LONGEST, threshold: float = 0.0
    ) -> Answered:
        """Where in the context, of any length, the answer to the question stands; `print` it, or take its `.text`.

        longest: pieces of an answer at most. threshold: how much likelier "no answer" must be for none to be given.
        """
        return self.reader("answer").predict([(question, context)], n_best, longest, threshold=threshold)[0]

    def embed(self, texts: str | Sequence[str], *, long: Long | None = None) -> np.ndarray:
        """The vector of a text [d], or those of several [n d], float32. Of a blank text all is 0."""
        found = self.reader("embed", long=long).predict([texts] if isinstance(texts, str) else texts)
        return found[0] if isinstance(texts, str) else found

    def search(self, query: str, texts: Iterable[str], k: int = 10) -> Hits:
        """The k texts that are nearest to the query, with their cosines; texts may be many, such as a file's lines."""
        return self.reader("embed").search(query, texts, k)

    def fill(self, text: str, k: int = 5) -> list[Blank]:
        """What stands behind each [MASK] of a text: the k likeliest words and their probabilities, best first."""
        return self.reader("fill").fill(text, k)

    def reader(self, verb: str, **settings: Any) -> Any:
        """What answers `predict`, `answer`, `embed` or `fill` for this model, batch by batch. Raises `RegardError`."""
        own = verb_of(self.config)
        if own.name != verb:
            raise RegardError(f"{self.name} {own.does}: use {own.name}, not {verb}.")
        return reader(self.transformer, self.tokenizer, **settings)

    def _translator(self) -> Translator:
        self._only("encoder-decoder", "writes one text for another")
        return Translator(self.transformer, self.tokenizer, self.target_tokenizer)

    # — known —

    @property
    def config(self) -> Any:
        return self.transformer.config

    @property
    def family(self) -> str:
        """decoder, encoder or encoder-decoder."""
        return self.transformer.config.family

    @property
    def hears(self) -> bool:
        """Whether it reads sound, not text."""
        return isinstance(self.transformer.config.source, Audio)

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(parameter.numel() for parameter in self.transformer.parameters())

    @property
    def context_length(self) -> int:
        """How many tokens the model sees at once."""
        return self.transformer.config.sizes(next(reversed(self.transformer.config.stacks))).context_length

    @property
    def device(self) -> torch.device:
        return next(self.transformer.parameters()).device

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Model:
        """This model, moved."""
        self.transformer.to(device=device, dtype=dtype)
        return self

    def __repr__(self) -> str:
        return (
            f"<{self.name}: {self.family}, {self.parameters:,} parameters, vocabulary of {self.config.vocab_size:,} "
            f"({self.tokenizer.kind}), context of {self.context_length:,}>"
        )

    def _prompt(self, text: str) -> list[int]:
        ids = self.tokenizer.prompt(text)
        if not ids:
            raise RegardError(
                "the prompt is empty, and this tokenizer has no begin or end token to start from: give a first word."
            )
        return ids

    def _token(self, token: int) -> str:
        return self.tokenizer.token_bytes(token).decode(errors="replace")

    def _only(self, family: str, does: str) -> None:
        if self.family != family:
            article = {"decoder": "a"}
            raise RegardError(
                f"{self.name} is {article.get(self.family, 'an')} {self.family}, and only "
                f"{article.get(family, 'an')} {family} {does}: use {verb_of(self.config).name}."
            )


def load(
    path: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
) -> Model:
    """A model, ready to use: from a run's folder, a model's, a Hugging Face folder, a llama2.c file, or by a name of
    `regard models`.

    tokenizer: another than the one in the folder. device: None takes a GPU if there is one. dtype: None keeps the
    file's. Raises `RegardError` in one sentence if there is no model, it is damaged, or the parts do not fit.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    _check_device(device)
    folder = locate(path)
    if folder.is_dir() and not (folder / CONFIG).is_file():
        raise RegardError(f"{str(path)!r} is no model's folder: it has no {CONFIG}. Has its training begun?")
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        own_format = Path(tokenizer).suffix == llama2c.SUFFIX
        tokenizer = llama2c.read_tokenizer(Path(tokenizer)) if own_format else Tokenizer.load(tokenizer)
    target = None
    if folder.is_file():
        transformer, own = llama2c.read(folder, tokenizer=tokenizer is None)
    elif is_foreign(folder):
        transformer, own = read(folder, tokenizer=tokenizer is None)
    else:
        own = load_tokenizer(folder) if tokenizer is None else None
        transformer = load_model(folder)
        target = Tokenizer.load(folder / TARGET_TOKENIZER) if (folder / TARGET_TOKENIZER).is_file() else None
    tokenizer = tokenizer or own
    assert tokenizer is not None
    name = folder.resolve().name if Path(path).exists() else str(path)
    return Model(transformer, tokenizer, name, folder, target).to(device, dtype)


def _search(settings: dict[str, Any]) -> How | None:
    """How to write, from what was asked for. Raises `SettingsError` for a setting that there is not."""
    if not settings:
        return None
    if settings.keys() <= Refinement.model_fields.keys():
        return Refinement(**settings)
    if not settings.keys() - {"beams", *Beam.model_fields} or not settings.keys() & Sampling.model_fields.keys():
        beams = {"size": settings["beams"]} if "beams" in settings else {}
        return Beam(**{name: value for name, value in settings.items() if name != "beams"}, **beams)
    return Sampling(**settings)


def _check_device(name: str) -> None:
    try:
        usable = torch.empty(1, device=name).device.type != "meta"
    except (RuntimeError, AssertionError, NotImplementedError):  # torch says it in many ways
        usable = False
    if not usable:
        raise RegardError(f"there is no device {name!r} on this machine: use cpu, or see what regard doctor finds.")
