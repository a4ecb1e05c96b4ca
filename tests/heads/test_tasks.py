"""The tasks' heads against their formulas, a number at a time, and in whole models."""

import math

import pytest
import torch

from regard.attention import Mask, Padding
from regard.heads import Answer, Classify, Embed, Head, MultiLabel, Regress, Tag
from regard.layers import Sizes
from regard.model import ModelConfig, Transformer
from regard.planning import plan
from regard.settings import RegardError, SettingsError
from tests.laws.members import close

D = 4
SIZES = Sizes(d_model=D, n_heads=2, n_kv_heads=2, head_dim=2, d_ff=8, context_length=16, place="head")
LENGTHS = [3, 5, 1, 4]


def build(head, seed=0):
    made, random = head.build(11, SIZES, None).double(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    return made


def vectors(rows=4, seed=1):
    return torch.randn(rows, 5, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(numbers):
    powers = [math.exp(number) for number in numbers]
    return [power / sum(powers) for power in powers]


def mapped(linear, vector):
    """W v + b, a number at a time."""
    bias = [0.0] * len(linear.matrix()) if linear.bias is None else linear.bias.tolist()
    return [
        sum(w * x for w, x in zip(r, vector, strict=True)) + b
        for r, b in zip(linear.matrix().tolist(), bias, strict=True)
    ]


POOL = {
    "first": lambda tokens: tokens[0],
    "mean": lambda tokens: [sum(column) / len(tokens) for column in zip(*tokens, strict=True)],
    "max": lambda tokens: [max(column) for column in zip(*tokens, strict=True)],
}
SHAPE = {
    "none": lambda x: x,
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}


def logits_by_hand(made, x, lengths, pooling, transform, side):
    found = []
    for row, n in zip(x.tolist(), lengths, strict=True):
        vector = POOL[pooling](row[:n] if side == "right" else row[len(row) - n :])
        if transform != "none":
            vector = [SHAPE[transform](number) for number in mapped(made.dense, vector)]
        found.append(mapped(made.output, vector))
    return found


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("transform", SHAPE)
@pytest.mark.parametrize("pooling", POOL)
def test_logits_are_the_formula(pooling, transform, side):
    made, x = build(Classify(labels=("a", "b", "c"), pooling=pooling, transform=transform)), vectors()
    mask = Padding(torch.tensor(LENGTHS)) if side == "right" else Padding.left(torch.tensor(LENGTHS), 5)
    wanted = logits_by_hand(made, x, LENGTHS, pooling, transform, side)
    close(made(x, None, mask=mask), torch.tensor(wanted, dtype=torch.float64))
    wanted = logits_by_hand(made, x, [5] * 4, pooling, transform, side)
    close(made(x, None), torch.tensor(wanted, dtype=torch.float64))


def test_the_loss_of_labels_with_weights_and_smoothing():
    weights, y, epsilon = (0.5, 1.0, 3.0), [2, -100, 0, 1], 0.1
    made, x = build(Classify(labels=("a", "b", "c"), weights=weights)), vectors()
    plain = weighted = 0.0
    for logits, label in zip(made(x, None).tolist(), y, strict=True):
        if label != -100:
            log_p = [math.log(p) for p in softmax(logits)]
            plain -= log_p[label]
            weighted -= weights[label] * ((1 - epsilon) * log_p[label] + epsilon * sum(log_p) / 3)
    loss = made(x, None, torch.tensor(y), smoothing=epsilon)
    assert math.isclose(loss.objective.item(), weighted)
    assert math.isclose(loss.nll.sum().item(), plain)
    assert loss.nll[1] == 0
    assert loss.target_count == 3


def test_r_drop_adds_how_far_the_two_halves_are_apart():
    made, x, alpha = build(Classify(labels=("a", "b", "c"))), vectors(), 0.7
    p = [softmax(row) for row in made(x, None).tolist()]
    apart = 0.0
    for one, other in ((p[0], p[2]), (p[1], p[3])):
        apart += sum(a * math.log(a / b) + b * math.log(b / a) for a, b in zip(one, other, strict=True)) / 2
    y = torch.tensor([0, 2, 0, 2])
    plain, both = made(x, None, y), made(x, None, y, r_drop=alpha)
    assert apart > 0.1
    assert math.isclose((both.objective - plain.objective).item(), alpha * apart)
    close(both.nll, plain.nll)
    same = torch.cat([x[:2], x[:2]])
    close(made(same, None, y, r_drop=alpha).objective, made(same, None, y).objective)
    unknown = torch.tensor([0, -100, 0, -100])  # what has no label asks for nothing
    first = apart - sum(a * math.log(a / b) + b * math.log(b / a) for a, b in zip(p[1], p[3], strict=True)) / 2
    added = made(x, None, unknown, r_drop=alpha).objective - made(x, None, unknown).objective
    assert math.isclose(added.item(), alpha * first)


def test_labels_each_for_itself():
    made, x = build(MultiLabel(labels=("a", "b", "c"), pooling="mean")), vectors(3)
    y = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [math.nan] * 3]
    wanted = []
    for logits, marks in zip(made(x, None).tolist()[:2], y, strict=False):
        p = [1 / (1 + math.exp(-number)) for number in logits]
        wanted.append(-sum(math.log(a if mark else 1 - a) for a, mark in zip(p, marks, strict=True)) / 3)
    loss = made(x, None, torch.tensor(y))
    close(loss.nll, torch.tensor([*wanted, 0.0], dtype=torch.float64))
    assert math.isclose(loss.objective.item(), sum(wanted))
    assert loss.target_count == 2
    loss.objective.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters())


def test_numbers_are_learnt_in_units_of_their_spread():
    made, x = build(Regress(mean=10.0, spread=4.0)), vectors(3)
    found = made(x, None)
    close(
        found, 10.0 + 4.0 * torch.tensor([mapped(made.output, row)[0] for row in x[:, 0].tolist()], dtype=torch.float64)
    )
    y = torch.tensor([12.0, math.nan, 7.0], dtype=torch.float64)
    loss = made(x, None, y)
    close(loss.nll, torch.stack([((12 - found[0]) / 4) ** 2, found[1] * 0, ((7 - found[2]) / 4) ** 2]))
    close(loss.objective, loss.nll.sum())
    assert loss.target_count == 2
    loss.objective.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters())


def test_tags_are_one_label_a_word():
    made, x = build(Tag(labels=("O", "B-x", "I-x"), weights=(1.0, 2.0, 3.0))), vectors(2)
    y = [[0, -100, 1, 2, -100], [1, -100, -100, -100, -100]]
    plain, weighted = [], 0.0
    for row, tags in zip(x.tolist(), y, strict=True):
        for vector, tag in zip(row, tags, strict=True):
            plain.append(0.0 if tag == -100 else -math.log(softmax(mapped(made.output, vector))[tag]))
            weighted += 0.0 if tag == -100 else (tag + 1) * plain[-1]
    loss = made(x, None, torch.tensor(y), mask=Padding(torch.tensor([5, 2])))
    close(loss.nll.flatten(), torch.tensor(plain, dtype=torch.float64))
    assert math.isclose(loss.objective.item(), weighted)
    assert loss.target_count == 4


def test_an_answer_is_a_softmax_over_the_real_places():
    made, x = build(Answer(no_answer=True)), vectors(3)
    y, lengths = [[1, 2], [0, 0], [-100, -100]], [3, 5, 2]
    wanted = []
    for row, places, n in zip(x.tolist(), y, lengths, strict=True):
        scores = list(zip(*(mapped(made.output, vector) for vector in row[:n]), strict=True))
        ends = [-math.log(softmax(list(s))[at]) for s, at in zip(scores, places, strict=True) if at != -100]
        wanted.append(sum(ends) / 2)
    loss = made(x, None, torch.tensor(y), mask=Padding(torch.tensor(lengths)))
    close(loss.nll, torch.tensor(wanted, dtype=torch.float64))
    assert math.isclose(loss.objective.item(), sum(wanted))
    assert loss.target_count == 2
    assert made(x, None).shape == (3, 5, 2)


def cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize("size", [None, 3])
def test_a_text_finds_its_own_among_all_that_are_no_anchors(size):
    made, x = build(Embed(scale=5.0, size=size)), vectors(5)
    lengths, belongs = [3, 5, 1, 4, 2], {0: 3, 2: 1}  # rows 1, 3 and 4 are candidates, and 4 is nobody's
    e = [POOL["mean"](row[:n]) for row, n in zip(x.tolist(), lengths, strict=True)]
    if size:
        e = [mapped(made.output, vector) for vector in e]
    wanted = [0.0] * 5
    for anchor, own in belongs.items():
        scores = [5.0 * cosine(e[anchor], e[row]) for row in (1, 3, 4)]
        wanted[anchor] = -math.log(softmax(scores)[(1, 3, 4).index(own)])
    mask = Padding(torch.tensor(lengths))
    loss = made(x, None, torch.tensor([3, -100, 1, -100, -100]), mask=mask)
    close(loss.nll, torch.tensor(wanted, dtype=torch.float64))
    assert math.isclose(loss.objective.item(), sum(wanted))
    assert loss.target_count == 2
    found = made(x, None, mask=mask)
    close(found.norm(dim=-1), torch.ones(5, dtype=torch.float64))
    close(found @ found.t(), torch.tensor([[cosine(a, b) for b in e] for a in e], dtype=torch.float64))


def test_pairs_may_be_learnt_both_ways():
    """Then all are anchors and all are candidates, but none is its own."""
    made, x = build(Embed(scale=5.0)), vectors()
    e, wanted = x.mean(1).tolist(), []
    for anchor, own in enumerate((2, 3, 0, 1)):
        others = [row for row in range(4) if row != anchor]
        wanted.append(-math.log(softmax([5.0 * cosine(e[anchor], e[row]) for row in others])[others.index(own)]))
    close(made(x, None, torch.tensor([2, 3, 0, 1])).nll, torch.tensor(wanted, dtype=torch.float64))


def test_vectors_keep_their_length_where_asked():
    x = vectors()
    close(build(Embed(normalise=False))(x, None), x.mean(1))


GRADIENTS = {
    "classify": (Classify(labels=("a", "b"), weights=(1.0, 3.0), transform="tanh"), torch.tensor([0, 1, -100, 1])),
    "multilabel": (MultiLabel(labels=("a", "b")), torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])),
    "regress": (Regress(mean=1.0, spread=2.0, pooling="max"), torch.tensor([1.0, math.nan, 3.0, 0.0])),
    "tag": (Tag(labels=("O", "B")), torch.tensor([[0, -100, 1, -100, -100]] * 4)),
    "answer": (Answer(), torch.tensor([[1, 2], [0, 0], [0, 0], [2, 3]])),
    "embed": (Embed(), torch.tensor([2, 3, -100, -100])),
}


@pytest.mark.parametrize("kind", GRADIENTS)
def test_gradients_are_those_of_differences(kind):
    head, targets = GRADIENTS[kind]
    made, mask = build(head), Padding(torch.tensor(LENGTHS))
    x = vectors().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: made(x, None, targets, mask=mask).objective, x)


@pytest.mark.parametrize("kind", GRADIENTS)
def test_a_batch_without_targets_has_no_loss_and_finite_gradients(kind):
    head, targets = GRADIENTS[kind]
    made = build(head)
    nothing = torch.full_like(targets, -100 if not targets.is_floating_point() else math.nan)
    x = vectors().requires_grad_()
    loss = made(x, None, nothing)
    assert loss.objective == 0
    assert loss.target_count == 0
    loss.objective.backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *made.parameters()))


def model(family="encoder", **more):
    stack = {"n_layers": 1}
    values = {"vocab_size": 11, "d_model": 8, "n_heads": 2, "context_length": 12, **more}
    stacks = {name: stack if name in family.split("-") else None for name in ("encoder", "decoder")}
    return ModelConfig.from_dict({**values, **stacks})


WHOLE = [kind for kind, part in Head.kinds().items() if part.whole]


@pytest.mark.parametrize("family", ["decoder", "encoder-decoder"])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_head_of_a_whole_text_stands_on_an_encoder_only(kind, family):
    with pytest.raises(SettingsError, match=f"the head {kind} reads a whole text, so it stands on an encoder"):
        model(family, head={"kind": kind})


@pytest.mark.parametrize("kind", ["classify", "multilabel", "tag"])
def test_labels_must_have_names(kind):
    with pytest.raises(SettingsError, match=r"head\.labels is empty"):
        Transformer(model(head={"kind": kind}))
    if kind != "multilabel":
        with pytest.raises(SettingsError, match=r"head\.weights has 1 numbers for 2 labels"):
            Transformer(model(head={"kind": kind, "labels": ["a", "b"], "weights": [1.0]}))


def test_a_plan_counts_a_pooled_head_once_a_text_and_tags_once_a_token():
    bare = plan(model(head={"kind": "embed"}))
    pooled = plan(model(head={"kind": "classify", "labels": ["a", "b", "c"], "transform": "tanh"}))
    tagged = plan(model(head={"kind": "tag", "labels": ["a", "b", "c"]}))
    assert bare.parameters["head"] == 0
    assert "\nhead            embed\n" in str(bare)
    assert "\nhead            tag: a, b, c\n" in str(tagged)
    assert pooled.parameters["head"] == 8 * 8 + 8 + 3 * 8 + 3
    assert tagged.parameters["head"] == 3 * 8 + 3
    assert tagged.matmul_flops - bare.matmul_flops == 2 * 3 * 8
    assert abs(pooled.matmul_flops - bare.matmul_flops - 2 * (8 * 8 + 3 * 8) / 12) <= 1


def test_dropout_is_the_heads_own_where_it_has_one():
    asked = {"kind": "classify", "labels": ["a", "b"]}
    assert Transformer(model(dropout=0.1, head=asked)).head.dropout == 0.1
    assert Transformer(model(dropout=0.1, head={**asked, "dropout": 0.0})).head.dropout == 0.0


def test_order_is_added_to_the_hidden_words_in_training_only():
    made = Transformer(model(order={"weight": 0.5})).double()
    ids, words = torch.randint(11, (3, 6)), torch.full((3, 6), -100)
    words[:, 2:4] = ids[:, 2:4]
    order = torch.tensor([1, 0, -100])
    evaluated = made.eval()(ids, words, order=order)
    close(evaluated.objective, evaluated.nll.sum())
    trained = made.train()(ids, words, order=order)
    x = made.hidden(ids, mask=Mask())[:, 0]
    nats = 0.0
    for row, y in ((0, 1), (1, 0)):
        pooled = [math.tanh(number) for number in mapped(made.order.dense, x[row].tolist())]
        nats -= math.log(softmax(mapped(made.order.head, pooled))[y])
    assert math.isclose((trained.objective - evaluated.objective).item(), 0.5 * nats / 2 * 6)  # 6 words
    close(trained.nll, evaluated.nll)
    close(made(ids, words, order=torch.full((3,), -100)).objective, evaluated.objective)
    mine, without = plan(made.config), plan(made.config.replace(order=None))
    assert mine.parameters["head"] - without.parameters["head"] == 8 * 8 + 8 + 2 * 8 + 2


@pytest.mark.parametrize(
    "values", [{"family": "decoder"}, {"family": "encoder-decoder"}, {"head": {"kind": "regress"}}], ids=repr
)
def test_order_stands_beside_hidden_words_only(values):
    with pytest.raises(SettingsError, match="order stands beside the hidden words of an encoder"):
        model(**values, order={})


def test_packed_rows_are_refused_where_a_row_is_one_text():
    from regard.attention import Documents

    packed = Documents(torch.tensor([[0, 0, 1, 1, 1]]))
    with pytest.raises(RegardError, match="give each document a row of its own"):
        build(Answer())(vectors(1), None, torch.tensor([[1, 2]]), mask=packed)
