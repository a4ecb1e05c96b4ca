"""Pictures are well-formed SVG that holds what they show."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from regard.evaluation.calibration import Calibration
from regard.evaluation.pictures import confusion_svg, confusion_text, reliability_svg

LABELS = ("a <b> & c", "a label with a very long name indeed", "中文")
COUNTS = np.array([[1200, 3, 0], [1, 2, 1], [0, 0, 0]])


def _texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.text]


def test_a_confusion_holds_counts_shares_and_whole_names() -> None:
    texts = _texts(confusion_svg(COUNTS, LABELS, title="names"))
    for part in ("1,200", "25%", "50.0% of 4", "predicted", "true", "names", LABELS[0], LABELS[1]):
        assert part in texts, part
    assert f"{LABELS[1]} taken for {LABELS[0]}: 1 of 4 (25.0%)" in texts
    assert any(text.startswith("a label with a ve…") for text in texts)


def test_everything_stands_inside_the_picture() -> None:
    for svg in (confusion_svg(COUNTS, LABELS), confusion_svg(np.eye(60, dtype=int), [f"label {n}" for n in range(60)])):
        root = ElementTree.fromstring(svg)
        wide, high = float(root.attrib["width"]), float(root.attrib["height"])
        for element in root.iter():
            if "x" in element.attrib:
                right = float(element.attrib["x"]) + float(element.attrib.get("width", 0))
                low = float(element.attrib["y"]) + float(element.attrib.get("height", 0))
                assert 0 <= right <= wide
                assert 0 <= low <= high


def test_a_table_for_the_terminal() -> None:
    table = confusion_text(COUNTS, LABELS).split("\n")
    assert len(table) == 4
    assert table[1].split()[-1] == "99.8%"
    assert table[2].split()[-1] == "50.0%"
    assert table[3].split()[-1] == "–"
    assert "·" in table[1]


def test_a_reliability_diagram_has_a_dot_a_bin() -> None:
    found = Calibration(np.array([0.5, 0.9]), np.array([0.4, 1.0]), np.array([30, 10]), 0.2)
    svg = reliability_svg(found, "how sure")
    root = ElementTree.fromstring(svg)
    assert len([element for element in root.iter() if element.tag.endswith("circle")]) == 2
    texts = _texts(svg)
    assert "30 cases: said 50.0%, right 40.0%" in texts
    assert "calibration error 10.0%, 2 bins of 40 in all" in texts
