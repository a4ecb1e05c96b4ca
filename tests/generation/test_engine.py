"""The engine against plain recomputation: nothing but prompt, seed and settings decides what is written."""

import pytest
import torch

from regard.generation import Generation, Sampling, generate
from regard.settings import RegardError
from tests.generation.models import decoder, prompts, windowed

MODELS = {
    "learned": lambda: decoder("learned"),
    "rotary": lambda: decoder("rotary"),
    "sinusoidal": lambda: decoder("sinusoidal"),
    "windowed": windowed,
    "grouped": lambda: decoder("rotary", n_heads=6, n_kv_heads=2, head_dim=4),
}
SETTINGS = {
    "plain": Sampling(seed=5),
    "narrow": Sampling(seed=6, temperature=0.8, top_k=12, top_p=0.9, min_p=0.02, repetition_penalty=1.3),
    "greedy": Sampling(temperature=0, repetition_penalty=1.2),
}


@torch.inference_mode()
def greedy_by_hand(model, prompt, count, context):
    """Each token from the last `context` tokens, read anew without a cache."""
    text = list(prompt)
    for _ in range(count):
        text.append(int(model(torch.tensor([text[-context:]]))[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("name", MODELS)
def test_temperature_0_is_the_argmax_of_a_plain_forward_pass(name):
    model, (prompt,) = MODELS[name](), prompts([5])
    assert generate(model, [prompt], Sampling(temperature=0), 15) == [greedy_by_hand(model, prompt, 15, 24)]


@pytest.mark.parametrize("length", [3, 20, 24, 31])
@pytest.mark.parametrize("name", MODELS)
def test_past_the_context_each_token_sees_the_newest_window(name, length):
    model, (prompt,) = MODELS[name](), prompts([length])
    assert generate(model, [prompt], Sampling(temperature=0), 30) == [greedy_by_hand(model, prompt, 30, 24)]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_unequal_prompts_writes_what_each_writes_alone(name, settings):
    model, sampling = MODELS[name](), SETTINGS[settings]
    several = prompts([4, 1, 9, 23])
    end = range(0, 37, 6)  # common enough that rows leave the batch at different steps
    together = list(Generation(model, several, sampling, 20, end=end))
    for row, prompt in enumerate(several):
        alone = list(Generation(model, [prompt], sampling, 20, end=end))
        mine = [step for step in together if step.row == row]
        assert [step.id for step in mine] == [step.id for step in alone]
        assert [step.finished for step in mine] == [step.finished for step in alone]
        for one, other in zip(mine, alone, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-9)
            assert one.sampling_probability == pytest.approx(other.sampling_probability, abs=1e-9)
    assert len({len(ids) for ids in generate(model, several, sampling, 20, end=end)}) > 1


def test_four_samples_are_the_four_runs_with_their_seeds():
    model, several = decoder(), prompts([4, 7])
    four = generate(model, several, Sampling(seed=10), 12, samples=4)
    alone = [generate(model, [prompt], Sampling(seed=10 + i), 12)[0] for prompt in several for i in range(4)]
    assert four == alone
    assert len({tuple(ids) for ids in four}) == 8


def test_the_same_seed_writes_the_same_and_no_seed_another():
    model, (prompt,) = decoder(), prompts([4])
    assert generate(model, [prompt], Sampling(seed=1), 20) == generate(model, [prompt], Sampling(seed=1), 20)
    assert generate(model, [prompt], Sampling(), 20) != generate(model, [prompt], Sampling(), 20)


@torch.inference_mode()
def test_probabilities_are_the_models_own_whatever_the_sampling():
    model, (prompt,) = decoder(), prompts([6])
    steps = list(Generation(model, [prompt], Sampling(seed=2, temperature=0.5, top_k=5), 10, candidates=4))
    text = list(prompt)
    for step in steps:
        own = model(torch.tensor([text]))[0, -1].log_softmax(-1)
        assert step.log_probability == pytest.approx(own[step.id].item(), abs=1e-9)
        assert step.probability == pytest.approx(own[step.id].exp().item(), abs=1e-9)
        narrowed = (own.topk(5).values / 0.5).softmax(-1)
        place = own.topk(5).indices.tolist().index(step.id)
        assert step.sampling_probability == pytest.approx(narrowed[place].item(), abs=1e-9)
        best = own.topk(4)
        assert [c.id for c in step.candidates] == best.indices.tolist()
        assert [c.probability for c in step.candidates] == pytest.approx(best.values.exp().tolist(), abs=1e-9)
        text.append(step.id)


@torch.inference_mode()
def test_a_penalty_knows_the_prompt_and_what_was_written():
    model, (prompt,) = decoder(), prompts([6])
    text = list(prompt)
    for _ in range(10):
        z = model(torch.tensor([text]))[0, -1]
        text.append(max(range(37), key=lambda w: z[w] if w not in text else z[w] / 1.5 if z[w] > 0 else z[w] * 1.5))
    assert generate(model, [prompt], Sampling(temperature=0, repetition_penalty=1.5), 10) == [text[6:]]


def test_each_step_is_one_call_of_the_model_on_one_token():
    model, calls = decoder(), []
    model.decoder.register_forward_pre_hook(lambda _, given: calls.append(tuple(given[0].shape)))
    generate(model, prompts([3, 5]), Sampling(seed=0), 6, samples=2)
    assert calls == [(2, 5), *[(4, 1)] * 5]  # prompts are read once, not once a sample


def test_a_row_that_its_reader_finishes_leaves():
    model = decoder()
    generation = Generation(model, prompts([3, 5]), Sampling(seed=0), 6)
    steps = []
    for step in generation:
        steps.append(step.row)
        if step.row == 0 and steps.count(0) == 2:
            generation.finish(0)
    assert steps.count(0) == 2
    assert steps.count(1) == 6


def test_end_and_limit_are_told():
    model, (prompt,) = decoder(), prompts([3])
    free = list(Generation(model, [prompt], Sampling(seed=4), 8))
    assert [step.finished for step in free] == [None] * 7 + ["limit"]
    end = free[5].id
    first = [step.id for step in free].index(end)
    ended = list(Generation(model, [prompt], Sampling(seed=4), 8, end=end))
    assert [step.id for step in ended] == [step.id for step in free][: first + 1]
    assert ended[-1].finished == "end"
    assert generate(model, [prompt], Sampling(seed=4), 8, end=end) == [[step.id for step in free][:first]]


def test_a_model_in_training_writes_without_dropout_and_stays_in_training():
    model = decoder(dropout=0.5)
    expected = generate(model, prompts([3]), Sampling(seed=0), 10)
    model.train()
    assert generate(model, prompts([3]), Sampling(seed=0), 10) == expected
    assert model.training


def test_refused_is_one_sentence():
    model = decoder()
    with pytest.raises(RegardError, match=r"prompt 2 is empty"):
        generate(model, [[1], []])
    with pytest.raises(RegardError, match=r"holds the id 40"):
        generate(model, [[1, 40]])
    with pytest.raises(RegardError, match=r"30 tokens long, and the model sees 24"):
        generate(model, prompts([30]), overflow="refuse")
    with pytest.raises(RegardError, match=r"ask for 5 at most"):
        generate(model, prompts([20]), limit=6, overflow="refuse")
    assert len(generate(model, prompts([20]), limit=5, overflow="refuse")[0]) == 5
    with torch.no_grad():
        model.decoder.layers[0].feedforward.requires_grad_(False)
        next(model.decoder.layers[1].feedforward.parameters()).fill_(float("nan"))
    for temperature in (0.0, 1.0):
        with pytest.raises(RegardError, match=r"not finite"):
            generate(model, [[1]], Sampling(temperature=temperature))
