"""Recipes: named runs. A size derives the rest; every value can be changed afterwards.

gpt         a decoder over word pieces: pre-norm, RMSNorm, rotary positions, Muon
gpt-char    the same over characters, for small texts
translate        an encoder and a decoder over word pieces that both languages share, three-way tied
seq2seq-rnn      the same with the recurrent stacks and the attention of 2014
mask-predict     the same, but that all words of a translation are written at once and then refined
dates            the same over characters, on dates as people write them → ISO
speech           recordings → the words in them: convolutions, an encoder and a decoder, with CTC beside it
las              the same with Listen-Attend-Spell's pyramid of LSTMs and its speller
span-corruption  an encoder and a decoder that learn to fill in what was cut out of a text
bert, classify, pair, multilabel, regress, tag, answer, embed    see `recipes_encoders.py`
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from regard.attention import Additive, Dot
from regard.data.augment import SpecAugment
from regard.data.pairs import PairsData
from regard.data.speech import SpeechData
from regard.features import LogMel
from regard.heads.length import Length
from regard.inputs import Audio
from regard.layers import RMSNorm
from regard.model import (
    CTC,
    LSTM,
    MLP,
    LanguageHead,
    ModelConfig,
    Normal,
    PreNorm,
    RecurrentConfig,
    StackConfig,
    Xavier,
)
from regard.model.presets import PRESETS, preset
from regard.positions import Learned, Rotary, Sinusoidal
from regard.settings import SettingsError, nearest
from regard.text import TokenizerConfig
from regard.training.average import Last
from regard.training.config import RunConfig, TrainingConfig
from regard.training.objectives import MaskPredict, SpanCorruption
from regard.training.optimisers import AdamW, Muon
from regard.training.recipes_encoders import RECIPES as ENCODERS
from regard.training.schedules import WSD


class Size(NamedTuple):
    """What a size stands for. `batch_size` is rows of `context_length`; `pieces` is the vocabulary of word pieces."""

    d_model: int
    n_layers: int
    n_heads: int
    context_length: int
    batch_size: int
    pieces: int
    learning_rate: float


SIZES: dict[str, Size] = {
    "tiny": Size(128, 4, 4, 128, 16, 2048, 6e-3),
    "small": Size(384, 6, 6, 256, 32, 8192, 4e-3),
    "base": Size(768, 12, 12, 1024, 64, 32_768, 2e-3),
}


EVALUATED = 32_768
"""Tokens of the validation part that an evaluation sees: a second's work for a tiny model."""


def _gpt(size: Size, steps: int) -> RunConfig:
    return RunConfig(
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=size.pieces),
        model=_decoder(size, size.pieces),
        training=_training(size, steps),
    )


def _gpt_char(size: Size, steps: int) -> RunConfig:
    return RunConfig(
        tokenizer=TokenizerConfig(kind="characters"),
        model=_decoder(size, 1),
        training=_training(size, steps),
    )


def _decoder(size: Size, vocab_size: int) -> ModelConfig:
    """The vocabulary's size is that of the tokenizer, once it is learnt."""
    return ModelConfig(
        vocab_size=vocab_size,
        d_model=size.d_model,
        n_heads=size.n_heads,
        context_length=size.context_length,
        head=LanguageHead(tied=True),
        initialisation=Normal(residual="zero"),
        decoder=StackConfig(
            n_layers=size.n_layers,
            attention=Dot(bias="none"),
            position=Rotary(),
            feedforward=MLP(activation="relu2", bias=False),
            norm=RMSNorm(),
            residual=PreNorm(),
        ),
    )


def _training(size: Size, steps: int) -> TrainingConfig:
    every = max(1, min(250, steps // 8))
    return TrainingConfig(
        steps=steps,
        batch_size=size.batch_size,
        optimiser=Muon(),
        schedule=WSD(learning_rate=size.learning_rate, warmup=min(100, steps // 10), decay=0.4, shape="linear"),
        evaluate_every=every,
        evaluate_windows=max(16, EVALUATED // size.context_length),
        checkpoint_every=every,
    )


def _translate(size: Size, steps: int) -> RunConfig:
    return RunConfig(
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=max(4096, size.pieces), special=("begin", "end")),
        data=PairsData(max_length=size.context_length - 1),
        model=_translator(size),
        training=_on_pairs(size, steps, tokens=4096),
    )


def _dates(size: Size, steps: int) -> RunConfig:
    return RunConfig(
        tokenizer=TokenizerConfig(kind="characters", special=("begin", "end", "unknown")),
        data=PairsData(source=("builtin:dates",)),
        model=_translator(size, n_layers=2, dropout=0.0),
        training=_on_pairs(size, steps, tokens=2048).replace(average=None, smoothing=0.0),
    )


def _seq2seq_rnn(size: Size, steps: int) -> RunConfig:
    config = _translate(size, steps)
    model = config.model.replace(
        dropout=0.2,
        encoder=RecurrentConfig(bidirectional=True),
        decoder=RecurrentConfig(cross=Additive(), order="before"),
        initialisation=Xavier(),
    )
    adam = AdamW(weight_decay=0.0, betas=(0.9, 0.98))
    rate = WSD(learning_rate=2e-3, warmup=min(100, steps // 10), decay=0.4, shape="linear")
    return config.replace(model=model, training=config.training.replace(optimiser=adam, schedule=rate))


def _mask_predict(size: Size, steps: int) -> RunConfig:
    """Its decoder is told where each word stands: rows of masks would look alike to positions that only compare."""
    config = _translate(size, steps)
    assert isinstance(config.tokenizer, TokenizerConfig)
    assert config.model.decoder is not None
    decoder = config.model.decoder.replace(position=Learned())
    return config.replace(
        tokenizer=config.tokenizer.replace(special=("begin", "end", "mask")),
        model=config.model.replace(decoder=decoder, length=Length()),
        training=config.training.replace(objective=MaskPredict()),
    )


def _speech(size: Size, steps: int) -> RunConfig:
    """Its first layers are told where each frame stands, for what they compare must not depend on rhythm alone."""
    stack = StackConfig(
        n_layers=3,
        attention=Dot(bias="none"),
        cross=Dot(bias="none"),
        position=(Sinusoidal(), Rotary(), Rotary()),
        feedforward=MLP(activation="relu2", bias=False),
        norm=RMSNorm(),
        residual=PreNorm(),
    )
    features = LogMel(normalise="utterance")
    return RunConfig(
        tokenizer=TokenizerConfig(kind="characters", special=("begin", "end")),
        data=SpeechData(speed=(0.9, 1.1), augment=SpecAugment(mel_width=6, time_width=12, time_share=0.1)),
        model=ModelConfig(
            vocab_size=1,
            d_model=size.d_model,
            n_heads=size.n_heads,
            context_length=4096,
            target_context_length=512,
            dropout=0.1,
            source=Audio(features=features, strides=(2, 2), scale="sqrt_d_model"),
            encoder=stack,
            decoder=stack.replace(n_layers=1, position=Sinusoidal()),
            ctc=CTC(weight=0.5),
            initialisation=Xavier(),
        ),
        training=_training(size, steps).replace(
            batch_size=16,
            schedule=WSD(learning_rate=0.02, warmup=min(100, steps // 10), decay=0.5, shape="linear"),
            evaluate_windows=100,
        ),
    )


def _las(size: Size, steps: int) -> RunConfig:
    config = _speech(size, steps)
    assert isinstance(config.model.source, Audio)
    model = config.model.replace(
        source=config.model.source.replace(strides=(2,)),
        encoder=RecurrentConfig(n_layers=3, cell=LSTM(), bidirectional=True, pyramid=1),
        decoder=RecurrentConfig(n_layers=1, cell=LSTM(), cross=Additive(), order="fed"),
    )
    return config.replace(model=model)


def _span_corruption(size: Size, steps: int) -> RunConfig:
    return RunConfig(
        tokenizer=TokenizerConfig(kind="bpe", vocab_size=size.pieces),
        model=_translator(size, n_layers=max(2, size.n_layers // 2)),
        training=_training(size, steps).replace(objective=SpanCorruption()),
    )


def _translator(size: Size, n_layers: int | None = None, dropout: float = 0.1) -> ModelConfig:
    def stack() -> StackConfig:
        return StackConfig(
            n_layers=n_layers or size.n_layers,
            attention=Dot(bias="none"),
            cross=Dot(bias="none"),
            position=Rotary(),
            feedforward=MLP(activation="relu2", bias=False),
            norm=RMSNorm(),
            residual=PreNorm(),
        )

    return ModelConfig(
        vocab_size=1,
        d_model=size.d_model,
        n_heads=size.n_heads,
        context_length=size.context_length,
        dropout=dropout,
        head=LanguageHead(tied=True),
        initialisation=Normal(residual="zero"),
        encoder=stack(),
        decoder=stack(),
    )


def _on_pairs(size: Size, steps: int, tokens: int) -> TrainingConfig:
    """Batches by tokens, smoothing, and the mean of the last weights, as in 2017."""
    every = max(1, min(250, steps // 8))
    return (
        _training(size, steps)
        .replace(batch_tokens=tokens, smoothing=0.1, average=Last(count=5, every=max(1, min(100, steps // 50))))
        .replace(evaluate_windows=1000, evaluate_every=every)
    )


RECIPES: dict[str, Callable[[Size, int], RunConfig]] = {
    "gpt": _gpt,
    "gpt-char": _gpt_char,
    "translate": _translate,
    "seq2seq-rnn": _seq2seq_rnn,
    "mask-predict": _mask_predict,
    "dates": _dates,
    "speech": _speech,
    "las": _las,
    "span-corruption": _span_corruption,
    **ENCODERS,
}


def recipe(name: str, size: str = "tiny", steps: int = 2000) -> RunConfig:
    """The run that a recipe stands for. A preset's name is one too: that model, trained as `gpt` is.

    Raises `SettingsError` with the nearest name.
    """
    if size not in SIZES:
        raise SettingsError(f"no size is called {size!r}{nearest(size, SIZES)}")
    if name in RECIPES:
        return RECIPES[name](SIZES[size], steps).replace(recipe=name, size=size)
    if name not in PRESETS:
        if Path(name).exists():
            raise SettingsError(f"{name!r} is no recipe but a file or folder: to train on it, give --data {name}.")
        raise SettingsError(f"no recipe is called {name!r}{nearest(name, [*RECIPES, *PRESETS])}")
    config = _gpt(SIZES[size], steps).replace(recipe=name, size=size)
    return config.replace(model=preset(name), tokenizer=TokenizerConfig(vocab_size=preset(name).vocab_size))
