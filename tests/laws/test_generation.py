"""A law of every decoder: what it writes depends on nothing but the prompt, the seed and the settings."""

import pytest
import torch

from regard.attention import Padding
from regard.generation import Generation, Sampling, generate
from tests.laws.members import CONTEXT, DECODERS, VOCAB, rich, source

WRITERS = {name: config for name, config in DECODERS.items() if config.family == "decoder"}
TRANSLATORS = {name: config for name, config in DECODERS.items() if config.family != "decoder"}


def prompts(*lengths: int) -> list[list[int]]:
    random = torch.Generator().manual_seed(5)
    return [torch.randint(VOCAB, (n,), generator=random).tolist() for n in lengths]


@pytest.mark.parametrize("name", WRITERS)
def test_a_batch_writes_what_each_prompt_writes_alone(name):
    model, several = rich(WRITERS[name]), prompts(5, 1, 9)
    sampling, end = Sampling(seed=3), range(0, VOCAB, 8)
    together = list(Generation(model, several, sampling, 6, end=end))
    for row, prompt in enumerate(several):
        alone = list(Generation(model, [prompt], sampling, 6, end=end))
        mine = [step for step in together if step.row == row]
        assert [(step.id, step.finished) for step in mine] == [(step.id, step.finished) for step in alone]
        own = torch.tensor([[step.log_probability for step in steps] for steps in (mine, alone)], dtype=torch.float64)
        assert torch.allclose(own[0], own[1], atol=1e-9)


@torch.inference_mode()
@pytest.mark.parametrize("name", WRITERS)
def test_greedy_with_a_cache_and_past_the_context_is_the_argmax_of_plain_passes(name):
    model, (prompt,) = rich(WRITERS[name]), prompts(CONTEXT - 3)
    text = list(prompt)
    for _ in range(6):
        text.append(int(model(torch.tensor([text[-CONTEXT:]]))[0, -1].argmax()))
    assert generate(model, [prompt], Sampling(temperature=0), 6) == [text[len(prompt) :]]


@torch.inference_mode()
@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_translator_writes_the_same_alone_and_in_a_batch(name):
    model, several = rich(TRANSLATORS[name]), prompts(2, 1, 4)
    sources, lengths = source(model, 3, 7), torch.tensor([7, 3, 5])
    greedy = Sampling(temperature=0)
    together = generate(
        model, several, greedy, 5, end=range(0, VOCAB, 8), encoded=model.encode(sources, Padding(lengths))
    )
    for row, prompt in enumerate(several):
        text, mine = list(prompt), sources[row : row + 1, : lengths[row]]
        for _ in range(5):
            text.append(int(model(torch.tensor([text]), source=mine)[0, -1].argmax()))
            if text[-1] % 8 == 0:
                text.pop()
                break
        assert together[row] == text[len(prompt) :]
