"""Files that are no UTF-8 are read as what they are, with a note, or refused in one sentence; never mangled."""

import gzip
import io
import sys

import pytest

from regard.data import formats
from regard.data.charset import guess
from regard.data.formats import Reading
from regard.data.labelled import LabelledData, read_labelled
from regard.data.pairs import PairsData, pairs
from regard.data.sources import documents
from regard.data.split import TextData
from regard.settings import RegardError, SettingsError

CHINESE = "房间很大，床也舒服，早餐一般。\n服务员态度很好，下次还会来住。\n交通方便，离地铁站不远，价格也合理。\n"
TAIWAN = "房間很大，床也舒服，早餐普通。\n服務員態度很好，下次還會再來住。\n交通方便，離捷運站不遠，價格也合理。\n"
JAPANESE = "部屋がとても広くて、ベッドも快適でした。\n駅から近いので、また泊まりたいと思います。\n"
KOREAN = (
    "방이 아주 넓고 침대도 편안했습니다.\n역에서 가까워서 다음에도 또 묵고 싶습니다.\n"
    "조식은 보통이었지만 직원들이 친절했습니다.\n"
)
RUSSIAN = "Номер был большой, кровать удобная, завтрак обычный.\nПерсонал приветливый, приедем ещё раз.\n"
GREEK = "Το δωμάτιο ήταν μεγάλο και το κρεβάτι άνετο.\nΤο προσωπικό ήταν ευγενικό και θα ξαναπάμε σύντομα.\n"
POLISH = (
    "Pokój był duży, a łóżko wygodne; śniadanie zwyczajne.\nObsługa życzliwa, więc jeszcze tu wrócimy. Żółć i źdźbło.\n"
)
GERMAN = "Das Zimmer war groß, das Frühstück gewöhnlich.\nWir kämen gern wieder, denn das Personal war überaus nett.\n"
FRENCH = (
    "La chambre était grande, le petit déjeuner très ordinaire.\n"
    "À côté de la gare, l'hôtel est idéal ; où êtes-vous allés ? Ça nous a plu, même à Noël, grâce à la fenêtre.\n"
)
WRITTEN = [
    (CHINESE, "gb18030"),
    (CHINESE, "gbk"),
    (TAIWAN, "big5"),
    (JAPANESE, "shift_jis"),
    (JAPANESE, "euc_jp"),
    (KOREAN, "euc_kr"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8_r"),
    (GREEK, "cp1253"),
    (POLISH, "cp1250"),
    (GERMAN, "latin-1"),
    (FRENCH, "cp1252"),
]


def read(path, said=None, **how):
    return "".join(
        text for one in documents(path, say=(said if said is not None else []).append, **how) for text in one
    )


@pytest.mark.parametrize(("text", "encoding"), WRITTEN, ids=[encoding for _, encoding in WRITTEN])
def test_the_text_comes_back_and_it_is_said(tmp_path, text, encoding):
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    said = []
    assert read(tmp_path / "a.txt", said) == text
    assert len(said) == 1
    assert "not UTF-8: it is read as such; set data.encoding=…" in said[0]


def test_never_wrong_without_being_unsure():
    """Cut anywhere, a text is recognised, or nothing is guessed."""
    sure = 0
    for text, encoding in WRITTEN:
        for size in (8, 12, 20, 40, 80, 200):
            data = text.encode(encoding)[:size]
            found = guess(data)
            if found.certain:
                sure += 1
                assert data.decode(found.names[0], "ignore") == data.decode(encoding, "ignore"), (encoding, size)
    assert sure > 36  # of 72


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("chunk", [8, 1 << 20])
def test_a_byte_order_mark_tells_it(tmp_path, monkeypatch, encoding, chunk):
    monkeypatch.setattr(formats, "CHUNK", chunk)
    (tmp_path / "a.txt").write_bytes("Grüße,\r\n漢字 🙂\n".encode(encoding))
    said = []
    assert read(tmp_path / "a.txt", said) == "Grüße,\n漢字 🙂\n"
    assert said == []


def test_big_endian_marks_and_damage_after_a_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xfe\xff" + "漢字".encode("utf-16-be"))
    assert read(tmp_path / "a.txt") == "漢字"
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe" + "漢字".encode("utf-16-le") + b"\x00\xd8")
    with pytest.raises(RegardError, match=r"b\.txt is not UTF-16-LE: byte 6 "):
        read(tmp_path / "b.txt")


def test_what_only_looks_marked_is_left_out_of_a_folder(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"\xff\xfe\x00\xdc\x00\xdc" * 20)
    (tmp_path / "b.txt").write_text("text")
    said = []
    assert read(tmp_path, said) == "text"
    assert said[0].startswith("Left out 1 file(s) that hold no text")


def test_it_can_be_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("naïve, they say".encode("latin-1"))
    assert read(tmp_path / "a.txt", on_invalid="replace") == "na\ufffdve, they say"
    config = TextData(source=str(tmp_path / "a.txt"), encoding="latin-1")
    assert config.reading().encoding == "latin-1"
    text = "".join(formats.text_of(tmp_path / "a.txt", config.reading()))
    assert text == "naïve, they say"
    (tmp_path / "b.txt").write_bytes("漢字".encode("utf-16-le"))
    assert "".join(formats.text_of(tmp_path / "b.txt", Reading(encoding="utf-16-le"))) == "漢字"
    (tmp_path / "c.txt").write_bytes("Grüße".encode())
    with pytest.raises(RegardError, match=r"c\.txt is not ASCII: byte 2 \(0xC3\)"):
        list(formats.text_of(tmp_path / "c.txt", Reading(encoding="ascii")))
    with pytest.raises(SettingsError, match="there is no encoding 'gb180303'"):
        TextData(encoding="gb180303")
    with pytest.raises(SettingsError, match="there is no encoding 'rot13'"):
        LabelledData(encoding="rot13")


def test_where_it_is_unclear_the_likeliest_are_listed(tmp_path):
    (tmp_path / "a.txt").write_bytes("a naïve café".encode("latin-1"))
    with pytest.raises(RegardError, match=r"a\.txt is not UTF-8: byte 4 \(0xEF\).*data\.encoding=….*, likely .*cp1252"):
        read(tmp_path / "a.txt")


def test_damaged_utf8_is_not_taken_for_something_else(tmp_path):
    data = (GERMAN * 20).encode()
    (tmp_path / "a.txt").write_bytes(data[:500] + b"\xe4" + data[500:])
    with pytest.raises(RegardError, match=r"a\.txt is not UTF-8: byte 50\d "):
        read(tmp_path / "a.txt")


def test_a_long_file_is_read_in_pieces_and_guessed_at_its_first_letter(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "CHUNK", 1001)
    text = "only ascii, " * 1000 + "\n" + CHINESE * 200
    with gzip.open(tmp_path / "a.txt.gz", "wb") as file:
        file.write(text.encode("gb18030"))
    assert read(tmp_path / "a.txt.gz") == text
    with gzip.open(tmp_path / "a.txt.gz", "ab") as file:
        file.write(b"\xff\xff")
    with pytest.raises(RegardError, match=r"is not GB18030: byte \d+ \(0xFF\)"):
        read(tmp_path / "a.txt.gz")


def test_a_sample_ends_with_a_whole_letter():
    assert guess((CHINESE.replace("\n", "") * 3000).encode("gb18030")).names[0] == "gb18030"


def test_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CHINESE.encode("gb18030"))))
    assert read("-") == CHINESE


def test_it_serves_labels_and_pairs(tmp_path):
    rows = [line for line in CHINESE.splitlines() for _ in range(2)]
    (tmp_path / "weibo.csv").write_bytes(("label,review\n" + "".join(f"1,{row}\n" for row in rows)).encode("gb18030"))
    said = []
    config = LabelledData(source=str(tmp_path / "weibo.csv"), validation_fraction=0)
    assert [one.text for _, one in read_labelled(config, say=said.append)] == rows
    assert said[0].endswith(
        "weibo.csv is gb18030, not UTF-8: it is read as such; set data.encoding=… if that is wrong."
    )
    (tmp_path / "a.tsv").write_bytes("".join(f"{row}\tx\n" for row in rows).encode("gb18030"))
    assert [pair.source for pair in pairs(PairsData(source=str(tmp_path / "a.tsv")))] == rows
    (tmp_path / "b.tsv").write_bytes("é\tx\n".encode("latin-1"))
    config = PairsData(source=str(tmp_path / "b.tsv"), encoding="latin-1")
    assert [pair.source for pair in pairs(config)] == ["é"]
