"""Tutorial 2: attention, computed by hand, and the same from the library.

Run it: python docs/tutorial/02_attention_by_hand.py
"""

import math

import torch

import regard as rg
from regard.attention import Causal, View
from regard.layers import Sizes, formulas, taps
from regard.positions import PositionModule

torch.set_printoptions(precision=3, sci_mode=False)
torch.manual_seed(0)

# Three tokens, each a vector of four features.
x = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]])

# Each token makes a question (query), a label (key) and a message (value): three linear maps of its vector.
W_q, W_k, W_v = (torch.randn(4, 4) / 2 for _ in range(3))
q, k, v = x @ W_q.T, x @ W_k.T, x @ W_v.T

# How well does token s answer token t? The product of question and label, made small by √4.
scores = q @ k.T / math.sqrt(4)

# A language model must not read what it has to predict: a token sees itself and those before it.
future = torch.ones(3, 3, dtype=torch.bool).triu(1)
scores = scores.masked_fill(future, float("-inf"))

# Scores become shares that sum to one, and the messages are mixed by them.
weights = scores.softmax(-1)
mixed = weights @ v
print("who looks at whom (a row looks, a column is seen):\n", weights, sep="")
print("what each token has heard:\n", mixed, sep="")

# The library's mechanism is the same: one head of four features, no biases, no positions.
sizes = Sizes(d_model=4, n_heads=1, n_kv_heads=1, head_dim=4, d_ff=16, context_length=8)
attention = rg.Dot(bias="none").build(sizes)
with torch.no_grad():
    for linear, weight in ((attention.q, W_q), (attention.k, W_k), (attention.v, W_v), (attention.o, torch.eye(4))):
        linear.weight.copy_(weight)
slots = torch.arange(3)[None]
view = View(Causal(), slots, slots, square=True)
with torch.no_grad():
    theirs = attention(x[None], None, view, PositionModule(), None)[0]
assert torch.allclose(mixed, theirs, atol=1e-6)

# It took a fused kernel, which never holds the weights. Under `formulas()` it takes the plain formula instead,
# and `taps` lets one look at everything that has a name on the way.
heard = {}
with torch.no_grad(), formulas(), taps(lambda place, value: heard.update({place: value})):
    attention(x[None], None, view, PositionModule(), None)
print("taps:", ", ".join(f"{place} {list(value.shape)}" for place, value in heard.items()))
assert torch.allclose(heard["weights"][0, 0], weights, atol=1e-6)

# A whole model is this, a feed-forward part, norms and sums, some layers deep.
config = rg.ModelConfig(vocab_size=100, d_model=32, n_heads=4, decoder=rg.StackConfig(n_layers=2))
model = rg.Transformer(config).eval()
places = []
with torch.no_grad(), taps(lambda place, value: places.append(place)):
    logits = model(torch.tensor([[5, 17, 42]]))
print("a model's taps:", ", ".join(places))
print("it scores each of 100 words after each of 3:", list(logits.shape))
