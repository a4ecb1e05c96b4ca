"""Presets: published models by name, each with its paper, the number of parameters it prints, and the exact one.

    Transformer(PRESETS["gpt2"].config)        ModelConfig.replace(…) changes what you like

The printed numbers are rounded, and some leave tables out; the exact count is of this code's parameters, shared tables
counted once. A test builds each on the meta device and counts.
"""

from __future__ import annotations

from typing import NamedTuple

from regard.attention import Dot
from regard.feedforward import MLP, Gated
from regard.heads import LanguageHead
from regard.inputs import TokenInput
from regard.layers import LayerNorm, RMSNorm
from regard.model.cells import LSTM
from regard.model.config import ModelConfig, StackConfig
from regard.model.initialisation import Normal, Xavier
from regard.model.recurrent import RecurrentConfig
from regard.positions import Learned, Rotary, Sinusoidal
from regard.residual import PostNorm, PreNorm
from regard.settings import SettingsError, nearest


class Preset(NamedTuple):
    """A published model."""

    config: ModelConfig
    source: str
    printed: str
    """The number of parameters as its authors print it."""
    parameters: int
    """The exact number."""


def preset(name: str) -> ModelConfig:
    """The settings of the preset `name`. Raises `SettingsError` with the nearest name."""
    if name not in PRESETS:
        raise SettingsError(f"no preset is called {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name].config


def _transformer(d_model: int, n_heads: int, dropout: float) -> ModelConfig:
    """The encoder–decoder of 2017, with one table of 37,000 word pieces for source, target and head."""
    stack = StackConfig(
        n_layers=6, position=Sinusoidal(), feedforward=MLP(activation="relu"), norm=LayerNorm(), residual=PostNorm()
    )
    return ModelConfig(
        vocab_size=37_000,
        d_model=d_model,
        n_heads=n_heads,
        dropout=dropout,
        input=TokenInput(scale="sqrt_d_model"),
        encoder=stack,
        decoder=stack,
        initialisation=Xavier(),
    )


def _gpt2(n_layers: int, d_model: int, n_heads: int) -> ModelConfig:
    """The decoder of 2019: norms before each step, learned positions, a tied head."""
    return ModelConfig(
        vocab_size=50_257,
        d_model=d_model,
        n_heads=n_heads,
        context_length=1024,
        dropout=0.1,
        decoder=StackConfig(
            n_layers=n_layers,
            attention=Dot(),
            position=Learned(),
            feedforward=MLP(activation="gelu_tanh"),
            norm=LayerNorm(eps=1e-5),
            residual=PreNorm(),
        ),
    )


def _llama2(n_layers: int, d_model: int, n_heads: int, d_ff: int, n_kv_heads: int | None = None) -> ModelConfig:
    """The decoder of 2023: rotary positions, RMSNorm, SwiGLU, no biases, a head of its own."""
    return ModelConfig(
        vocab_size=32_000,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        context_length=4096,
        decoder=StackConfig(
            n_layers=n_layers,
            attention=Dot(bias="none"),
            position=Rotary(base=10_000.0),
            feedforward=Gated(activation="silu"),
            norm=RMSNorm(eps=1e-5),
            residual=PreNorm(),
        ),
        head=LanguageHead(tied=False),
    )


def _bert(n_layers: int, d_model: int, n_heads: int) -> ModelConfig:
    """The encoder of 2018 with its masked-word head; the vocabulary is that of `uncased`."""
    return ModelConfig(
        vocab_size=30_522,
        d_model=d_model,
        n_heads=n_heads,
        context_length=512,
        dropout=0.1,
        input=TokenInput(segments=2, norm=LayerNorm(eps=1e-12)),
        encoder=StackConfig(
            n_layers=n_layers,
            attention=Dot(),
            position=Learned(),
            feedforward=MLP(activation="gelu"),
            norm=LayerNorm(eps=1e-12),
            residual=PostNorm(),
        ),
        decoder=None,
        head=LanguageHead(transform="bert", bias=True),
        initialisation=Normal(residual="plain"),
    )


def _nanogpt_char() -> ModelConfig:
    """A small GPT without biases over the 65 characters of tiny Shakespeare."""
    return ModelConfig(
        vocab_size=65,
        d_model=384,
        n_heads=6,
        context_length=256,
        dropout=0.2,
        decoder=StackConfig(
            n_layers=6,
            attention=Dot(bias="none"),
            position=Learned(),
            feedforward=MLP(activation="gelu", bias=False),
            norm=LayerNorm(eps=1e-5, bias=False),
            residual=PreNorm(),
        ),
    )


def _sutskever() -> ModelConfig:
    """The translator of 2014 without attention: four layers of LSTM that read, and four that write."""
    stack = RecurrentConfig(n_layers=4, cell=LSTM(), cross=None)
    return ModelConfig(
        vocab_size=160_000,
        target_vocab_size=80_000,
        d_model=1000,
        encoder=stack,
        decoder=stack,
        head=LanguageHead(tied=False),
        initialisation=Normal(std=0.046),  # as spread as the paper's uniform draw from ±0.08
    )


_SUTSKEVER = "Sutskever, Vinyals & Le 2014, arXiv:1409.3215, §3.4"
_VASWANI = "Vaswani et al. 2017, arXiv:1706.03762, table 3"
_RADFORD = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners, table 2"
_TOUVRON = "Touvron et al. 2023, arXiv:2307.09288, table 1"
_DEVLIN = "Devlin et al. 2018, arXiv:1810.04805, §3"
_KARPATHY = "Karpathy 2022, github.com/karpathy/nanoGPT, config/train_shakespeare_char.py"

PRESETS: dict[str, Preset] = {
    # Theirs hands the encoder's states on as they are; here a map of 8M parameters makes the decoder's first states.
    "sutskever-2014": Preset(_sutskever(), _SUTSKEVER, "384M", 392_040_000),
    "transformer-base": Preset(_transformer(512, 8, dropout=0.1), _VASWANI, "65M", 63_082_496),
    "transformer-big": Preset(_transformer(1024, 16, dropout=0.3), _VASWANI, "213M", 214_245_376),
    # The paper's table printed 117M, 345M, 762M and 1542M; its authors' repository corrected the first two.
    "gpt2": Preset(_gpt2(12, 768, 12), _RADFORD, "124M", 124_439_808),
    "gpt2-medium": Preset(_gpt2(24, 1024, 16), _RADFORD, "355M", 354_823_168),
    "gpt2-large": Preset(_gpt2(36, 1280, 20), _RADFORD, "774M", 774_030_080),
    "gpt2-xl": Preset(_gpt2(48, 1600, 25), _RADFORD, "1.5B", 1_557_611_200),
    "llama2-7b": Preset(_llama2(32, 4096, 32, 11_008), _TOUVRON, "7B", 6_738_415_616),
    "llama2-13b": Preset(_llama2(40, 5120, 40, 13_824), _TOUVRON, "13B", 13_015_864_320),
    "llama2-70b": Preset(_llama2(80, 8192, 64, 28_672, n_kv_heads=8), _TOUVRON, "70B", 68_976_648_192),
    "bert-base": Preset(_bert(12, 768, 12), _DEVLIN, "110M", 109_514_298),
    "bert-large": Preset(_bert(24, 1024, 16), _DEVLIN, "340M", 335_174_458),
    "nanogpt-char": Preset(_nanogpt_char(), _KARPATHY, "10.65M without positions", 10_745_088),
}
