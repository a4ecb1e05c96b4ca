"""Hugging Face folders, whole, damaged and hostile: right weights, or one sentence and no memory spent."""

import contextlib
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import regard as rg
from regard import RegardError
from regard.cli import main
from regard.interop.base import Cut
from regard.interop.folder import is_foreign, read
from regard.interop.weights import CONVERT
from regard.text import vocabularies

CONFIG = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 23,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
}


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A BERT as `transformers` writes it, with a vocab.txt."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    transformers.BertForMaskedLM(transformers.BertConfig(**CONFIG)).save_pretrained(folder)
    words = [*vocabularies.BERT.values(), *"abcdefghijklmnopq", "##a"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "bert")


def configure(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(folder, change):
    """The weights, changed by a function of the dict of them."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refused(folder, says):
    with pytest.raises(RegardError, match=says) as caught:
        read(folder)
    assert len(str(caught.value)) < 1500
    assert "\n" not in str(caught.value)


def state(folder):
    return read(folder, tokenizer=False).transformer.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# — whole —


def test_a_folder_and_back(folder, tmp_path):
    """Loaded, saved as a run's folder, loaded again: the same model, tokenizer and logits."""
    ours = rg.load(folder)
    assert is_foreign(folder)
    assert ours.family == "encoder"
    assert ours.name == "bert"
    assert set(ours.tokenizer.special) == {"unknown", "separator", "pad", "class", "mask"}
    again = rg.load(rg.save_model(tmp_path / "ours", ours.transformer, ours.tokenizer))
    assert again.config == ours.config
    assert again.tokenizer.special == ours.tokenizer.special
    ids = torch.tensor([[3, 6, 7, 8]])
    assert torch.equal(again.transformer(ids), ours.transformer(ids))


def test_another_tokenizer(folder, published):
    (folder / "vocab.txt").unlink()
    with pytest.raises(RegardError, match=r"no tokenizer\.json, and no vocab\.txt"):
        rg.load(folder)
    assert rg.load(folder, tokenizer=published).tokenizer.vocab_size == 23


def test_in_several_files(folder, published):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, some in parts.items():
        save_file({name: tensors[name] for name in some}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {name: file for file, some in parts.items() for name in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert same(state(folder), state(published))
    index[names[0]] = "b.safetensors"  # where it is not
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    refused(folder, f"{names[0].removeprefix('bert.')} is missing")


def test_names_of_before(folder, published):
    """Without `bert.` in front, norms with gamma and beta, and with what has no use."""

    def change(tensors):
        for name in list(tensors):
            other = name.removeprefix("bert.")
            if "LayerNorm" in name:
                other = other.replace("weight", "gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[other] = tensors.pop(name)
        tensors["embeddings.position_ids"] = torch.arange(16)[None]
        tensors["pooler.dense.weight"] = torch.zeros(12, 12)
        tensors["cls.seq_relationship.bias"] = torch.zeros(2)

    rewrite(folder, change)
    assert same(state(folder), state(published))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types(folder, dtype):
    rewrite(folder, lambda tensors: tensors.update({name: tensors[name].to(dtype) for name in tensors}))
    assert {tensor.dtype for tensor in state(folder).values()} == {dtype}


def test_mixed_types_become_float32(folder):
    rewrite(folder, lambda tensors: tensors.update({name: tensors[name].half() for name in list(tensors)[:3]}))
    assert {tensor.dtype for tensor in state(folder).values()} == {torch.float32}


def test_labels_have_their_names(folder):
    torch.manual_seed(0)
    names = {0: "bad", 1: "fair", 2: "good"}
    config = transformers.BertConfig(**{**CONFIG, "id2label": names, "label2id": {n: i for i, n in names.items()}})
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    assert read(folder).transformer.config.head.labels == ("bad", "fair", "good")
    configure(folder, id2label={"0": "bad", "7": "good"})
    refused(folder, "id2label must name the labels 0, 1, 2")


# — damaged —


def test_a_weight_too_few(folder):
    rewrite(folder, lambda tensors: tensors.pop("bert.encoder.layer.1.output.dense.bias"))
    refused(folder, r"encoder\.layer\.1\.output\.dense\.bias is missing")


def test_a_weight_too_many(folder):
    rewrite(folder, lambda tensors: tensors.update({"bert.encoder.layer.2.output.dense.bias": torch.zeros(12)}))
    refused(folder, r"encoder\.layer\.2\.output\.dense\.bias is not expected")


def test_a_weight_of_another_shape(folder):
    configure(folder, intermediate_size=21)
    refused(folder, r"has shape \[20\] where the settings say \[21\].*and \d+ more")


def test_a_weight_twice(folder):
    rewrite(folder, lambda tensors: tensors.update({"cls.predictions.beta": torch.zeros(23)}))
    refused(folder, "which are the same weight")


def test_a_copy_that_differs(folder):
    table = torch.zeros(23, 12)
    rewrite(folder, lambda tensors: tensors.update({"cls.predictions.decoder.weight": table}))
    refused(folder, r"decoder\.weight differs from embeddings\.word_embeddings\.weight")


def test_quantised(folder):
    name = "bert.encoder.layer.0.output.dense.bias"
    rewrite(folder, lambda tensors: tensors.update({name: torch.zeros(12, dtype=torch.int8)}))
    refused(folder, "of type I8, and only F64, F32, F16, BF16 are read")


@pytest.mark.parametrize("keep", [0, 4, 100, 4000, -1])
def test_cut_off(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, "is damaged")


def test_bits_flipped(folder, published):
    """Headers anyhow: a clear error, or a model of the right shapes."""
    path, whole = folder / "model.safetensors", (published / "model.safetensors").read_bytes()
    header = int.from_bytes(whole[:8], "little")
    random = torch.Generator().manual_seed(0)
    for at in torch.randint(0, 8 + header, (150,), generator=random).tolist():
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
        with contextlib.suppress(RegardError):
            read(folder, tokenizer=False)


def test_a_pickle_is_refused_and_converted(folder, published):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    refused(folder, r"has no model\.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    refused(folder, r"a pickle, which can run any program when it is opened.*weights_only=True")
    code = re.fullmatch(r'python -c "(.*)"', CONVERT).group(1)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert same(state(folder), state(published))


# — hostile —


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "berta"}, "'berta' cannot be read yet; did you mean 'bert'"),
        ({"model_type": ["bert"]}, "model_type .* must be a text"),
        ({"architectures": ["BertForNextSentencePrediction"]}, "BertForNextSentencePrediction, and what can be read"),
        ({"architectures": ["BertLMHeadModel"]}, "BertLMHeadModel, and what can be read"),
        ({"hidden_size": "12"}, "hidden_size is '12' and must be a whole number"),
        ({"hidden_size": None}, "hidden_size is missing and must be a whole number"),
        ({"hidden_size": True}, "must be a whole number"),
        ({"hidden_size": -12}, "d_model"),
        ({"hidden_size": 2**40}, "d_model"),
        ({"hidden_size": 13}, "cannot be split into 3 heads"),
        ({"vocab_size": 2**31}, "where the settings say"),
        ({"max_position_embeddings": 2**30}, "where the settings say"),
        ({"num_hidden_layers": 4096}, r"has \d+ weights, and config\.json says 4096 layers"),
        ({"num_hidden_layers": 10**12}, "n_layers"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps .* must be a number"),
        ({"hidden_dropout_prob": 2}, "dropout"),
        ({"hidden_act": "mish"}, "hidden_act 'mish' is not known here"),
        ({"hidden_act": "relu"}, "through hidden_act gelu"),
        ({"position_embedding_type": "relative_key"}, "cannot be expressed here; only 'absolute'"),
        ({"is_decoder": True}, "is_decoder True cannot be expressed"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings False cannot be expressed"),
    ],
)
def test_settings(folder, changes, says):
    configure(folder, **changes)
    refused(folder, says)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"model_type": {}}'])
def test_a_config_that_is_none(folder, data):
    (folder / "config.json").write_bytes(data)
    with pytest.raises(RegardError):
        rg.load(folder)


@pytest.mark.parametrize("file", ["../bert/model.safetensors", "/etc/passwd", "..", "a\\b.safetensors", 3, "x.bin"])
def test_an_index_that_leaves_the_folder(folder, file):
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    refused(folder, "no safetensors file of this folder|which file holds which weight")


def test_an_index_of_a_file_that_is_missing(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "a.safetensors"}}))
    refused(folder, r"a\.safetensors is missing")


# — sentence-transformers —


def sentences(folder, pooling, normalise=True, path="1_Pooling"):
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("cls.")])
    configure(folder, architectures=["BertModel"])
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    places = ["", path, "2_Normalize"]
    modules = [{"path": at, "type": f"sentence_transformers.models.{kind}"} for kind, at in zip(kinds, places)]  # noqa: B905
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
@pytest.mark.parametrize("normalise", [False, True])
def test_sentences(folder, pooling, expected, normalise):
    sentences(folder, pooling, normalise)
    head = read(folder).transformer.config.head
    assert (head.kind, head.pooling, head.normalise, head.length) == ("embed", expected, normalise, None)


def test_sentences_are_read_as_far_as_was_learnt(folder):
    sentences(folder, {"pooling_mode": "mean"})
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    assert read(folder).transformer.config.head.length == 12
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": "12"}))
    refused(folder, "max_seq_length is '12' and must be a whole number")


@pytest.mark.parametrize(
    ("pooling", "path", "says"),
    [
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "1_Pooling", "pooling by mean_sqrt_len is not known"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "1_Pooling", "by max and mean"),
        ({}, "1_Pooling", "pooling by None"),
        ({"pooling_mode": "mean"}, "..", "no folder within this one"),
        ({"pooling_mode": "mean"}, "../bert/1_Pooling", "no folder within this one"),
        ({"pooling_mode": "mean"}, "/etc", "no folder within this one"),
        ({"pooling_mode": "mean"}, "3_Pooling", "config.json is missing"),
    ],
)
def test_sentences_of_another_kind(folder, pooling, path, says):
    sentences(folder, pooling, path=path)
    refused(folder, says)


def test_a_module_that_is_not_known(folder):
    sentences(folder, {"pooling_mode": "mean"})
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules[:2], {"path": "2_Dense", "type": "a.b.Dense"}]))
    refused(folder, "lists Transformer, Pooling, Dense, and what can be expressed")


# — the engine —


def test_a_cut():
    """Parts of fused tensors, of equal shares or not, in groups, turned, or stacked; and the way back."""
    whole = torch.arange(24.0).view(6, 4)
    cases = {
        Cut("w", part=1, of=3): (whole, [2, 3]),
        Cut("w", part=1, of=3, transposed=True): (whole.t().contiguous(), [2, 3]),
        Cut("w", part=1, of=(3, 2, 1)): (whole, [3, 4]),
        Cut("w", part=2, of=3, groups=2): (whole, [2, 5]),
    }
    for cut, (theirs, rows) in cases.items():
        ours = whole[rows]
        assert cut.whole(tuple(ours.shape)) == tuple(theirs.shape)
        assert torch.equal(cut.taken({"w": theirs}), ours)
        back = {"w": torch.full_like(theirs, -1)}
        cut.put(ours, back)
        assert torch.equal(cut.taken(back), ours)
        assert (back["w"] == -1).sum() == 24 - ours.numel()
    bias = Cut("b", part=1, of=3, transposed=True)
    assert bias.whole((2,)) == (6,)
    assert torch.equal(bias.taken({"b": torch.arange(6)}), torch.tensor([2, 3]))
    experts = Cut("e.#.w", stacked=2)
    assert experts.names == ["e.0.w", "e.1.w"]
    assert experts.whole((2, 6, 4)) == (6, 4)
    both = {"e.0.w": whole, "e.1.w": -whole}
    stacked = experts.taken(both)
    assert torch.equal(stacked, torch.stack([whole, -whole]))
    back = {}
    experts.put(stacked, back)
    assert back.keys() == both.keys()
    assert all(torch.equal(back[name], both[name]) for name in both)


def test_show(folder, capsys):
    assert main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "2 layers of 3 heads of 4" in shown
    assert "learned" in shown
