"""What every comparison with another implementation shares: spread weights, ids, and the same two questions.

Weights are drawn so that logits spread by one or more, with head counts that are no power of two and padded batches,
since small weights hide wrong biases, scales and norms.
"""

import torch

from regard.attention import Padding

D, HEADS, LAYERS, V, CONTEXT = 36, 3, 3, 71, 40


def redraw(model, seed=0):
    """Every tensor anew; weights of norms around one."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * (0.25 if parameter.dim() > 1 else 0.3))
            if name.endswith("weight") and parameter.dim() == 1:
                parameter.add_(1.0)


def ids(rows=3, length=17):
    return torch.randint(1, V, (rows, length), generator=torch.Generator().manual_seed(4))


@torch.no_grad()
def difference(theirs, ours):
    """The largest difference of logits, relative to the largest logit."""
    a, b = theirs(ids()).logits, ours(ids())
    assert a.std() > 1
    return ((a - b).abs().max() / a.abs().max()).item()


@torch.no_grad()
def check_logits(theirs, ours):
    """Equal to 1e-5, also in a padded batch."""
    assert difference(theirs, ours) < 1e-5
    lengths = torch.tensor([5, 17, 11])
    seen = torch.arange(17) < lengths[:, None]
    a, b = theirs(ids(), attention_mask=seen.long()).logits, ours(ids(), mask=Padding(lengths))
    torch.testing.assert_close(b[seen], a[seen], rtol=1e-5, atol=1e-5 * a.abs().max().item())


@torch.no_grad()
def check_greedy(theirs, ours, tokens=30):
    """The same tokens, one after the other with a cache."""
    prompt = ids(2, 6)
    expected = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    cache, step, got = ours.cache(2, CONTEXT), prompt, [prompt]
    for _ in range(tokens):
        step = ours(step, cache=cache)[:, -1:].argmax(-1)
        got.append(step)
    assert torch.cat(got, 1).tolist() == expected.tolist()
