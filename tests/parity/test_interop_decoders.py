"""Published decoders, theirs and ours with the same random weights, through a folder on disk: equal logits, also of
padded batches, equal greedy tokens, the same weights to the bit on the way back, and a mutation of each quirk that must
fail.
"""

import functools
import json
from contextlib import suppress

import pytest
import torch
import transformers
from safetensors.torch import load_file

from regard.attention import Full, Window
from regard.inputs import TokenInput
from regard.interop.architectures import ARCHITECTURES as TABLES
from regard.interop.folder import config_of, read
from regard.layers import LayerNorm, RMSNorm
from regard.model import LanguageHead, Transformer
from regard.positions import Learned, NoPosition, Rotary
from regard.positions.scaling import Linear, Llama3, YaRN
from regard.residual import PreNorm
from regard.settings import RegardError
from regard.store import fill, tensors_of
from tests.parity.theirs import CONTEXT, HEADS, LAYERS, D, V, check_greedy, check_logits, difference, redraw

BLOOM = {"vocab_size": V, "hidden_size": D, "n_layer": LAYERS, "n_head": HEADS, "layer_norm_epsilon": 1e-2}
NEOX = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 50,
    "max_position_embeddings": CONTEXT,
    "layer_norm_eps": 1e-2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 0.4},
}
OPT = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "ffn_dim": 50,
    "max_position_embeddings": CONTEXT,
    "word_embed_proj_dim": D,
}
LLAMA = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": 52,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-2,  # large, so that another would show
    "pad_token_id": None,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
}


def scaled(**settings):
    return {**LLAMA, "rope_parameters": {"rope_theta": 500.0, "original_max_position_embeddings": 10, **settings}}


YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 4.0,
    "beta_fast": 0.7,
    "beta_slow": 0.1,
    "original_max_position_embeddings": 20,
}
GEMMA = {**LLAMA, "head_dim": 10, "attn_implementation": "eager"}

MODELS = {
    "gpt_neox": ("GPTNeoX", NEOX),
    "gpt_neox serial": ("GPTNeoX", {**NEOX, "use_parallel_residual": False, "attention_bias": False}),
    "opt": ("OPT", OPT),
    "opt post-norm": ("OPT", {**OPT, "do_layer_norm_before": False}),
    "bloom": ("Bloom", BLOOM),
    "mpt": ("Mpt", {"vocab_size": V, "d_model": D, "n_layers": LAYERS, "n_heads": 6, "layer_norm_epsilon": 1e-2}),
    "llama": ("Llama", LLAMA),
    "llama biased": ("Llama", {**LLAMA, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama wide heads": ("Llama", {**LLAMA, "head_dim": 10}),
    "llama linear": ("Llama", scaled(rope_type="linear", factor=3.0)),
    "llama3": ("Llama", scaled(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=3.0)),
    "llama yarn": ("Llama", {**LLAMA, "head_dim": 12, "rope_parameters": YARN}),
    "llama yarn sized": ("Llama", scaled(rope_type="yarn", factor=4.0, mscale=0.7, mscale_all_dim=1.3, truncate=False)),
    "mistral": ("Mistral", {**LLAMA, "sliding_window": 5}),
    "qwen2": ("Qwen2", LLAMA),
    "qwen2 windows": ("Qwen2", {**LLAMA, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {**LLAMA, "head_dim": 10}),
    "gemma": ("Gemma", GEMMA),
    "gemma2": (
        "Gemma2",
        {
            **GEMMA,
            "query_pre_attn_scalar": 17,
            "sliding_window": 5,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 7.0,
        },
    ),
    "phi3": ("Phi3", {**LLAMA, "sliding_window": 5, "tie_word_embeddings": False}),
    "olmo2": ("Olmo2", LLAMA),
    "mixtral": ("Mixtral", {**LLAMA, "num_local_experts": 5, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        "Qwen3Moe",
        {**LLAMA, "head_dim": 10, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 20},
    ),
    "qwen3_moe renormalised": (
        "Qwen3Moe",
        {**LLAMA, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "norm_topk_prob": True},
    ),
}
every = pytest.mark.parametrize("name", MODELS)


@functools.cache
def theirs_of(name):
    """A model of theirs, every tensor drawn anew."""
    front, settings = MODELS[name]
    settings = {"bos_token_id": 0, "eos_token_id": 0, **settings}
    how = {"attn_implementation": settings.pop("attn_implementation")} if "attn_implementation" in settings else {}
    config = getattr(transformers, f"{front}Config")(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config, **how).eval()
    redraw(model)
    return model


def through_disk(theirs, folder):
    theirs.save_pretrained(folder)
    return read(folder, tokenizer=False).transformer


@every
def test_equal_logits_greedy_tokens_and_weights(name, tmp_path):
    """The prompt and what is written go past windows, and past where rates are scaled."""
    theirs = theirs_of(name)
    ours = through_disk(theirs, tmp_path)
    check_logits(theirs, ours)
    check_greedy(theirs, ours, tokens=20)
    table = TABLES[theirs.config.model_type]
    back = table.theirs(ours.config, tensors_of(ours))
    saved = {table.plain(key): tensor for key, tensor in load_file(tmp_path / "model.safetensors").items()}
    assert back.keys() == saved.keys() - table.tied(ours.config).keys()
    assert all(torch.equal(back[key], saved[key]) for key in back)


def stack(**parts):
    return lambda config, tensors: config.replace(decoder=config.decoder.replace(**parts))


def attention(**settings):
    return lambda config, tensors: stack(attention=config.decoder.attention.replace(**settings))(config, tensors)


def feedforward(**settings):
    return lambda config, tensors: stack(feedforward=config.decoder.feedforward.replace(**settings))(config, tensors)


def model(**parts):
    return lambda config, tensors: config.replace(**parts)


def swapped(one, other):
    """Two kinds of weights in each other's place."""

    def change(config, tensors):
        for name in [name for name in tensors if f".{one}." in name]:
            twin = name.replace(f".{one}.", f".{other}.")
            tensors[name], tensors[twin] = tensors[twin], tensors[name]
        return config

    return change


def not_head_by_head(config, tensors):
    """Fused maps taken for three equal parts."""
    for name in [name for name in tensors if ".attention.q." in name]:
        own = [name.replace(".q.", f".{letter}.") for letter in "qkv"]
        heads = [tensors[key].unflatten(0, (HEADS, -1)) for key in own]
        tensors.update(zip(own, torch.cat(heads, 1).flatten(0, 1).chunk(3), strict=True))
    return config


def normed_by_heads(config, tensors):
    for name in [name for name in tensors if "_norm." in name]:
        tensors[name] = tensors[name][: D // 6]
    return attention(qk_norm_over="head")(config, tensors)


def rows_from_one(config, tensors):
    """The same table, of which one row less is passed by."""
    return stack(position=Learned(offset=1))(config.replace(context_length=CONTEXT + 1), tensors)


MUTATIONS = {
    "neox: all of a head turned": ("gpt_neox", stack(position=Rotary(base=300.0))),
    "neox: one after the other": ("gpt_neox", stack(residual=PreNorm())),
    "neox: gelu": ("gpt_neox", feedforward(activation="gelu_tanh")),
    "neox: eps": ("gpt_neox", stack(norm=LayerNorm())),
    "neox: q, k, v": ("gpt_neox", not_head_by_head),
    "opt: offset": ("opt", rows_from_one),
    "opt: relu": ("opt", feedforward(activation="gelu")),
    "bloom: positions": ("bloom", stack(position=NoPosition())),
    "bloom: gelu": ("bloom", feedforward(activation="gelu")),
    "bloom: q, k, v": ("bloom", not_head_by_head),
    "bloom: eps of the embedding's norm": ("bloom", model(input=TokenInput(norm=LayerNorm()))),
    "mpt: positions": ("mpt", stack(position=NoPosition())),
    "mpt: gelu": ("mpt", feedforward(activation="gelu_tanh")),
    "llama: base": ("llama", stack(position=Rotary(base=501.0))),
    "llama: pairs": ("llama", stack(position=Rotary(base=500.0, interleaved=True))),
    "llama: eps": ("llama", stack(norm=RMSNorm(eps=1e-6))),
    "llama: scale": ("llama wide heads", attention(scale=6**-0.5)),
    "linear: unscaled": ("llama linear", stack(position=Rotary(base=500.0))),
    "llama3: all scaled": ("llama3", stack(position=Rotary(base=500.0, scaling=Linear(factor=4.0)))),
    "llama3: low": (
        "llama3",
        stack(position=Rotary(base=500.0, scaling=Llama3(factor=4.0, original_length=10, low=0.5, high=3.0))),
    ),
    "yarn: ramp": (
        "llama yarn",
        stack(position=Rotary(base=500.0, scaling=YaRN(factor=4.0, original_length=20, beta_slow=0.1))),
    ),
    "yarn: size": (
        "llama yarn sized",
        stack(position=Rotary(base=500.0, scaling=YaRN(factor=4.0, original_length=10, truncate=False))),
    ),
    "mistral: no window": ("mistral", stack(pattern=Full())),
    "mistral: one more": ("mistral", stack(pattern=Window(size=6))),
    "qwen2: windows in all layers": ("qwen2 windows", stack(pattern=Window(size=5))),
    "qwen3: eps of queries and keys": ("qwen3", attention(qk_norm=RMSNorm(eps=1e-6))),
    "qwen3: queries and keys": ("qwen3", swapped("q_norm", "k_norm")),
    "gemma: 1 + w": ("gemma", stack(norm=RMSNorm(eps=1e-2))),
    "gemma: scale of embeddings": ("gemma", model(input=TokenInput())),
    "gemma: gelu": ("gemma", feedforward(activation="gelu")),
    "gemma2: norms": ("gemma2", swapped("norms.1", "out_norms.1")),
    "gemma2: cap on scores": ("gemma2", attention(softcap=None)),
    "gemma2: cap on logits": ("gemma2", model(head=LanguageHead())),
    "gemma2: scale": ("gemma2", attention(scale=None)),
    "gemma2: turns of windows": ("gemma2", stack(pattern=(Full(), Window(size=5)))),
    "phi3: halves": ("phi3", swapped("gate", "up")),
    "phi3: no window": ("phi3", stack(pattern=Full())),
    "olmo2: norms first": ("olmo2", stack(residual=PreNorm())),
    "olmo2: normed head by head": ("olmo2", normed_by_heads),
    "mixtral: shares": ("mixtral", feedforward(renormalise=False)),
    "mixtral: maps": ("mixtral", swapped("gate", "up")),
    "qwen3_moe: shares": ("qwen3_moe", feedforward(renormalise=True)),
    "qwen3_moe: experts": ("qwen3_moe", feedforward(top_k=2)),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_fails(mutation, tmp_path):
    """A quirk left out, with the same weights."""
    name, change = MUTATIONS[mutation]
    theirs = theirs_of(name)
    right = through_disk(theirs, tmp_path)
    tensors = tensors_of(right)
    with torch.device("meta"):
        wrong = Transformer(change(right.config, tensors))
    fill(wrong, tensors)
    assert difference(theirs, wrong.eval()) > 1e-4


REFUSED = {
    "opt": [
        ({"word_embed_proj_dim": 12}, "word_embed_proj_dim"),
        ({"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine"),
        ({"architectures": ["OPTForSequenceClassification"]}, "OPTForSequenceClassification"),
    ],
    "bloom": [({"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm")],
    "mpt": [
        ({"attn_config": {"clip_qkv": 6.0}}, "clip_qkv"),
        ({"attn_config": {"alibi": False}}, "alibi"),
        ({"attn_config": []}, "attn_config .* must be an object"),
        ({"logit_scale": "inv_sqrt_d_model"}, "logit_scale"),
    ],
    "llama": [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "longrope"}}, "'longrope'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "factor is missing"),
        ({"rope_parameters": []}, "must be an object"),
        ({"hidden_act": "tanh"}, "'tanh' is not known"),
    ],
    "qwen2": [({"layer_types": ["linear_attention"] * LAYERS}, "layer_types")],
    "gemma2": [({"use_bidirectional_attention": True}, "use_bidirectional_attention")],
    "qwen3_moe": [
        ({"mlp_only_layers": [1]}, "mlp_only_layers"),
        ({"num_experts": 60_000}, "weights"),
    ],
}


@pytest.mark.parametrize(
    ("name", "change", "says"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_what_cannot_be_expressed_is_refused(name, change, says, tmp_path):
    theirs_of(name).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(RegardError, match=says):
        read(tmp_path, tokenizer=False)


OLDER = {
    "llama3": {"rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0}},
    "llama linear": {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 3.0}},
    "llama": {"rope_theta": 500.0},
    "gpt_neox": {"rotary_emb_base": 300, "rotary_pct": 0.4},
}
OLDER["llama3"]["rope_scaling"] |= {"high_freq_factor": 3.0, "original_max_position_embeddings": 10}


@pytest.mark.parametrize("name", OLDER)
def test_older_files_say_the_same(name, tmp_path):
    theirs_of(name).save_pretrained(tmp_path)
    now = config_of(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(config | OLDER[name]))
    assert config_of(tmp_path) == now


def test_the_first_files_of_gemma_say_gelu_and_mean_tanh(tmp_path):
    theirs_of("gemma").save_pretrained(tmp_path)
    now = config_of(tmp_path)
    assert now.decoder.feedforward.activation == "gelu_tanh"
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu", "hidden_activation": None}))
    assert config_of(tmp_path) == now


STRANGE = (None, -1, 0, 1, 2**40, 10**400, "x", [], {}, True, 1.5, float("nan"), -0.5, ["x"], {"a": 1})


@pytest.mark.parametrize("name", [*(name for name in MODELS if " " not in name), "llama yarn"])
def test_strange_settings_are_refused_or_read(name, tmp_path):
    """Each setting in turn, and each setting within one, is something else: one sentence, never another error."""
    path = tmp_path / "config.json"
    config = json.loads(theirs_of(name).config.to_json_string())
    inner = [(key, part) for key, part in config.items() if isinstance(part, dict)]
    for strange in STRANGE:
        changed = [{key: strange} for key in config]
        changed += [{key: {**part, within: strange}} for key, part in inner for within in part]
        for change in changed:
            path.write_text(json.dumps(config | change))
            with suppress(RegardError):
                config_of(tmp_path)
