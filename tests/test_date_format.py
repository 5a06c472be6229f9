"""Dates: every spelling is read as the moment it names, written back as it stood, and found in a column by itself."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.errors import DataError
from anomvae.model.date_format import DateFormat, parse_pattern
from anomvae.model.date_inference import find_date_formats, settle_order
from anomvae.model.date_spelling import with_spelling

MARCH_1 = 1772323200.0  # 2026-03-01 00:00:00 UTC
TEN = MARCH_1 + 36000
MARCH_3 = MARCH_1 + 2 * 86400  # a Tuesday

SPELLINGS = [  # format, cell, seconds
    ("iso", "2026-03-01", MARCH_1),
    ("iso", "2026-03-01T10:00", TEN),
    ("iso", "2026-03-01 10:00:00", TEN),
    ("iso", "2026-03-01T10:00:00Z", TEN),
    ("iso", "2026-03-01 10:00:00+00", TEN),
    ("iso", "2026-03-01 10:00:00+0000", TEN),
    ("iso", "2026-03-01 10:00:00+00:00", TEN),
    ("iso", "2026-03-01 10:00:00 +00:00", TEN),
    ("iso", "2026-03-01 10:00:00 UTC", TEN),
    ("iso", "2026-03-01 10:00:00 GMT", TEN),
    ("iso", "2026-03-01T10:00:00+02:00", TEN),  # ten o'clock by the clock on the wall
    ("iso", "2026-03-01T10:00:00-05:00", TEN),
    ("iso", "2026-03-01T10:00+01:00[Europe/Berlin]", TEN),
    ("iso", "2026-03-01 10:00:00 Europe/Berlin", TEN),
    ("iso", "2026-03-01 10:00:00.5", TEN + 0.5),
    ("iso", "2026-03-01 10:00:00,25", TEN + 0.25),
    ("iso", "2026-03-01T10:00:00.123456789Z", 1772359200.1234568),
    ("iso", "1969-12-31 23:59:59.75", -0.25),
    ("%Y/%m/%d %H:%M", "2026/03/01 10:00", TEN),
    ("%Y.%m.%d", "2026.03.01", MARCH_1),
    ("%-m/%-d/%Y", "3/1/2026", MARCH_1),
    ("%d/%m/%Y", "01/03/2026", MARCH_1),
    ("%d-%m-%Y %H:%M", "01-03-2026 10:00", TEN),
    ("%d.%m.%Y %H:%M:%S,%3f", "01.03.2026 10:00:00,250", TEN + 0.25),
    ("%d.%m.%Y %H:%M:%S,%3f", "01.03.2026 10:00:00", TEN),
    ("%m/%d/%Y %-I:%M %p", "03/01/2026 9:05 AM", MARCH_1 + 32700),
    ("%m/%d/%Y %-I:%M %p", "03/01/2026 12:05 am", MARCH_1 + 300),
    ("%m/%d/%Y %-I:%M %p", "03/01/2026 12:05 p.m.", MARCH_1 + 43500),
    ("%m/%d/%Y %-I:%M%p", "03/01/2026 9:05PM", MARCH_1 + 75900),
    ("%-m/%-d/%Y, %-I:%M:%S\u202f%p", "3/1/2026, 10:00:00\u202fAM", TEN),
    ("%-d %b %Y", "1 Mar 2026", MARCH_1),
    ("%b %-d, %Y", "Mar 1, 2026", MARCH_1),
    ("%B %-d, %Y", "march 1, 2026", MARCH_1),
    ("%d-%b-%y", "01-MAR-26", MARCH_1),
    ("%d-%b-%y", "01-Mar-69", -26438400.0),  # 1969, and 68 is 2068
    ("%a, %d %b %Y %H:%M:%S%z", "Tue, 03 Mar 2026 10:00:00 +0000", MARCH_3 + 36000),
    ("%b %d %H:%M:%S %Y", "Mar 03 10:00:00 2026", MARCH_3 + 36000),
    ("%a %b %e %H:%M:%S %Y", "Tue Mar  3 10:00:00 2026", MARCH_3 + 36000),
    ("%a %b %d %H:%M:%S%z %Y", "Tue Mar 03 10:00:00 CET 2026", MARCH_3 + 36000),
    ("%d/%b/%Y:%H:%M:%S%z", "01/Mar/2026:10:00:00 +0000", TEN),
    ("%Y%m%d", "20260301", MARCH_1),
    ("%Y%m%d%H%M%S", "20260301100000", TEN),
    ("%Y%m%dT%H%M%S%z", "20260301T100000Z", TEN),
    ("%Y%m%d%H%M", "202603011000", TEN),
    ("%Y%m%d%H%M%S%3f", "20260301100000125", TEN + 0.125),
    ("%d%m%Y", "01032026", MARCH_1),
    ("%-d%m%Y", "1032026", MARCH_1),
    ("epoch:s", "1772323200", MARCH_1),
    ("epoch:s", "1772323200.5", MARCH_1 + 0.5),
    ("epoch:ms", "1772323200250", MARCH_1 + 0.25),
    ("epoch:us", "1772323200250000", MARCH_1 + 0.25),
    ("epoch:ns", "1772323200250000000", MARCH_1 + 0.25),
    ("%H:%M", "10:05", 36300.0),
    ("%H:%M:%S", "23:59:59", 86399.0),
    ("%-I:%M %p", "9:05 PM", 75900.0),
    ("%Y-%m", "2026-03", MARCH_1),
    ("iso", "2026-03-01 10:00:00 +0000 UTC", TEN),
    ("%b %e %Y %l:%M%p", "Mar  1 2026 10:00AM", TEN),
    ("%b %e %Y %l:%M%p", "Mar  1 2026  9:00AM", TEN - 3600),
    ("%k:%M", " 9:05", 32700.0),
    ("%d-%b-%y %I.%M.%S.%f %p", "01-MAR-26 10.00.00.000000 AM", TEN),
    ("[%d/%b/%Y:%H:%M:%S%z]", "[01/Mar/2026:10:00:00 +0000]", TEN),
    ("%Y年%-m月%-d日", "2026年3月1日", MARCH_1),
    ("%b %Y", "Mar 2026", MARCH_1),
    ("%Y-%m-%d", "2024-02-29", 1709164800.0),
    ("%d.%m.%Y", "31.12.9999", 253402214400.0),
]


@pytest.mark.parametrize(("pattern", "text", "seconds"), SPELLINGS)
def test_a_cell_is_the_moment_that_it_names(pattern: str, text: str, seconds: float) -> None:
    form = DateFormat(pattern=pattern)
    assert form.read(text) == seconds
    assert form.read_column([text, text]) == [seconds, seconds]


@pytest.mark.parametrize(("pattern", "text", "seconds"), SPELLINGS)
def test_a_cell_is_written_back_as_it_stood(pattern: str, text: str, seconds: float) -> None:
    form = with_spelling(DateFormat(pattern=pattern), {text: 1})
    assert form.read(form.write(seconds)) == seconds
    if text in ("2026-03-01T10:00:00.123456789Z", "01.03.2026 10:00:00"):
        return  # no float has these nanoseconds; one cell without a fraction does not show that there never is one
    assert form.write(seconds) == text


WRONG = [
    ("iso", "2026-02-31"),
    ("iso", "2026-13-01"),
    ("iso", "0000-00-00"),
    ("iso", "2026-03-01 24:00"),
    ("iso", "2026-03-01 10:60"),
    ("iso", "2026-03-01 10:00:60"),
    ("iso", "2026-03-01 10:00:00 "),
    ("iso", "2026-03-01 10:00:00+25:00"),
    ("iso", "2026-03-01 10:00:00+15"),
    ("iso", "2026-03-01 10:00:00."),
    ("iso", "2026-03-01 10:00:00.1234567890"),
    ("iso", "٢٠٢٦-03-01"),
    ("iso", "2026-3-1"),
    ("iso", "2026-03-01\n"),
    ("%d/%m/%Y", "29/02/2026"),
    ("%d/%m/%Y", "03/13/2026"),
    ("%d/%m/%Y", "13/03/26"),
    ("%d/%m/%Y", "13-03-2026"),
    ("%d/%m/%Y", "13/03/2026 10:00"),
    ("%d/%m/%Y", ""),
    ("%d/%m/%Y", "01/03/0000"),
    ("%d %b %Y", "01 Mär 2026"),
    ("%d %b %Y", "01 \u017fep 2026"),  # a long s, which is an s to a regular expression that ignores case
    ("%a, %d %b %Y", "Mon, 03 Mar 2026"),  # it was a Tuesday
    ("%I:%M %p", "13:00 PM"),
    ("%I:%M %p", "00:30 AM"),
    ("%I:%M %p", "10:30"),
    ("%H:%M", "24:00"),
    ("%Y%m%d", "2026031"),
    ("%Y%m%d", "20261301"),
    ("%-d%m%Y", "132026"),
    ("epoch:s", "1772323200000"),  # milliseconds
    ("epoch:s", "1e9"),
    ("epoch:s", "01772323200"),
    ("epoch:ms", "1_772_323_200_000"),
]


@pytest.mark.parametrize(("pattern", "text"), WRONG)
def test_what_is_no_date_of_the_format_is_an_error(pattern: str, text: str) -> None:
    form = DateFormat(pattern=pattern)
    with pytest.raises(DataError, match="is not a date written like the training data's") as caught:
        form.read(text)
    assert caught.value.code == "bad_date"
    assert form.seconds(text) is None
    assert form.read_column([text]) is None


DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%-m.%-d", "%d/%m/%Y", "%-m/%-d/%Y", "%d.%m.%y", "%m-%d-%Y", "%Y%m%d", "%d%m%Y"),
    *("%-d%m%Y", "%-d %b %Y", "%B %d, %Y", "%d-%b-%y", "%a, %d %b %Y", "%A %B %e %Y"),
)
CLOCKS = (
    "%H:%M",
    "%-H:%M:%S",
    "%H:%M:%S.%3f",
    "%H:%M:%S,%f",
    "%I:%M %p",
    "%-I:%M:%S%p",
    "%H%M",
    "%H%M%S",
    "%H.%M.%S.%1f",
)
FORMATS = st.one_of(
    st.builds(
        lambda date, join, clock, zone, half, case: DateFormat(
            pattern=date + join + clock + "%z" * bool(zone), zone=zone, half=half, case=case
        ),
        st.sampled_from(DATES),
        st.sampled_from([" ", "T", ", ", ":", "_"]),
        st.sampled_from(CLOCKS),
        st.sampled_from(["", "Z", "+00", "+0530", "-05:00", " UTC", " +01:00", " GMT+0100 (Central European Time)"]),
        st.sampled_from(["AM", "am", "a.m.", "A.M."]),
        st.sampled_from(["", "upper", "lower"]),
    ),
    st.builds(DateFormat, pattern=st.sampled_from((*DATES, *CLOCKS[:6]))),
    st.builds(
        lambda written, zone: DateFormat(pattern="iso", written=written, zone=zone),
        st.sampled_from(["", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S,%2f"]),
        st.sampled_from(["", "Z", "+02:00"]),
    ),
    st.builds(
        lambda unit, written: DateFormat(pattern=f"epoch:{unit}", written=written),
        st.sampled_from(["s", "ms", "us"]),
        st.sampled_from(["", ".%1f", ".%3f"]),
    ),
)


@given(FORMATS, st.integers(0, 10**16))
def test_what_is_written_is_read_as_the_same_moment(form: DateFormat, number: int) -> None:
    steps = round(1 / form.resolution) if form.resolution < 1 else 1
    times_alone = "%Y" not in form.pattern and "%y" not in form.pattern and form.pattern.startswith("%")
    span = 86400 if times_alone else 3_000_000_000  # 1970 to 2065, where two-digit years are without doubt
    seconds = number % (span * steps) / steps
    if form.resolution > 1:
        seconds -= seconds % form.resolution
    assert form.read(form.write(seconds)) == seconds
    assert msgspec.json.decode(msgspec.json.encode(form), type=DateFormat) == form


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_iso_dates_of_all_years_are_read_and_written(moment: datetime) -> None:
    seconds = (moment - datetime(1970, 1, 1)).total_seconds()
    form = DateFormat(pattern="iso", written="%Y-%m-%dT%H:%M:%S.%f")
    assert form.read(moment.isoformat()) == seconds
    assert form.read(form.write(seconds)) == seconds


@given(st.from_regex(r"[0-9]{2}/[0-9]{2}/(?:19|20)[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", fullmatch=True))
def test_a_cell_is_read_where_strptime_reads_it_and_as_the_same_moment(text: str) -> None:
    pattern = "%d/%m/%Y %H:%M:%S"
    try:
        moment = datetime.strptime(text, pattern)
        expected = None if text.endswith(("60", "61")) else (moment - datetime(1970, 1, 1)).total_seconds()
    except ValueError:
        expected = None
    assert DateFormat(pattern=pattern).seconds(text) == expected


@given(
    st.from_regex(r"(?:19|20)[0-9]{2}-[0-3][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?Z?", fullmatch=True)
)
def test_an_iso_cell_is_read_where_python_reads_it_and_as_the_same_moment(text: str) -> None:
    try:
        expected = (datetime.fromisoformat(text).replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
    except ValueError:
        expected = None
    assert DateFormat(pattern="iso").seconds(text) == expected


def strftime(pattern: str) -> Callable[[datetime], str]:
    return lambda moment: moment.strftime(pattern)


def since_1970(unit: timedelta, digits: int = 0) -> Callable[[datetime], str]:
    return lambda moment: f"{(moment - datetime(1970, 1, 1)) / unit:.{digits}f}"


WRITERS: dict[str, Callable[[datetime], str]] = {  # how others write dates, by Python's own strftime
    **{
        pattern: strftime(pattern)
        for pattern in (
            *("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f+00", "%Y-%m-%d %H:%M:%S UTC"),
            *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S +0100", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y.%m.%d", "%-m/%-d/%Y"),
            *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y %H:%M", "%-d.%-m.%Y %-H:%M", "%d/%m/%y", "%m/%d/%y"),
            *("%-m/%-d/%Y %-I:%M:%S %p", "%-m/%-d/%Y, %-I:%M:%S\u202f%p", "%m/%d/%Y %I:%M%p", "%d %b %Y", "%-d %B %Y"),
            *("%b %-d, %Y", "%B %-d, %Y %-I:%M %p", "%d-%b-%y", "%d-%b-%Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S +0000"),
            *("%a %b %e %H:%M:%S %Y", "%b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S CET %Y", "%d/%b/%Y:%H:%M:%S +0000"),
            *("%A, %B %d, %Y", "%d%b%Y:%H:%M:%S", "%Y%m%d", "%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%dT%H%M%SZ", "%d%m%Y"),
            *("%-d%m%Y", "%Y%m%d.0", "%H:%M", "%H:%M:%S", "%-I:%M %p", "%Y-%m", "%b %Y", "%H:%M %d.%m.%Y"),
            *(
                "[%d/%b/%Y:%H:%M:%S +0000]",
                "%b %e %Y %l:%M%p",
                "%d-%b-%y %I.%M.%S.%f %p",
                "%Y-%m-%d %H:%M:%S +0000 UTC",
            ),
            *("%d/%m/%Y - %H:%M", "%Y年%-m月%-d日 %H:%M", "%Y-%m-%d %I:%M %p", "%d %m %Y"),
            *("%Y-%m-%d-%H.%M.%S.%f", "%y/%m/%d %H:%M:%S", "%Y-%-m-%-d %-H:%M"),
        )
    },
    "epoch in s": since_1970(timedelta(seconds=1)),
    "epoch in s with fraction": since_1970(timedelta(seconds=1), 3),
    "epoch in ms": since_1970(timedelta(milliseconds=1)),
    "epoch in us": since_1970(timedelta(microseconds=1)),
    "epoch in ns": lambda moment: since_1970(timedelta(microseconds=1))(moment) + "000",
    "Oracle": lambda moment: moment.strftime("%d-%b-%y").upper(),
    "lower case": lambda moment: moment.strftime("%d.%m.%Y %-I:%M %p").lower(),
    "with points": lambda moment: moment.strftime("%d.%m.%Y %-I:%M ") + ("a.m." if moment.hour < 12 else "p.m."),
    "Python": lambda moment: moment.isoformat(" "),
}


def moments(seed: int, n: int = 30) -> list[datetime]:
    """Random seconds of three years."""
    draw = random.Random(seed)
    return [datetime(2024, 1, 5) + timedelta(seconds=draw.randrange(3 * 365 * 86400)) for _ in range(n)]


def true_seconds(writer: str, moment: datetime) -> float:
    """What is left of a moment once it is written: days, minutes, or the time of day alone."""
    floor = moment.replace(microsecond=0)
    if not any(part in writer for part in ("%S", "epoch", "Python")):
        floor = floor.replace(second=0)
    if not any(part in writer for part in ("%M", "epoch", "Python", "case", "points")):
        floor = floor.replace(hour=0, minute=0)
    if writer in ("%Y-%m", "%b %Y"):
        floor = floor.replace(day=1)
    seconds = (floor - datetime(1970, 1, 1)).total_seconds()
    return seconds % 86400 if writer in ("%H:%M", "%H:%M:%S", "%-I:%M %p") else seconds


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=12)
@given(st.integers(0, 10**9), st.booleans())
def test_a_column_of_dates_is_found_read_and_written_back(writer: str, seed: int, in_order: bool) -> None:
    rows = sorted(moments(seed)) if in_order else moments(seed)
    texts = [WRITERS[writer](moment) for moment in rows]
    found = find_date_formats(Counter(texts), texts)
    assert found is not None
    (form,), strange = found
    assert strange == ()
    assert form.read_column(texts) == [true_seconds(writer, moment) for moment in rows]
    assert [form.write(seconds) for seconds in form.read_column(texts) or ()] == texts


def find(texts: Sequence[str]) -> list[str]:
    """The patterns that are found in a column."""
    found = find_date_formats(Counter(texts), texts)
    return [form.pattern for form in found[0]] if found else []


def test_a_few_strange_cells_change_nothing_and_are_named() -> None:
    texts = [*(moment.strftime("%d.%m.%Y") for moment in moments(1)), "TOTAL", "31.02.2026"]
    found = find_date_formats(Counter(texts), texts)
    assert found is not None
    assert [form.pattern for form in found[0]] == ["%d.%m.%Y"]
    assert found[1] == ("TOTAL", "31.02.2026")
    assert find([*texts, "x", "y", "z"]) == []  # 5 of 35 are more than a few


def test_fractions_may_be_missing_as_loggers_have_it() -> None:
    texts = ["2026-03-01 10:00:00", "2026-03-01 10:00:00.5", "2026-03-01 10:00:01", "2026-03-01 10:00:01.25"]
    found = find_date_formats(Counter(texts), texts)
    assert found is not None
    (form,), _ = found
    assert form.read_column(texts) == [TEN, TEN + 0.5, TEN + 1, TEN + 1.25]
    assert form.resolution == 0.01


NO_DATES = {
    "durations": [f"{hours}:15:00" for hours in range(10, 40)],
    "dates with a sequence number": [f"202603{1 + i // 5:02}-{i % 5 + 1:04}" for i in range(60)],
    "the same in one number": [f"202603{1 + i // 5:02}{i % 5 + 1:04}" for i in range(60)],
    "opening hours": [f"{8 + i % 3:02}:00-{11 + i % 2}:30" for i in range(30)],
    "versions": [f"1.{i}.{i % 7}" for i in range(30)],
    "house numbers": [str(i) for i in range(1, 40)],
    "codes of eight digits": [str(random.Random(5).randrange(10**7, 10**8) + 7919 * i) for i in range(40)],
    "running numbers from 10^9": [str(1_000_000_001 + i) for i in range(50)],
    "large amounts": [str(int(random.Random(i).lognormvariate(21, 1.5))) for i in range(60)],
    "few numbers that could be dates": ["20260301", "20260302"] * 20,
    "repeated large measures": [str(1_500_000_000 + i * 7 % 10 * 1000) for i in range(60)],
    "words": ["alpha 1", "beta 2", "gamma 3"] * 10,
    "years": [str(1990 + i) for i in range(30)],
    "telephone": [f"030-{i:04}-{i}" for i in range(30)],
    "IP addresses": [f"10.0.{i}.{i * 3 % 250}" for i in range(30)],
    "months only": ["March", "April", "May"] * 10,
    "nothing": [],
    "signed": ["-3", "+4"] * 10,
}


@pytest.mark.parametrize("name", NO_DATES)
def test_what_only_looks_like_dates_is_none(name: str) -> None:
    assert find(NO_DATES[name]) == []


def test_components_above_twelve_settle_the_order() -> None:
    assert find(["03/04/2026", "01/02/2026", "03/25/2026", "02/03/2026"] * 3) == ["%m/%d/%Y"]
    assert find(["03/04/2026", "01/02/2026", "25/03/2026", "02/03/2026"] * 3) == ["%d/%m/%Y"]


def test_the_order_of_rows_settles_the_order_of_day_and_month() -> None:
    american = [f"11/{day:02}/2026" for day in range(1, 10) for _ in range(20)]
    assert find(american) == ["%m/%d/%Y"]
    assert find(random.Random(1).sample(american, len(american))) == ["%m/%d/%Y"]
    assert find([f"{day:02}/11/2026" for day in range(1, 10)]) == ["%d/%m/%Y"]
    rising = ["01/02/2026", "05/02/2026", "02/03/2026", "09/03/2026", "03/04/2026", "08/04/2026", "01/05/2026"]
    assert find(rising) == ["%d/%m/%Y"]  # as month and day these rows go to and fro


def test_years_of_two_digits_are_in_front_only_where_rows_show_it() -> None:
    log = [f"26/03/{day:02} 10:00:00" for day in range(1, 12)]
    assert find(log) == ["%y/%m/%d %H:%M:%S"]
    assert find(["05/03/12", "11/09/07", "02/12/01", "08/01/10"]) == ["%d/%m/%y", "%m/%d/%y"]


OPEN = [  # a monthly report, or the first days of January
    ([f"{i:02}/01/2026" for i in range(1, 10)], ["%d/%m/%Y", "%m/%d/%Y"]),
    ([f"{i:02}.01.2026" for i in range(1, 10)], ["%d.%m.%Y", "%m.%d.%Y"]),
    ([f"{i:02}-01-2026" for i in range(1, 10)], ["%d-%m-%Y", "%m-%d-%Y"]),
    ([f"{i:02}/01/2026 12:00 AM" for i in range(1, 10)], ["%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p"]),
    (["05/03/2026"] * 9, ["%d/%m/%Y", "%m/%d/%Y"]),
]


@pytest.mark.parametrize(("texts", "patterns"), OPEN)
def test_an_order_that_nothing_settles_stays_open_with_the_likelier_first(
    texts: list[str], patterns: list[str]
) -> None:
    assert find(texts) == patterns


def test_another_column_settles_an_open_order_where_the_separator_is_the_same() -> None:
    texts = OPEN[0][0]
    found = find_date_formats(Counter(texts), texts)
    assert found is not None
    month_first = DateFormat(pattern="%-m/%-d/%Y %H:%M")
    assert [form.pattern for form in settle_order(found[0], texts, month_first)] == ["%m/%d/%Y"]
    assert settle_order(found[0], texts, DateFormat(pattern="%m-%d-%Y")) == found[0]
    assert settle_order(found[0], texts, DateFormat(pattern="iso")) == found[0]
    time_first = DateFormat(pattern="%H:%M %m/%d/%Y")
    assert [form.pattern for form in settle_order(found[0], texts, time_first)] == ["%m/%d/%Y"]


def test_a_stated_format_takes_the_spelling_of_the_cells() -> None:
    form = parse_pattern("%d/%m/%Y %I:%M %p %z")
    assert with_spelling(form, {}) == form
    spelt = with_spelling(form, {"1/3/2026 9:05 p.m. +0100": 2, "12/3/2026 10:05 a.m. +0200": 1, "no date": 9})
    assert spelt.write(TEN) == "1/3/2026 10:00 a.m. +0100"


STATED = [
    ("%d.%m.%Y", "%d.%m.%Y", "DD.MM.YYYY"),
    ("DD/MM/YYYY", "%d/%m/%Y", "DD/MM/YYYY"),
    ("D/M/YY H:MM", "%-d/%-m/%y %-H:%M", "D/M/YY H:MM"),
    ("dd.MM.yyyy HH:mm:ss", "%d.%m.%Y %H:%M:%S", "DD.MM.YYYY HH:MM:SS"),
    ("HH:MM DD.MM.YYYY", "%H:%M %d.%m.%Y", "HH:MM DD.MM.YYYY"),
    ("MM/DD/YYYY hh:MM AM", "%m/%d/%Y %I:%M %p", "MM/DD/YYYY hh:MM AM"),
    ("YYYY-MM-DDTHH:MM:SS.fff", "%Y-%m-%dT%H:%M:%S.%3f", "YYYY-MM-DDTHH:MM:SS.fff"),
    ("D Month YYYY", "%-d %B %Y", "D Month YYYY"),
    ("Day, DD Mon YYYY", "%a, %d %b %Y", "Day, DD Mon YYYY"),
    ("%F %T", "%Y-%m-%d %H:%M:%S", "YYYY-MM-DD HH:MM:SS"),
    ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "DD/Mon/YYYY:HH:MM:SS zone"),
    ("iso", "iso", "ISO 8601"),
    ("ISO 8601", "iso", "ISO 8601"),
    ("epoch:ms", "epoch:ms", "epoch in ms"),
    ("epoch in s", "epoch:s", "epoch in s"),
    ("%H:%M", "%H:%M", "HH:MM"),
]


@pytest.mark.parametrize(("text", "pattern", "shown"), STATED)
def test_a_stated_format_is_understood_and_shown(text: str, pattern: str, shown: str) -> None:
    form = parse_pattern(text)
    assert form.pattern == pattern
    assert str(form) == shown
    assert parse_pattern(str(form)) == form


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("%d.%m.%Q", "%Q is unknown"),
        ("%d.%m", "it has no year, so it names no day"),
        ("%Y %H:%M", "it has no month, so it names no day"),
        ("%Y-%m %H:%M", "it has no day, so it names no day"),
        ("%d.%m.%Y %d", "it has the day twice"),
        ("%m/%d/%y %Y", "it has the year twice"),
        ("%M:%S", "no date in it"),
        ("no date", "is unknown"),
        ("", "no date in it"),
        ("%d%-m%Y", "needs a separator"),
        ("%d.%m.%Y %I:%M", "%p belongs to %I"),
        ("%d.%m.%Y %H:%S", "it has the second but no minute"),
        ("epoch:h", "counts since 1970 are epoch:s"),
        ("DD.MM.JJJJ", "'JJJJ' is unknown"),
        ("100%", "is unknown"),
    ],
)
def test_a_stated_format_that_is_none_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_pattern(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"pattern": "%Q"},
        {"pattern": "iso", "written": "%d"},
        {"pattern": "iso", "zone": "<b>"},
        {"pattern": "%H:%M", "half": "noon"},
        {"pattern": "iso", "case": "title"},
        {"pattern": "epoch:s", "written": "x%d"},
        {"pattern": "iso", "more": 1},
    ],
)
def test_a_format_from_a_file_is_checked(fields: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(fields), type=DateFormat)


@pytest.mark.parametrize(
    ("form", "resolution"),
    [
        (DateFormat(pattern="iso", written="%Y-%m-%d"), 86400.0),
        (DateFormat(pattern="iso"), 1.0),
        (DateFormat(pattern="%d.%m.%Y %H:%M"), 60.0),
        (DateFormat(pattern="%d.%m.%Y %H:%M:%S.%3f"), 0.001),
        (DateFormat(pattern="%m/%d/%Y %I %p"), 3600.0),
        (DateFormat(pattern="epoch:ms"), 0.001),
        (DateFormat(pattern="epoch:s"), 1.0),
        (DateFormat(pattern="epoch:s", written=".%1f"), 0.1),
        (DateFormat(pattern="%Y-%m"), 86400.0),
    ],
)
def test_resolution_is_the_step_between_dates(form: DateFormat, resolution: float) -> None:
    assert form.resolution == resolution


def test_a_moment_outside_the_calendar_cannot_be_written() -> None:
    with pytest.raises(DataError, match="years are 1 to 9999"):
        DateFormat(pattern="iso").write(1e15)


def test_padding_is_no_other_value() -> None:
    """A column of the 10th to the 31st does not show whether days are padded; both are read."""
    assert DateFormat(pattern="%d.%m.%Y").read("1.3.2026") == MARCH_1
    assert DateFormat(pattern="%-d.%-m.%Y").read("01.03.2026") == MARCH_1
    assert find([f"{day}.12.2026" for day in range(10, 31)]) == ["%d.%m.%Y"]
    assert find([f"{day}.3.2026" for day in range(10, 31)]) == ["%-d.%-m.%Y"]
