"""Dates against a reader of its own, and against themselves: every text has one answer."""

import re
import sys
from collections import Counter, defaultdict
from datetime import date

import pytest

from regard.data import dates
from regard.settings import RegardError

# The reader: what a person knows of the three languages, written without CLDR.
MONTHS = {
    "en": "jan(uary)?,feb(ruary)?,mar(ch)?,apr(il)?,may,june?,july?,aug(ust)?,sept?(ember)?,oct(ober)?,nov(ember)?,"
    "dec(ember)?",
    "de": "jan(uar)?|jän(ner)?,feb(ruar)?,märz,apr(il)?,mai,juni,juli,aug(ust)?,sept?(ember)?,okt(ober)?,nov(ember)?,"
    "dez(ember)?",
}
WEEKDAYS = {
    "en": "mon(day)?,tue(sday)?,wed(nesday)?,thu(rsday)?,fri(day)?,sat(urday)?,sun(day)?",
    "de": "mo(ntag)?,di(enstag)?,mi(ttwoch)?,do(nnerstag)?,fr(eitag)?,sa(mstag)?,so(nntag)?",
    "zh": "一,二,三,四,五,六,日",
}
FORMS = {
    "en": (
        r"((?P<w>\w+),? )?(?P<m>\d+)/(?P<d>\d+)/(?P<y>\d{4}|\d\d)",
        r"((?P<w>\w+day|\w{3}),? )??(?P<m>[a-z]+) (?P<d>\d+)(?P<o>[a-z]{2})?,? (?P<y>\d{4})",
        r"((?P<w>\w+day|\w{3}),? )??(the )?(?P<d>\d+)(?P<o>[a-z]{2})?( of)? (?P<m>[a-z]+),? (?P<y>\d{4})",
    ),
    "de": (
        r"((?P<w>\w+)\.?,? )?(?P<d>\d+)\.(?P<m>\d+)\.(?P<y>\d{4}|\d\d)",
        r"((?P<w>\w+)\.?,? )??(de[nr] )?(?P<d>\d+)\.? (?P<m>\w+)\.? (?P<y>\d{4})",
    ),
    "zh": (
        r"(?P<y>\d{4})/(?P<m>\d+)/(?P<d>\d+)((周|週|星期)(?P<w>.))?",
        r"(?P<y>\S{4}|\S\S) ?年 ?(?P<m>\S{1,2}) ?月 ?(?P<d>[\d一二三四五六七八九十]+) ?[日号] ?((周|週|星期)(?P<w>.))?",
    ),
}


def number(text: str) -> int:
    """三十一 → 31, 二〇一四 → 2014, ３１ → 31."""
    if "十" in text:
        tens, _, ones = text.partition("十")
        return 10 * (number(tens) if tens else 1) + (number(ones) if ones else 0)
    return int(text.translate(str.maketrans("〇零一二三四五六七八九", "00123456789")))


def named(names: str, text: str) -> int | None:
    """Which of the names a text is, from 1."""
    return next((n for n, name in enumerate(names.split(","), 1) if re.fullmatch(name, text)), None)


def read(language: str, text: str) -> str | None:
    """What a text means in a language; None where it is none of its dates."""
    for form in FORMS[language]:
        if not (found := re.fullmatch(form, text.lower())):
            continue
        year, day = number(found["y"]), number(found["d"])
        if len(found["y"]) == 2:
            year += 1900 if year >= 69 else 2000
        letters = language != "zh" and not found["m"].isdigit()
        month = named(MONTHS[language], found["m"]) if letters else number(found["m"])
        ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        if month not in range(1, 13) or found.groupdict().get("o") not in (None, ending):
            continue
        meant = date(year, month, day)
        if found["w"] is None or named(WEEKDAYS[language], found["w"]) == meant.isoweekday():
            return meant.isoformat()
    return None


@pytest.mark.parametrize("language", dates.LANGUAGES)
@pytest.mark.parametrize("part", ["train", "validation"])
def test_another_reader_reads_the_same(language, part):
    for text, iso in dates.pairs(5_000, seed=3, part=part, languages=(language,)):
        meanings = {each: read(each, text) for each in dates.LANGUAGES}
        assert meanings.pop(language) == iso, text
        assert set(meanings.values()) <= {None, iso}, text  # nor is it another date in another language


def test_no_text_has_two_answers():
    answers = defaultdict(set)
    for text, iso in dates.pairs(50_000):
        answers[text].add(iso)
    assert max(map(len, answers.values())) == 1


def test_no_text_has_two_answers_in_any_style():
    """All styles of all days that differ in what could be confused, not only those that were drawn."""
    days = [
        date(year, month, day)
        for year in (1903, 2003, 1968, 1969, 2011, 2068)
        for month in range(1, 13)
        for day in range(1, 29)
    ]
    answers = defaultdict(set)
    for language in dates.LANGUAGES:
        for style in dates._styles(language):
            for day in days:
                numbers = (day.year, day.month, day.day, day.weekday())
                text = "".join(p if isinstance(p, str) else p[1][numbers[p[0]]] for p in style)
                for changed in (text, dates._without_marks(text)):
                    for said in {changed, changed.lower(), changed.upper()}:
                        answers[said].add(day)
    assert len(answers) > 100_000
    assert max(map(len, answers.values())) == 1


def test_a_pair_is_a_function_of_seed_and_number():
    some = list(dates.pairs(20, seed=5))
    assert [dates.pair(5, n) for n in reversed(range(20))] == some[::-1]
    assert list(dates.pairs(8, seed=5, start=12)) == some[12:]
    assert list(dates.pairs(20, seed=6)) != some
    dates._styles.cache_clear()
    assert list(dates.pairs(20, seed=5)) == some


def test_the_days_of_a_seed_stay():
    """Whatever edition of CLDR writes them."""
    days = [iso for _, iso in dates.pairs(4)], [iso for _, iso in dates.pairs(4, seed=1, part="validation")]
    assert days == (
        ["2037-07-25", "1957-06-18", "1931-09-03", "2085-08-18"],
        ["1956-09-04", "2080-09-22", "1913-03-23", "2001-07-12"],
    )


def test_validation_days_are_never_trained_on():
    """By the date, whatever the seed, and about one of ten; together they are all the days."""
    train = {iso for _, iso in dates.pairs(30_000, seed=1)}
    validation = {iso for _, iso in dates.pairs(30_000, seed=2, part="validation")}
    assert not train & validation
    both = dates._days("train") + dates._days("validation")
    assert sorted(both) == list(range(date(1900, 1, 1).toordinal(), date(2099, 12, 31).toordinal() + 1))
    assert len(dates._days("validation")) / len(both) == pytest.approx(0.1, abs=0.005)


def test_dates_are_written_in_many_ways():
    """The 5th of March 2014, a Wednesday, as a person would: each of these is among the ways."""
    day = (2014, 3, 5, 2)
    ways = Counter(
        "".join(p if isinstance(p, str) else p[1][day[p[0]]] for p in style)
        for language in dates.LANGUAGES
        for style in dates._styles(language)
    )
    said = """March 5, 2014|Mar 5, 2014|3/5/14|03/05/2014|Wed, 3/5/2014|Wednesday, March 5, 2014|5 March 2014
    |March 5th, 2014|the 5th of March 2014|Wednesday the 5th of March, 2014
    |5. März 2014|05.03.2014|5.3.2014|05.03.14|Mi., 5. März 2014|Mittwoch, den 5. März 2014
    |2014年3月5日|2014年03月05日|2014/3/5|二〇一四年三月五日|二零一四年三月五日|一四年三月五日
    |２０１４年３月５日|2014 年 3 月 5 日|2014年3月5号|2014年3月5日星期三|2014/3/5周三|2014年3月5日 週三"""
    assert {each.strip() for each in said.split("|")} <= set(ways)
    assert not {"5/3/2014", "05/03/2014", "3.5.2014"} & set(ways)


def test_changes_by_hand_occur():
    texts = [text for text, _ in dates.pairs(3_000, languages=("en", "de"))]
    assert any(text.isupper() for text in texts)
    assert any(text.islower() for text in texts)
    assert any(re.fullmatch(r"\w+day, \w+ \d+, \d+", text) for text in texts)
    assert any(re.fullmatch(r"\w+day \w+ \d+ \d+", text) for text in texts)  # and without commas


def test_two_digits_stand_for_a_hundred_years():
    short = [
        iso
        for text, iso in dates.pairs(20_000, languages=("en", "de"))
        if re.search(r"(?<!\d)\d+[/.]\d+[/.]\d\d$", text)
    ]
    assert {iso[:4] for iso in short} == {str(year) for year in range(1969, 2069)}


def test_names_choose_languages():
    assert dates.NAMES == {"dates": ("en", "zh", "de"), "dates-en": ("en",), "dates-zh": ("zh",), "dates-de": ("de",)}
    assert all("年" in text or "/" in text for text, _ in dates.pairs(200, languages=dates.NAMES["dates-zh"]))


def test_wrong_names_are_one_line():
    with pytest.raises(RegardError, match="no dates in the language 'fr'; known are de, en, zh"):
        dates.pair(0, 0, languages=("en", "fr"))
    with pytest.raises(RegardError, match="language ''"):
        dates.pair(0, 0, languages=())
    with pytest.raises(RegardError, match="no part 'valid'; did you mean 'validation'"):
        dates.pair(0, 0, part="valid")


def test_without_babel_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    dates._styles.cache_clear()
    with pytest.raises(RegardError, match="builtin:dates needs the package 'babel'"):
        dates.pair(0, 0)
    dates._styles.cache_clear()
