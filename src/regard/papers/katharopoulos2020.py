"""Linear attention is a recurrent net: it learns in parallel as softmax attention does, and writes at constant cost.

    y_t = φ(q_t)ᵀ S_t / φ(q_t)ᵀ z_t        S_t = S_{t−1} + φ(k_t) v_tᵀ        z_t = z_{t−1} + φ(k_t)

A step of generation after n tokens costs n² with softmax where nothing is kept, n with a cache, and 1 here.

Source   Katharopoulos et al. 2020, arXiv:2006.16236, §3.3–3.4, §4.1, tables 1 and 2, supplement.
Printed  images a second on a GPU, in batches as large as memory allows. CIFAR-10 (3,072 tokens, 16 layers): 0.004
         softmax, 17.85 linear: 4,462 times (table 2); softmax with a cache 0.32: linear is 56 times that (supplement).
         MNIST (784 tokens): 0.45 and 142.8, 317 times (table 1). The copy task (up to 128 of 10 symbols): the losses
         of both end at the same (figure 2, left).
Here     the three forms of one model on 300 tokens; the copy task with both mechanisms; the time of a token after 128
         to 3,072 others, one text on one core, in a decoder of 4 layers of 256, for linear attention and for softmax
         with a cache and without. The time of a whole text of 3,072 tokens is summed up from those.
Proxy    texts of 10 letters and 300 steps for 128 symbols; one text on a core for batches on a GPU, where the size of
         the batch (a state is small) is a part of the printed factors. No images are modelled.
"""

from __future__ import annotations

import torch

from regard.data.synthetic import TaskBatches
from regard.layers import formulas
from regard.model import ModelConfig, StackConfig, Transformer
from regard.papers.base import Check, Reproduction
from regard.papers.tools import MARKERS, accuracy, one_core, panels, seconds, task_loss, train
from regard.training.schedules import Cosine

LENGTHS = (128, 384, 784, 1536, 3072)


def decoder(kind: str, vocab_size: int, d: int, layers: int, context: int, position: str, seed: int) -> Transformer:
    stack = StackConfig.from_dict({"n_layers": layers, "attention": kind, "position": position, "residual": "pre"})
    return Transformer(
        ModelConfig(vocab_size=vocab_size, d_model=d, n_heads=4, context_length=context, decoder=stack), seed
    )


@torch.no_grad()
def forms(seed: int) -> tuple[float, float]:
    """The largest difference of the chunked form, and of the recurrent one, from the parallel one: of all logits."""
    model = decoder("linear", 29, 64, 2, 512, "sinusoidal", seed).double().eval()
    ids = torch.randint(29, (1, 300), generator=torch.Generator().manual_seed(seed))
    with formulas():
        parallel = model(ids)
    cache = model.cache(1)
    recurrent = torch.cat([model(ids[:, t : t + 1], cache=cache) for t in range(300)], 1)
    return ((model(ids) - parallel).abs().max().item(), (recurrent - parallel).abs().max().item())


def copying(kind: str, seed: int, steps: int = 300) -> tuple[list[float], float]:
    """The loss by step, and the share of right letters at the end, of the copy task."""
    batches = TaskBatches("copy", batch_size=32, symbols=10, lengths=(10, 10), seed=seed)
    model = decoder(kind, batches.vocab_size, 64, 2, 32, "learned", seed)
    losses = train(model, task_loss(model, batches), steps, schedule=Cosine(learning_rate=6e-3, warmup=30), clip=1.0)
    return losses, accuracy(model, batches.at(10**6))


@torch.inference_mode()
def steps_after(length: int, seed: int) -> dict[str, float]:
    """Seconds of one more token after `length` tokens."""
    ids = torch.zeros(1, length, dtype=torch.long)
    found = {}
    for name, kind in (("linear", "linear"), ("softmax, cache", "dot")):
        model = decoder(kind, 256, 256, 4, LENGTHS[-1] + 64, "sinusoidal", seed).eval()
        cache = model.cache(1, LENGTHS[-1] + 64)
        for piece in ids.split(512, dim=1):
            model.hidden(piece, cache=cache)
        found[name] = seconds(lambda: model(ids[:, :1], cache=cache), 15)  # noqa: B023
        if kind == "dot":
            found["softmax"] = seconds(lambda: model.hidden(ids)[:, -1:], 1)  # noqa: B023
    return found


def whole(times: list[float]) -> float:
    """Seconds of a text of LENGTHS[-1] tokens, by the trapezoids between the lengths that were measured."""
    total, before, last = 0.0, 0, times[0]
    for length, each in zip(LENGTHS, times, strict=True):
        total, before, last = total + (length - before) * (each + last) / 2, length, each
    return total


def reproduce(seed: int = 0) -> Reproduction:
    chunked, recurrent = forms(seed)
    with one_core():
        curves = {name: copying(kind, seed) for name, kind in (("linear", "linear"), ("softmax", "dot"))}
        each = [steps_after(length, seed) for length in LENGTHS]
    times = {name: [row[name] for row in each] for name in each[0]}
    text = {name: whole(row) for name, row in times.items()}
    final = {name: sum(losses[-20:]) / 20 for name, (losses, _) in curves.items()}
    flat = times["linear"][-1] / times["linear"][0]
    bare, cached = (text[name] / text["linear"] for name in ("softmax", "softmax, cache"))
    checks = (
        Check(
            "The parallel form, the chunked one and the recurrent one are the same function",
            "exactly (§3.4)",
            f"logits of 300 tokens in float64 differ by at most {max(chunked, recurrent):.1e}",
            max(chunked, recurrent) < 1e-10,
        ),
        Check(
            "On the copy task linear attention reaches the loss of softmax attention",
            "the same at the end (figure 2, left; no number)",
            ", ".join(f"{name} {final[name]:.4f} nats, {curves[name][1]:.0%} of letters right" for name in final),
            final["linear"] < final["softmax"] + 0.02,
        ),
        Check(
            "A step of generation costs the same whatever went before",
            "constant time and memory (§3.4)",
            f"{times['linear'][0] * 1e3:.2f} ms after {LENGTHS[0]} tokens, {times['linear'][-1] * 1e3:.2f} ms after "
            f"{LENGTHS[-1]:,}: {flat:.2f} times",
            flat < 1.5,
        ),
        Check(
            "Generation is orders of magnitude faster than softmax that keeps nothing, the more the longer",
            "4,462 times for 3,072 tokens, 317 times for 784 (tables 2 and 1: GPU, large batches)",
            f"a text of 3,072 tokens: {text['softmax']:.0f} s against {text['linear']:.1f} s, {bare:.0f} times; one "
            f"more token after 784: {times['softmax'][2] / times['linear'][2]:.0f} times, after 3,072: "
            f"{times['softmax'][-1] / times['linear'][-1]:.0f} times",
            bare > 30 and times["softmax"][-1] / times["linear"][-1] > times["softmax"][0] / times["linear"][0],
        ),
        Check(
            "It is faster than softmax with a cache, too",
            "56 times for 3,072 tokens (17.85 against 0.32 images a second, supplement: GPU, large batches)",
            f"a text of 3,072 tokens: {text['softmax, cache']:.1f} s against {text['linear']:.1f} s, {cached:.2f} "
            f"times; one more token after 3,072: {times['softmax, cache'][-1] / times['linear'][-1]:.2f} times",
            cached > 1,
        ),
    )

    picture, (left, right) = panels(2, width=9.0)
    for (name, (losses, _)), style in zip(curves.items(), ("-", "--"), strict=True):
        left.semilogy(losses, style, label=name)
    left.set(xlabel="step", ylabel="loss (nats a letter)", title="Copying 10 letters")
    for (name, row), marker in zip(times.items(), MARKERS, strict=False):
        right.loglog(LENGTHS, [value * 1e3 for value in row], marker + "-", label=name, markersize=4)
    right.set_xticks(LENGTHS, map(str, LENGTHS))
    right.minorticks_off()
    right.set(xlabel="tokens before", ylabel="time of one more (ms)", title="A step of generation, one core")
    for axes in (left, right):
        axes.legend(fontsize=8, frameon=False)
    notes = (
        f"The printed 4,462 is against softmax that computes everything again for each token; against one with a cache "
        f"it is 56. Here, one text on one core: {bare:.0f} and {cached:.2f}. What a batch on a GPU adds to the second "
        "is memory: a cache of 3,072 tokens leaves room for fewer images at once, a state does not grow.",
    )
    return Reproduction(checks, picture, notes)
