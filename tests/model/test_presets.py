"""Presets have the published number of parameters, and the shapes of transformers' own models."""

import pytest
import torch

from regard.model import Transformer
from regard.model.presets import PRESETS, preset
from regard.settings import SettingsError


def count(name: str) -> int:
    with torch.device("meta"):
        model = Transformer(PRESETS[name].config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_exact_count(name):
    assert count(name) == PRESETS[name].parameters


@pytest.mark.parametrize("name", PRESETS)
def test_printed_count(name):
    """What the authors print is the exact count to within their rounding, or 4 % where they count otherwise."""
    number, unit = PRESETS[name].printed.split()[0][:-1], PRESETS[name].printed.split()[0][-1]
    printed = float(number) * {"M": 1e6, "B": 1e9}[unit]
    assert PRESETS[name].parameters == pytest.approx(printed, rel=0.04)


def theirs(name: str) -> int:
    """The number of parameters of transformers' model, from its documented default or published settings."""
    import transformers

    if name.startswith("gpt2"):
        layers, width, heads = {
            "gpt2": (12, 768, 12),
            "gpt2-medium": (24, 1024, 16),
            "gpt2-large": (36, 1280, 20),
            "gpt2-xl": (48, 1600, 25),
        }[name]
        config = transformers.GPT2Config(n_layer=layers, n_embd=width, n_head=heads)
        kind = transformers.GPT2LMHeadModel
    elif name.startswith("llama2"):
        layers, width, heads, kv_heads, inner = {
            "llama2-7b": (32, 4096, 32, 32, 11008),
            "llama2-13b": (40, 5120, 40, 40, 13824),
            "llama2-70b": (80, 8192, 64, 8, 28672),
        }[name]
        config = transformers.LlamaConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            intermediate_size=inner,
        )
        kind = transformers.LlamaForCausalLM
    else:
        layers, width, heads = {"bert-base": (12, 768, 12), "bert-large": (24, 1024, 16)}[name]
        config = transformers.BertConfig(
            num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width
        )
        kind = transformers.BertForMaskedLM
    with torch.device("meta"):
        model = kind(config)
        model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith(("gpt2", "llama2", "bert"))])
def test_count_equals_transformers(name):
    assert count(name) == theirs(name)


def test_unknown_preset_names_its_nearest():
    with pytest.raises(SettingsError, match="did you mean 'llama2-7b'"):
        preset("llama-7b")
