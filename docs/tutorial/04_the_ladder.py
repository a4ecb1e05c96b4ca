"""Tutorial 4: the ladder, from self-attention without weights to many heads in one projection.

Run it: python docs/tutorial/04_the_ladder.py
"""

import math

import torch

import regard as rg
from regard.attention import Attention, Causal, CausalHead, Mask, Simplified, SingleHead, StackedHeads, View
from regard.layers import Sizes, taps
from regard.positions import PositionModule

torch.manual_seed(0)
torch.set_grad_enabled(False)

# Six words, each with four features made up by hand: animal, food, movement, and how much it tells.
words = ["the", "cat", "ran", "to", "its", "fish"]
x = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.2],  # the
        [2.0, 0.3, 0.8, 1.0],  # cat
        [0.6, 0.0, 2.0, 0.9],  # ran
        [0.0, 0.0, 1.0, 0.2],  # to
        [0.8, 0.0, 0.0, 0.3],  # its
        [1.4, 1.8, 0.5, 1.0],  # fish
    ]
)


def show(title, weights):
    """Who looks at whom, in percent: a row looks, a column is seen."""
    print(f"\n{title}\n{'':6}" + "".join(f"{word:>6}" for word in words))
    for word, row in zip(words, weights, strict=True):
        print(f"{word:6}" + "".join(f"{share:6.0%}" if share else "     ·" for share in row.tolist()))


def look(attention, mask):
    """Run one layer on the sentence; gives what it puts out, and its weights by head."""
    heard = {}
    slots = torch.arange(len(words))[None]
    with taps(heard.__setitem__):
        y = attention(x[None], None, View(mask, slots, slots, square=True), PositionModule(), None)
    return y[0], heard["weights"][0]


def build(settings: Attention, n_heads: int = 1):
    """One layer of 4 features, with random weights."""
    sizes = Sizes(d_model=4, n_heads=n_heads, n_kv_heads=n_heads, head_dim=4 // n_heads, d_ff=16, context_length=8)
    attention = settings.build(sizes).eval()
    for parameter in attention.parameters():
        parameter.normal_(std=0.6)
    return attention


# Rung 1: no weights. A word looks at the words that are like it, and becomes a mixture of them.
weights = (x @ x.T / math.sqrt(4)).softmax(-1)
y, same = look(build(Simplified()), Mask())
assert torch.allclose(weights, same[0], atol=1e-6)
assert torch.allclose(weights @ x, y, atol=1e-6)
show("rung 1, simplified: cat and fish are alike, so they look at each other", weights)

# Rung 2: what a word asks, how it answers and what it says are three matrices, which training will find. Now a word
# may look for something unlike itself, and a sees b as strongly as b sees a no longer.
single = build(SingleHead())
q, k, v = x @ single.q.weight.T, x @ single.k.weight.T, x @ single.v.weight.T
weights = (q @ k.T / math.sqrt(4)).softmax(-1)
y, same = look(single, Mask())
assert torch.allclose(weights, same[0], atol=1e-5)
assert torch.allclose(weights @ v, y, atol=1e-5)
show("rung 2, single_head: random weights, so it looks at random", weights)

# Rung 3: a model that writes must not read ahead. The future gets the score −∞, and so no share.
causal = build(CausalHead(dropout=0.5))
causal.load_state_dict(single.state_dict())
future = torch.ones(6, 6, dtype=torch.bool).triu(1)
weights = (q @ k.T / math.sqrt(4)).masked_fill(future, -math.inf).softmax(-1)
y, same = look(causal, Mask())
assert torch.allclose(weights, same[0], atol=1e-5)
show("rung 3, causal_head: the same, and nobody looks ahead", weights)

# In training, half of these weights are dropped and the rest doubled, so that no word relies on one other word.
y_train, _ = look(causal.train(), Mask())
for when, heard in (("after training", y[4]), ("in training", y_train[4])):
    print(f"\nwhat 'its' hears {when}:" + "".join(f"{feature:7.2f}" for feature in heard.tolist()), end="")
print()

# Rung 4: several heads of fewer features look in several ways, and W_o joins what they heard.
stacked = build(StackedHeads(), n_heads=2)
y, weights = look(stacked, Causal())
for number, head in enumerate(weights):
    show(f"rung 4, stacked_heads: head {number + 1} of 2", head)

# Rung 5: the heads' matrices under each other are one matrix, so one product makes all queries. The numbers stay.
dot = build(rg.Dot(), n_heads=2)
for name in ("q", "k", "v"):
    for end in ("weight", "bias"):
        rows = [getattr(getattr(head, name), end) for head in stacked.heads]
        getattr(getattr(dot, name), end).copy_(torch.cat(rows))
dot.o.load_state_dict(stacked.o.state_dict())
joined, same = look(dot, Causal())
assert torch.allclose(y, joined, atol=1e-5)
print("\nrung 5, dot: one projection for all heads; differs from rung 4 by at most", f"{(y - joined).abs().max():.0e}")

# Every rung can stand in a model: `regard train gpt model.decoder.attention.kind=single_head`.
for kind in ("simplified", "single_head", "causal_head", "stacked_heads", "dot"):
    stack = rg.StackConfig(n_layers=2, attention=Attention.resolve(kind))
    model = rg.Transformer(rg.ModelConfig(vocab_size=100, d_model=32, n_heads=4, decoder=stack))
    count = sum(p.numel() for name, p in model.named_parameters() if ".attention." in name)
    print(f"{kind:14} {count:6,} parameters in the attention of two layers of 32 features")
