"""An encoder evaluated by its task: the same numbers as from its predictions, one by one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from regard import heads
from regard.bundle import Model
from regard.data.example_store import Encoded, Row, Targets, make_examples
from regard.evaluation import Bootstrap
from regard.evaluation.encoders import evaluate_examples
from regard.evaluation.tags import tag_scores
from regard.prediction import Answerer, Classifier, Embedder, MultiLabeller, Regressor, Tagger
from regard.settings import RegardError
from regard.text.words import entities
from tests.prediction.models import byte_tokenizer, encoder, wordpiece

LABELS = ("bad", "good", "so so")
FEW = Bootstrap(samples=20)
TEXTS = ("hello", "a b c", "zz", "wonderful", "no", "yes indeed", "q", "rather long text", "x y", "hm")


def bundle(head, tokenizer=None, folder=None, **options):
    tokenizer = tokenizer or byte_tokenizer()
    return Model(encoder(head, tokenizer.vocab_size, **options), tokenizer, "small", folder)


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def classes(tmp_path):
    rows = [f"{text}\t{LABELS[place % 3]}" for place, text in enumerate(TEXTS)]
    return written(tmp_path / "dev.tsv", "\n".join(["text\tlabel", *rows]) + "\n")


def test_classes_are_scored_as_they_are_predicted(classes):
    model = bundle(heads.Classify(labels=LABELS))
    found = evaluate_examples(model, classes, bootstrap=FEW, worst=4)
    said = Classifier(model.transformer, model.tokenizer).predict(TEXTS)
    true = [LABELS[place % 3] for place in range(len(TEXTS))]
    right = [one.label == label for one, label in zip(said, true, strict=True)]
    losses = [-math.log(one.probabilities[label]) for one, label in zip(said, true, strict=True)]
    assert found.measures["accuracy"] == pytest.approx(sum(right) / len(right))
    assert found.measures["nll"] == pytest.approx(sum(losses) / len(losses))
    worst = sorted(range(len(TEXTS)), key=lambda place: -losses[place])[:4]
    assert [one.text for one in found.worst] == [TEXTS[place] for place in worst]
    first = found.worst[0]
    assert (first.true, first.predicted) == (true[worst[0]], said[worst[0]].label)
    assert first.probability == pytest.approx(said[worst[0]].probability)
    assert first.where.endswith(f"dev.tsv, line {worst[0] + 2}")
    counts, names = found.confusion
    assert names == LABELS
    assert counts.sum() == len(TEXTS)
    assert int(counts.trace()) == sum(right)
    assert found.calibration.count.sum() == len(TEXTS)
    assert first.text in str(found)
    assert json.loads(json.dumps(found.to_dict()))["measures"]["accuracy"]["value"] == found.measures["accuracy"]
    assert "so so" in found.confusion_svg()
    assert "calibration error" in found.reliability_svg()


def test_the_runs_own_validation_part_is_taken(tmp_path):
    row = Row(np.arange(3), np.zeros(3), 0)
    read = [["hello", None, "good"], ["zz", "a second text", "bad"]]
    made = [Encoded(0, [row], None), *(Encoded(1, [row], one) for one in read)]
    make_examples(made, Targets("int64", 0), 300, tmp_path / "data", "f" * 20, {}, [], lambda message: None)
    model = bundle(heads.Classify(labels=LABELS), folder=tmp_path)
    found = evaluate_examples(model, bootstrap=None)
    said = Classifier(model.transformer, model.tokenizer).predict(["hello", ("zz", "a second text")])
    assert found.examples == 2
    assert found.measures["accuracy"] == ((said[0].label == "good") + (said[1].label == "bad")) / 2
    assert any("zz │ a second text" in one.text for one in found.worst)
    with pytest.raises(RegardError, match="small holds no examples of its own"):
        evaluate_examples(bundle(heads.Classify(labels=LABELS)))


def test_many_labels(tmp_path):
    place = written(tmp_path / "m.tsv", "text\tlabels\nhello\tp|q\nzz\tq\nwonderful\tr\n")
    model = bundle(heads.MultiLabel(labels=("p", "q", "r")), seed=2)
    found = evaluate_examples(model, place, bootstrap=None)
    said = MultiLabeller(model.transformer, model.tokenizer).predict(["hello", "zz", "wonderful"])
    true = [{"p", "q"}, {"q"}, {"r"}]
    given = [set(one.labels) for one in said]
    right = sum(len(ours & theirs) for ours, theirs in zip(given, true, strict=True))
    assert found.measures["micro_f1"] == pytest.approx(2 * right / (4 + sum(map(len, given))))
    assert found.measures["subset_accuracy"] == pytest.approx(sum(map(set.__eq__, given, true)) / 3)
    with pytest.raises(RegardError, match="no confusion"):
        found.confusion_svg()


def test_numbers(tmp_path):
    place = written(tmp_path / "n.tsv", "text\tscore\nhello\t70\nzz\t12.5\nwonderful\t101\n")
    model = bundle(heads.Regress(mean=70, spread=20))
    found = evaluate_examples(model, place, bootstrap=None)
    said = [one.value for one in Regressor(model.transformer, model.tokenizer).predict(["hello", "zz", "wonderful"])]
    errors = [abs(a - b) for a, b in zip(said, (70, 12.5, 101), strict=True)]
    assert found.measures["mae"] == pytest.approx(sum(errors) / 3)
    assert found.worst[0].loss == pytest.approx(max(errors))
    with pytest.raises(RegardError, match="no probabilities"):
        found.reliability_svg()


TAGS = ("O", "B-name", "I-name", "B-place")


def test_tags_are_scored_by_entity(tmp_path):
    text = "Gustave\tB-name\nEiffel\tI-name\nbuilt\tO\n\nin\tO\nParis\tB-place\n\nthe\tO\ntower\tO\n"
    place = written(tmp_path / "t.conll", text)
    model = bundle(heads.Tag(labels=TAGS), wordpiece(), seed=3)
    found = evaluate_examples(model, place, bootstrap=None)
    words = [("Gustave", "Eiffel", "built"), ("in", "Paris"), ("the", "tower")]
    true = [["B-name", "I-name", "O"], ["O", "B-place"], ["O", "O"]]
    said = [list(one.tags) for one in Tagger(model.transformer, model.tokenizer).predict(words)]
    expected = tag_scores(true, said, words, bootstrap=None)
    assert found.measures == {name: measure.value for name, measure in expected.measures.items()}
    wrong = [len(set(entities(ours)) ^ set(entities(theirs))) for ours, theirs in zip(true, said, strict=True)]
    assert found.worst[0].loss == max(wrong) > 0
    assert found.confusion[1] == ("O", "name", "place")
    assert found.confusion[0].sum() == found.calibration.count.sum() == 7


def test_answers_are_compared_in_their_language(tmp_path):
    context = "北京是中国的首都。"
    rows = [
        {"question": "首都？", "context": context, "answers": [{"text": "北京", "start": 0}]},
        {"question": "哪国？", "context": context, "answers": []},
    ]
    place = written(tmp_path / "q.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    model = bundle(heads.Answer(no_answer=True), context_length=64)
    found = evaluate_examples(model, place, bootstrap=None)
    said = Answerer(model.transformer, model.tokenizer).predict([(row["question"], context) for row in rows])
    assert found.scores.language == "zh"
    assert found.measures["unanswerable_f1"] == float(said[1].text == "")
    shared = sum(1 for letter in "北京" if letter in said[0].text)
    length = sum("\u3400" <= letter <= "\u9fff" for letter in said[0].text)
    assert found.measures["answered_f1"] == pytest.approx(2 * shared / (length + 2))
    assert found.scores.threshold.f1 >= found.measures["f1"]
    assert evaluate_examples(model, place, language="de", bootstrap=None).scores.language == "de"


def test_vectors_find_their_own_text_and_keep_what_people_say(tmp_path):
    model = bundle(heads.Embed())
    pairs = [("hello", "hello you"), ("a b", "a b c"), ("zz top", "zz"), ("one", "hello you")]
    place = written(tmp_path / "pairs.tsv", "".join(f"{a}\t{b}\n" for a, b in pairs))
    found = evaluate_examples(model, place, bootstrap=None)
    vectors = Embedder(model.transformer, model.tokenizer)
    texts = ["hello you", "a b c", "zz"]  # equal ones are one text
    near = vectors.predict([a for a, _ in pairs]) @ vectors.predict(texts).T
    own = [0, 1, 2, 0]
    assert found.measures["accuracy@1"] == np.mean(
        [row.argmax() == right for row, right in zip(near, own, strict=True)]
    )
    assert found.scores.candidates == 3
    said = written(tmp_path / "sts.tsv", "".join(f"{a}\t{b}\t{n}\n" for n, (a, b) in enumerate(pairs)))
    found = evaluate_examples(model, said, bootstrap=None)
    assert set(found.measures) == {"spearman", "pearson"}
    ours = [float(near[row, right]) for row, right in enumerate(own)]
    assert found.measures["pearson"] == pytest.approx(np.corrcoef(ours, range(4))[0, 1], abs=1e-5)


def test_what_is_wrong_is_one_sentence(tmp_path, classes):
    model = bundle(heads.Classify(labels=("bad", "good")))
    with pytest.raises(RegardError, match=r"dev.tsv, line 4, has the label 'so so', and the model knows bad, good"):
        evaluate_examples(model, classes)
    with pytest.raises(RegardError, match=r"'lable'.*did you mean 'label'"):
        evaluate_examples(model, classes, ["data.label=lable"])
    with pytest.raises(RegardError, match="no setting of data"):
        evaluate_examples(model, classes, ["label=2"])
    with pytest.raises(RegardError, match="holds no labelled texts"):
        evaluate_examples(model, written(tmp_path / "empty.tsv", ""))
    with pytest.raises(RegardError, match="has no label in the column"):
        evaluate_examples(model, written(tmp_path / "gap.tsv", "text\tlabel\nhello\t\nzz\tbad\n"))
    with pytest.raises(RegardError, match="answers no questions"):
        evaluate_examples(model, classes, language="de")
    tagger = bundle(heads.Tag(labels=TAGS), wordpiece())
    with pytest.raises(RegardError, match=r"t.conll, line 1, has the tag 'B-thing', and the model knows O, B-name"):
        evaluate_examples(tagger, written(tmp_path / "t.conll", "tower\tB-thing\n\n"))
    # a kind of entity that is known, in another scheme
    evaluate_examples(tagger, written(tmp_path / "i.conll", "in\tO\nParis\tI-place\n\n"), bootstrap=None)
