"""BERT, RoBERTa and DistilBERT, theirs and ours with the same random weights, through a folder on disk: equal hidden
states, equal outputs of every head, and a mutation of each quirk that must fail.
"""

import functools

import pytest
import torch
import transformers

from regard.attention import Padding
from regard.inputs import TokenInput
from regard.interop.folder import read
from regard.layers import LayerNorm
from regard.model import MLP, Transformer
from regard.positions import Learned
from regard.store import fill, tensors_of
from tests.parity.theirs import CONTEXT, HEADS, LAYERS, D, V, redraw

PAD, ROWS, LENGTH = 1, 8, 33
LENGTHS = torch.tensor([33, 7, 20, 1, 12, 33, 5, 26])
LABELS = 5

BERT = {
    "vocab_size": V,
    "hidden_size": D,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 50,
    "layer_norm_eps": 1e-2,  # large, so that another would show
    "pad_token_id": PAD,
}
DISTIL = {
    "vocab_size": V,
    "dim": D,
    "n_heads": HEADS,
    "n_layers": LAYERS,
    "hidden_dim": 50,
    "max_position_embeddings": CONTEXT,
}

ARCHITECTURES = {
    "bert": ("Bert", transformers.BertConfig(**BERT, max_position_embeddings=CONTEXT, type_vocab_size=3)),
    "roberta": (
        "Roberta",
        transformers.RobertaConfig(**BERT, max_position_embeddings=CONTEXT + PAD + 1, type_vocab_size=1),
    ),
    "xlm-roberta": (
        "XLMRoberta",
        transformers.XLMRobertaConfig(**BERT, max_position_embeddings=CONTEXT + PAD + 1, type_vocab_size=1),
    ),
    "camembert": (
        "Camembert",
        transformers.CamembertConfig(**BERT, max_position_embeddings=CONTEXT + PAD + 1, type_vocab_size=1),
    ),
    "distilbert": ("DistilBert", transformers.DistilBertConfig(**DISTIL, pad_token_id=PAD)),
}
TASKS = {
    "Model": {},
    "ForMaskedLM": {},
    "ForSequenceClassification": {"num_labels": LABELS},
    "ForTokenClassification": {"num_labels": LABELS},
    "ForQuestionAnswering": {},
}
every = pytest.mark.parametrize("name", ARCHITECTURES)


@functools.cache
def theirs_of(name, task="Model", **settings):
    """A model of theirs, every tensor drawn anew."""
    front, config = ARCHITECTURES[name]
    values = {key: value for key, value in config.to_dict().items() if key not in ("id2label", "label2id")}
    config = type(config)(**{**values, **TASKS[task], **settings})
    model = getattr(transformers, front + task)(config).eval()
    redraw(model)
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if part.startswith(("classifier", "qa_outputs")):
                parameter.mul_(3.0)  # so that outputs spread, too
    return model


def through_disk(theirs, folder):
    theirs.save_pretrained(folder)
    return read(folder, tokenizer=False).transformer


def texts():
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(2, V, (ROWS, LENGTH), generator=random)
    real = torch.arange(LENGTH) < LENGTHS[:, None]
    segments = torch.randint(0, 3, (ROWS, LENGTH), generator=random)
    return torch.where(real, ids, PAD), real, segments


@torch.no_grad()
def both(theirs, ours, hidden=False):
    """Theirs and ours of a padded batch, at the real places; with segments where there are any."""
    ids, real, segments = texts()
    some = theirs.config.model_type == "bert"
    more = {"token_type_ids": segments} if some else {}
    a = theirs(ids, attention_mask=real.long(), **more)
    run = ours.hidden if hidden else ours
    b = run(ids, mask=Padding(LENGTHS), segments=segments if some else None)
    if hidden:
        return a.last_hidden_state[real], b[real]
    if hasattr(a, "start_logits"):
        return torch.stack([a.start_logits, a.end_logits], -1)[real], b[real]
    return (a.logits[real], b[real]) if a.logits.dim() == 3 else (a.logits, b)


def check(a, b):
    assert a.max() - a.min() > 1  # so that a wrong bias or scale would show
    torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * a.abs().max().item())


@every
def test_hidden_states(name, tmp_path):
    theirs = theirs_of(name)
    check(*both(theirs, through_disk(theirs, tmp_path), hidden=True))


@every
@pytest.mark.parametrize("task", [task for task in TASKS if task != "Model"])
def test_heads(name, task, tmp_path):
    theirs = theirs_of(name, task)
    check(*both(theirs, through_disk(theirs, tmp_path)))


@every
def test_several_labels(name, tmp_path):
    theirs = theirs_of(name, "ForSequenceClassification", problem_type="multi_label_classification")
    ours = through_disk(theirs, tmp_path)
    assert ours.config.head.kind == "multilabel"
    check(*both(theirs, ours))


@every
def test_regression(name, tmp_path):
    theirs = theirs_of(name, "ForSequenceClassification", num_labels=1)
    ours = through_disk(theirs, tmp_path)
    assert ours.config.head.kind == "regress"
    a, b = both(theirs, ours)
    check(a[:, 0], b)


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu"])
def test_activations(activation, tmp_path):
    theirs = theirs_of("bert", hidden_act=activation)
    check(*both(theirs, through_disk(theirs, tmp_path), hidden=True))


def test_a_model_before_training(tmp_path):
    """BertForPreTraining, as the first BERT was published, with the names of norms as they were then."""
    theirs = theirs_of("bert", "ForMaskedLM")
    config = theirs.config
    whole = transformers.BertForPreTraining(config).eval()
    whole.load_state_dict(theirs.state_dict(), strict=False)
    check(*both(theirs, through_disk(whole, tmp_path)))


MUTATIONS = {
    "offset": ("roberta", lambda encoder: {"position": Learned(offset=1)}),
    "eps": ("bert", lambda encoder: {"norm": LayerNorm(eps=1e-12)}),
    "activation": ("bert", lambda encoder: {"feedforward": MLP(activation="gelu_tanh")}),
    "heads": ("bert", lambda encoder: {"n_heads": 2}),
}


@pytest.mark.parametrize("mutation", [*MUTATIONS, "segments", "input's eps", "input's norm"])
@torch.no_grad()
def test_a_mutation_fails(mutation, tmp_path):
    """A quirk left out, with the same weights."""
    name, change = MUTATIONS.get(mutation, ("bert", None))
    theirs = theirs_of(name)
    right = through_disk(theirs, tmp_path)
    config, tensors = right.config, tensors_of(right)
    if change is not None:
        config = config.replace(encoder=config.encoder.replace(**change(config.encoder)))
    elif mutation == "segments":
        config = config.replace(input=TokenInput(norm=config.input.norm))
        tensors.pop("encoder.input.segments.weight")
    elif mutation == "input's eps":
        config = config.replace(input=TokenInput(norm=LayerNorm(eps=1e-12), segments=3))
    else:
        config = config.replace(input=TokenInput(segments=3))
        tensors = {key: tensor for key, tensor in tensors.items() if "input.norm" not in key}
    if mutation == "offset":
        table = tensors["encoder.positions.0.table.weight"]
        tensors["encoder.positions.0.table.weight"] = table[: CONTEXT + 1]
    with torch.device("meta"):
        wrong = Transformer(config)
    fill(wrong, tensors)
    a, b = both(theirs, wrong.eval(), hidden=True)
    assert (a - b).abs().max() / a.abs().max() > 1e-4


@pytest.mark.parametrize(
    "change", [{"transform": "gelu"}, {"transform": "relu"}, {"transform": "tanh"}, {"pooling": "mean"}]
)
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_another_head_fails(name, change, tmp_path):
    theirs = theirs_of(name, "ForSequenceClassification")
    right = through_disk(theirs, tmp_path)
    head = right.config.head.replace(**change)
    wrong = Transformer(right.config.replace(head=head)).eval()
    fill(wrong, tensors_of(right))
    a, b = both(theirs, wrong)
    equal = (a - b).abs().max() / a.abs().max() < 1e-3
    assert equal == (head == right.config.head)
