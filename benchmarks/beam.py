"""Beam search beside `transformers` generate: the same Marian weights, the same words out, in one process, in turn.

    python benchmarks/beam.py [--rounds 7] [--threads 2]

Target tokens a second of 32 sentences × 24 words with 4 beams (float32, two threads): 3 + 3 layers of width 256, a
feed-forward of 1024, a vocabulary of 8000. Weights are drawn with a spread, so that the beams have something to decide.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from peers import machine
from regard.feedforward import MLP
from regard.generation import Beam, beam_search
from regard.inputs import TokenInput
from regard.model import LanguageHead, ModelConfig, StackConfig, Transformer
from regard.positions import Sinusoidal

SENTENCES, WORDS, BEAMS, V, D, F, LAYERS, HEADS = 32, 24, 4, 8000, 256, 1024, 3, 4
BEGIN, END = V - 1, 0


def theirs() -> Any:
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=V, d_model=D, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=F, decoder_ffn_dim=F,
        max_position_embeddings=128, activation_function="relu", scale_embedding=True,
        pad_token_id=BEGIN, decoder_start_token_id=BEGIN, eos_token_id=END, forced_eos_token_id=None,
    )  # fmt: skip
    model = MarianMTModel(config).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, x in model.state_dict().items():
            if "positions" not in name and "norm" not in name:
                x.copy_(torch.randn(x.shape, generator=random) * (0.06 if x.dim() > 1 else 0.02))
    return model


def ours(model: Any) -> Transformer:
    """The same weights in this project's model."""
    stack = StackConfig(n_layers=LAYERS, position=Sinusoidal(layout="half"), feedforward=MLP(activation="relu"))
    config = ModelConfig(
        vocab_size=V, d_model=D, n_heads=HEADS, d_ff=F, context_length=128, encoder=stack, decoder=stack,
        input=TokenInput(scale="sqrt_d_model"), head=LanguageHead(bias=True),
    )  # fmt: skip
    mine, state = Transformer(config).eval(), model.state_dict()
    moved = {"head.bias": state["final_logits_bias"][0], "encoder.input.tokens.weight": state["model.shared.weight"]}
    moved["decoder.input.tokens.weight"] = moved["encoder.input.tokens.weight"]
    parts = {"attention": "self_attn", "cross": "encoder_attn"}
    for name in mine.state_dict():
        words = name.split(".")
        if words[1] != "layers":
            continue
        at = f"model.{words[0]}.layers.{words[2]}."
        if words[3] in parts:
            at += parts[words[3]] + (".out_proj" if words[4] == "o" else f".{words[4]}_proj")
        elif words[3] == "feedforward":
            at += {"up": "fc1", "down": "fc2"}[words[4]]
        else:
            norms = ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"]
            at += norms[int(words[5]) if words[0] == "decoder" else 2 * int(words[5])]
        moved[name] = state[f"{at}.{words[-1]}"]
    mine.load_state_dict(moved)
    return mine


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    rounds = options.rounds
    torch.set_num_threads(options.threads)
    peer = theirs()
    model = ours(peer)
    source = torch.randint(1, V - 1, (SENTENCES, WORDS), generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def of_transformers() -> list[list[int]]:
        found = peer.generate(
            source, attention_mask=torch.ones_like(source), num_beams=BEAMS, max_new_tokens=WORDS, do_sample=False,
            early_stopping="never", length_penalty=1.0,
        )  # fmt: skip
        return [[word for word in row if word not in (BEGIN, END)] for row in found[:, 1:].tolist()]

    @torch.inference_mode()
    def of_regard() -> list[list[int]]:
        beam = Beam(size=BEAMS)
        found = beam_search(model, [[BEGIN]] * SENTENCES, beam, WORDS, end=END, encoded=model.encode(source))
        return [row[0].ids for row in found]

    a, b = of_transformers(), of_regard()
    same = sum(x == y for x, y in zip(a, b, strict=True))
    words = sum(map(len, b))
    print(machine())
    print(f"{same} of {SENTENCES} translations are the same, {words} words in all")
    seconds: dict[str, list[float]] = {"transformers": [], "regard": []}
    for _ in range(rounds):
        for name, run in (("transformers", of_transformers), ("regard", of_regard)):
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    for name, times in seconds.items():
        ratio = statistics.median(x / y for x, y in zip(seconds["transformers"], times, strict=True))
        middle, best = words / statistics.median(times), words / min(times)
        print(f"  {name:<12} median {middle:6.0f} words/s   best {best:6.0f}   {ratio:5.2f} × transformers")


if __name__ == "__main__":
    main()
