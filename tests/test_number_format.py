"""Number formats: found from the cells of a column, read strictly, and written back as they were."""

import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from anomvae.errors import DataError, UsageError
from anomvae.model.number_format import Affix, FormatFit, NumberFormat, find_number_format

NBSP, NARROW, THIN, MINUS, RIGHT_QUOTE = "\u00a0", "\u202f", "\u2009", "\u2212", "\u2019"


def found(*texts: str, **marks: str) -> tuple[NumberFormat, FormatFit]:
    """The format of a column with one cell for each text."""
    result = find_number_format(Counter(texts), **marks)
    assert result is not None, texts
    return result


def read_back(texts: list[str], **marks: str) -> list[float]:
    """The values of a column in the format that is found in it."""
    numbers, fit = found(*texts, **marks)
    assert fit.strange == () and fit.share == 1
    return [numbers.read(text)[0] for text in texts]


# Every column once: what exporters, banks, loggers and spreadsheets write, and the values that a person reads.
COLUMNS: list[tuple[list[str], list[float]]] = [
    (["1", "-2", "+3", "12345"], [1, -2, 3, 12345]),
    (["2.50", "-0.25", ".5", "5."], [2.5, -0.25, 0.5, 5]),
    (["$1,234.50", "$5.00", "-$7.25"], [1234.5, 5, -7.25]),
    (["($1,234.50)", "$12.00", "($0.99)"], [-1234.5, 12, -0.99]),
    (["$(5.00)", "$1,000.00"], [-5, 1000]),
    (["(12.50)", "7.25"], [-12.5, 7.25]),
    ([" $ 1,234.50 ", " $    5.00 ", " $ (7.25)"], [1234.5, 5, -7.25]),
    (["US$ 5", "US$ 1,250", "-US$ 3"], [5, 1250, -3]),
    (["12.50 EUR", "-3.10 EUR", f"{MINUS}4.00 EUR"], [12.5, -3.1, -4]),
    (["€12,50", "€-3,05", "€1.000,00"], [12.5, -3.05, 1000]),
    (["12,50 €", "-1.234,50 €"], [12.5, -1234.5]),
    (["(5.00) EUR", "3.00 EUR"], [-5, 3]),
    (["(5.00 EUR)", "3.00 EUR"], [-5, 3]),
    (["CHF 1'234.50", "CHF 5.00"], [1234.5, 5]),
    ([f"1{RIGHT_QUOTE}234{RIGHT_QUOTE}567.50", "5.00"], [1234567.5, 5]),
    (["R$ 1.234,50", "R$ 7,00"], [1234.5, 7]),
    (["1 234,50 zł", "5,20 zł"], [1234.5, 5.2]),
    ([f"1{NBSP}234,50{NBSP}€", f"5,20{NBSP}€"], [1234.5, 5.2]),
    ([f"1{NARROW}234{NARROW}567,5", "2,5"], [1234567.5, 2.5]),
    ([f"12{THIN}345.75", "1.25"], [12345.75, 1.25]),
    (["Rs. 12,34,567.00", "Rs. 500.50", "Rs.1,500.00"], [1234567, 500.5, 1500]),
    (["₹12,34,567", "₹1,50,000"], [1234567, 150000]),
    (["¥500", "¥12,000,000"], [500, 12000000]),
    (["EUR12", "EUR5"], [12, 5]),
    (["$.50", "$1.25"], [0.5, 1.25]),
    (["kr. 1.234,50", "kr. 5,00"], [1234.5, 5]),
    (["100 Kč", "2 500 Kč"], [100, 2500]),
    (["15.0 %", "-2.5 %"], [15, -2.5]),
    (["15%", "7%"], [15, 7]),
    (["%15", "%7"], [15, 7]),
    (["12 kg", "7 kg"], [12, 7]),
    (["12kg", "3kg"], [12, 3]),
    (["5GB", "16GB"], [5, 16]),
    (["3ms", "12.5ms"], [3, 12.5]),
    (["70F", "68F"], [70, 68]),
    (["3.4 mg/L", "12.0 mg/L"], [3.4, 12]),
    (["-4 °C", "21 °C"], [-4, 21]),
    (["120 V", "118 V"], [120, 118]),
    (["12 m2", "250 m2"], [12, 250]),
    (["9.81 m/s^2", "9.79 m/s^2"], [9.81, 9.79]),
    (["0.5 µg/m³", "12.5 µg/m³"], [0.5, 12.5]),
    (["1.2k", "3.4k"], [1.2, 3.4]),
    (["$12.50/h", "$9.00/h"], [12.5, 9]),
    (["Depth 12.5", "Depth -7.0"], [12.5, -7]),
    (["5.00-", "6.00", "1,234.00-"], [-5, 6, -1234]),
    (["5.00 EUR-", "6.00 EUR"], [-5, 6]),
    ([f"{MINUS}5.5", "6.0"], [-5.5, 6]),
    (["- 12.50 €", "8.00 €"], [-12.5, 8]),
    (["1e-05", "2.5", "1E+05"], [1e-05, 2.5, 1e5]),
    (["1,5e-05", "2,5"], [1.5e-05, 2.5]),
    (["1.0E5", "2.5E6"], [1e5, 2.5e6]),
    (["1.234.567", "2.345"], [1234567, 2345]),
    (["1,234", "1,234,567"], [1234, 1234567]),
    (["12,5", "1,234"], [12.5, 1.234]),
    (["0,123", "1,234"], [0.123, 1.234]),
    (["0.123", "1.234"], [0.123, 1.234]),
    (["1.5", "1.234"], [1.5, 1.234]),
    (["1234.50", "1,234.50"], [1234.5, 1234.5]),
    (["012.50", "003.25"], [12.5, 3.25]),
]


@pytest.mark.parametrize(("texts", "values"), COLUMNS, ids=lambda column: str(column[0]))
def test_columns_are_read_as_a_person_reads_them(texts: list[str], values: list[float]) -> None:
    assert read_back(texts) == values


NO_NUMBERS = [
    ["5E0", "3E7", "5E1"],
    ["5E0", "510", "520"],
    ["655e38", "1e2641", "bd8593", "00ff12", "3fa2b1"],
    ["00123", "12345"],
    ["007", "008"],
    ["$007", "$012"],
    ["1_000", "2_000"],
    ["\uff11\uff12", "\uff13"],
    ["inf", "-inf"],
    ["nan"],
    ["12:30", "13:45"],
    ["2026-01-02"],
    ["02/01/2026"],
    ["12 Jan", "13 Jan"],
    ["9 am", "10 am"],
    ["12h30", "13h45"],
    ["555-1234", "555-9876"],
    ["1.2.3", "1.10.0"],
    ["192.168.1.10", "10.0.0.1"],
    ["A123", "A124"],
    ["INV-0012", "INV-0013"],
    ["SEK-1001", "SEK-1002"],
    ["R101", "R102"],
    ["Store 12", "Store 13"],
    ["1,23,4"],
    ["1,2345,678"],
    ["0x10", "0x1f"],
    ["10A", "10B", "12C"],
    ["5a3", "7b2"],
    ["1½", "2½"],
    ["5万", "3万"],
    ["5²", "3²"],
    ["5 ft 3 in", "6 ft 1 in"],
    ["5e", "7e"],
    ["12 kg", "500 g", "3 kg", "250 g"],
    ["1.2k", "3M", "500"],
    ["5.00 CR", "6.00 DR", "7.00 CR"],
    ["52.1 N", "13.2 S", "52.3 N"],
    ["15%", "0.15"],
    ["(0.012)", "(0.5)"],
    ["--5", "5--"],
    ["(5", "6)"],
    ["(-5)", "-(6)"],
    ["", " "],
    ["red", "green"],
    ["12 rather long words"],
]


@pytest.mark.parametrize("texts", NO_NUMBERS, ids=str)
def test_codes_labels_dates_and_mixed_units_are_no_numbers(texts: list[str]) -> None:
    assert find_number_format(Counter(texts)) is None


def test_no_cells_are_no_numbers() -> None:
    assert find_number_format({}) is None


# The marks


@pytest.mark.parametrize(
    ("texts", "decimal", "thousands", "certain"),
    [
        (["1.234,50"], ",", ".", True),
        (["1,234.50"], ".", ",", True),
        (["1.5"], ".", "", True),
        (["12,5"], ",", "", True),
        (["1,234", "999"], ".", ",", False),
        (["1.234", "2.345"], ".", "", False),
        (["1.234", "2.345", "1.234.567"], ",", ".", True),
        (["1.234", "0.345"], ".", "", True),
        (["1,234", "1234,567"], ",", "", True),
        (["12", "13"], ".", "", True),
    ],
)
def test_the_cells_decide_the_marks_or_leave_them_open(
    texts: list[str], decimal: str, thousands: str, certain: bool
) -> None:
    numbers, fit = found(*texts)
    assert (numbers.decimal, numbers.thousands, fit.certain) == (decimal, thousands, certain)


def test_given_marks_settle_what_the_cells_leave_open() -> None:
    assert read_back(["1,234", "999"], decimal=",") == [1.234, 999]
    assert read_back(["1,234", "999"], thousands="") == [1.234, 999]
    assert read_back(["1.234", "999"], decimal=",") == [1234, 999]
    assert read_back(["1.234", "999"], thousands=".") == [1234, 999]
    assert read_back(["1_234", "999"], thousands="_") == [1234, 999]
    assert found("1,234", decimal=",")[1].certain and found("1.234", decimal=".")[1].certain


def test_the_marks_that_stand_in_the_texts_are_told() -> None:
    assert found("12", "13")[1].separators == ("", "")
    assert found("1,234")[1].separators == ("", ",")
    assert found("1.234,5")[1].separators == (",", ".")


def test_the_same_mark_for_both_is_a_mistake_of_the_call() -> None:
    with pytest.raises(UsageError, match="',' as the decimal mark"):
        find_number_format({"1,5": 1}, decimal=",", thousands=",")


def test_the_majority_decides_between_contradicting_cells() -> None:
    numbers, fit = found("1.234,50", "2.345,60", "7,25", "1,234.50")
    assert numbers.decimal == ","
    assert fit.strange == ("1,234.50",) and fit.share == 0.75


def test_one_cell_does_not_turn_thousands_into_decimals() -> None:
    cells = {"1,234": 500, "12,345": 499, "12,5": 1}
    result = find_number_format(cells)
    assert result is not None
    numbers, fit = result
    assert numbers.read("1,234") == (1234, "")
    assert fit.strange == ("12,5",) and not fit.certain
    settled = find_number_format(cells, decimal=",")
    assert settled is not None and settled[0].read("1,234") == (1.234, "") and settled[1].certain


def test_few_strange_cells_are_listed_as_they_stand() -> None:
    result = find_number_format({" 1.5": 60, "2.5 ": 38, "debug\nline": 1, " off": 1})
    assert result is not None
    assert result[1].strange == ("debug\nline", " off")
    assert result[1].share == pytest.approx(0.98)


def test_a_number_too_large_for_a_float_is_strange() -> None:
    assert found("1.5", "2.5", "1e999")[1].strange == ("1e999",)
    assert found("1.5", "2.5", "1e308")[1].strange == ()


# Strict reading


@pytest.mark.parametrize(
    ("numbers", "text", "advice"),
    [
        (NumberFormat(thousands=","), "1.234,50", "a decimal comma?"),
        (NumberFormat(), "12,5", "a decimal comma?"),
        (NumberFormat(decimal=","), "12.5", "a decimal point?"),
        (NumberFormat(decimal=",", thousands="."), "1.5", "a decimal point?"),
        (NumberFormat(decimal=",", thousands="."), "0.123", "a decimal point?"),
        (NumberFormat(thousands=","), "0,123", "a decimal comma?"),
        (NumberFormat(thousands=","), "1,23,4", "other thousands separators?"),
        (NumberFormat(thousands=","), "1234,567", "a decimal comma?"),
        (NumberFormat(), "1'234", "other thousands separators?"),
        (NumberFormat(), "1_000", "other thousands separators?"),
        (NumberFormat(), "12A", "another unit or sign"),
        (NumberFormat(), "1.2k", "another unit or sign"),
        (NumberFormat(), "12 Main St", "another unit or sign"),
        (NumberFormat(), "Room 12", "another unit or sign"),
        (NumberFormat(), "(12)", "another unit or sign"),
        (NumberFormat(), "12-", "another unit or sign"),
        (NumberFormat(affix=Affix("", "k")), "1200", "another unit or sign"),
        (NumberFormat(affix=Affix("", " CR")), "12 DR", "another unit or sign"),
        (NumberFormat(affix=Affix("", " N")), "12 S", "another unit or sign"),
    ],
)
def test_a_cell_of_another_format_is_an_error_with_advice(numbers: NumberFormat, text: str, advice: str) -> None:
    with pytest.raises(DataError) as caught:
        numbers.read(text)
    assert caught.value.code == "not_a_number"
    assert str(caught.value.message) == f"'{text}' is not a number written like the training data's ({advice})"


@pytest.mark.parametrize("text", ["", "x", "1e", "0x10", "\uff11", "\t1", "1\n", "--1", "1 2", "1.2.3", "nan", "١٢"])
def test_what_is_no_number_at_all_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match="is not a number") as caught:
        NumberFormat().read(text)
    assert caught.value.code == "not_a_number"


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999", "$1e999", "9" * 400])
def test_infinities_and_overflow_are_errors(text: str) -> None:
    with pytest.raises(DataError) as caught:
        NumberFormat().read(text)
    assert caught.value.code == "non_finite"


def test_a_hyphen_is_read_in_every_format_and_another_minus_where_training_had_it() -> None:
    for numbers in (NumberFormat(), NumberFormat(negative="parentheses"), NumberFormat(negative="unicode_minus")):
        assert numbers.read("-5")[0] == -5
    assert NumberFormat(negative="unicode_minus").read(f"{MINUS}5")[0] == -5
    with pytest.raises(DataError):
        NumberFormat().read(f"{MINUS}5")


def test_another_affix_is_read_and_told() -> None:
    euros = NumberFormat(affix=Affix("", " EUR"), digits=2)
    assert [euros.read(text) for text in ("5 EUR", "5EUR", "EUR 5", "$5 EUR", "5", "$5", "5 kg")] == [
        (5, ""),
        (5, ""),
        (5, ""),
        (5, "$…EUR"),
        (5, "no EUR"),
        (5, "$"),
        (5, "kg"),
    ]
    assert [NumberFormat().read(text) for text in ("5", "5 kg", "5%", "€5")] == [(5, ""), (5, "kg"), (5, "%"), (5, "€")]


def test_currencies_mix_and_the_commonest_is_usual() -> None:
    numbers, fit = found("12.50 EUR", "3.10 EUR", "5.00 USD", "7.00")
    assert str(numbers.affix) == "EUR"
    assert fit.affixes == ("USD", "no EUR")


def test_an_affix_has_a_name() -> None:
    assert [str(Affix(*sides)) for sides in (("$ ", ""), ("", " EUR"), ("", f"{NBSP}°C"), ("$", "/h"), ("", ""))] == [
        "$",
        "EUR",
        "°C",
        "$…/h",
        "",
    ]


# How a column is written


@pytest.mark.parametrize(
    "texts",
    [
        ["2.50", "3.25", "-1.00"],
        ["2.5", "3.25", "-1"],
        ["2.5", "3.25", "-1.0"],
        ["2.0", "0.1234567890123456"],
        ["2.0", "1e-05"],
        ["2", "0.1234567890123456"],
        ["($1,234.50)", "$12.00"],
        ["$(1,234.50)", "$12.00"],
        ["-$5.00", "$12.00"],
        ["$-5.00", "$12.00"],
        ["5.00-", "12.00"],
        ["5.00- EUR", "12.00 EUR"],
        ["(5,00 €)", "1.234,50 €"],
        [f"{MINUS}5 kg", "12 kg"],
        [f"1{NARROW}234,50 zł", "5,00 zł"],
        ["Rs. 12,34,567.00", "Rs. 50.00", "Rs. 1,234.00"],
        ["0.1234567890123456", "12.5"],
        ["12 m2", "250 m2"],
    ],
    ids=str,
)
def test_cells_are_written_as_they_stood(texts: list[str]) -> None:
    numbers, _ = found(*texts)
    values = [numbers.read(text)[0] for text in texts]
    assert numbers.write_column(values) == texts


def test_one_exponent_among_whole_numbers_leaves_them_whole() -> None:
    numbers, _ = found("1e+05", "12", "7")
    assert numbers.digits == 0
    assert numbers.write(100000) == "100000"
    assert found("1e-05", "12", "7")[0].digits is None
    assert found("1e+05", "2e+06")[0].digits is None


def test_zero_has_no_sign() -> None:
    for numbers in (NumberFormat(digits=2), NumberFormat(digits=2, affix=Affix("$"), negative="parentheses")):
        assert numbers.write(-0.001) == numbers.write(0.0) == numbers.write_column([-0.001])[0]
    assert NumberFormat(digits=2, padded=False).write_column([-0.001, 2.5]) == ["0", "2.5"]


def test_a_format_survives_json() -> None:
    numbers = found("($1,234.50)", "$12.00")[0]
    assert msgspec.json.decode(msgspec.json.encode(numbers), type=NumberFormat) == numbers


# What must always hold

AFFIXES = [
    Affix(),
    Affix("$"),
    Affix("$ "),
    Affix("US$ "),
    Affix("Rs. "),
    Affix("EUR"),
    Affix("", " EUR"),
    Affix("", f"{NBSP}€"),
    Affix("", "%"),
    Affix("", " kg"),
    Affix("", "ms"),
    Affix("", " m/s^2"),
    Affix("", " m2"),
    Affix("€ ", " /h"),
]
MARKS = [
    (decimal, thousands)
    for decimal in ".,"
    for thousands in ["", *f".,'{RIGHT_QUOTE} {NBSP}{NARROW}{THIN}"]
    if decimal != thousands
]


@st.composite
def formats(draw: st.DrawFn) -> NumberFormat:
    decimal, thousands = draw(st.sampled_from(MARKS))
    return NumberFormat(
        decimal=decimal,
        thousands=thousands,
        indian=thousands == "," and draw(st.booleans()),
        affix=draw(st.sampled_from(AFFIXES)),
        negative=draw(st.sampled_from(["minus", "unicode_minus", "parentheses", "trailing"])),
        sign_first=draw(st.booleans()),
        digits=draw(st.none() | st.integers(0, 6)),
        padded=draw(st.booleans()),
        least_digits=draw(st.integers(0, 1)),
    )


finite = st.floats(allow_nan=False, allow_infinity=False)
measures = (
    st.floats(-1e9, 1e9) | st.integers(-2000, 2000).map(float) | st.integers(-(10**7), 10**7).map(lambda n: n / 1000)
)


def as_written(numbers: NumberFormat, value: float) -> float:
    return value if numbers.digits is None else round(value, numbers.digits)


@given(formats(), finite | measures)
def test_what_is_written_is_read_back(numbers: NumberFormat, value: float) -> None:
    value = as_written(numbers, value)
    assume(math.isfinite(value))
    assert numbers.read(numbers.write(value)) == (value, "")


@given(formats(), st.lists(measures, min_size=1, max_size=30))
def test_columns_are_read_and_written_as_their_cells_are(numbers: NumberFormat, values: list[float]) -> None:
    texts = numbers.write_column(values)
    assert texts == [numbers.write(value) for value in values]
    assert numbers.read_column(texts) in (None, [as_written(numbers, value) for value in values])
    if numbers.negative != "trailing":
        assert numbers.read_column(texts) is not None


@settings(max_examples=400)
@given(formats(), st.lists(measures, min_size=1, max_size=30))
@example(NumberFormat(decimal=",", thousands="."), [1234.0, 5.0])
@example(NumberFormat(decimal=",", digits=3), [1.234, 5.678])
def test_the_format_of_a_column_reads_its_cells_as_they_were_meant(numbers: NumberFormat, values: list[float]) -> None:
    values = [as_written(numbers, value) for value in values]
    texts = [numbers.write(value) for value in values]
    open_signs = numbers.negative == "parentheses" and all(value < 0 for value in values)
    labels = numbers.affix == Affix("EUR") and all(value < 0 for value in values)
    assume(not open_signs and not labels)
    given_marks = found(*texts, decimal=numbers.decimal, thousands=numbers.thousands)
    assert [given_marks[0].read(text) for text in texts] == [(value, "") for value in values]
    by_itself, fit = found(*texts)
    if fit.certain:
        assert [by_itself.read(text) for text in texts] == [(value, "") for value in values]
    else:
        assert any(re.search(r"(?<![0-9])[1-9][0-9]{0,2}[.,][0-9]{3}(?![0-9])", text) for text in texts)


@given(formats(), formats(), measures)
def test_no_spelling_is_read_as_another_value(numbers: NumberFormat, other: NumberFormat, value: float) -> None:
    value = as_written(numbers, value)
    text = numbers.write(value)
    try:
        read, _ = other.read(text)
    except DataError:
        return
    one_group = re.search(r"(?<![0-9.,])[1-9][0-9]{0,2}[.,][0-9]{3}(?![0-9.,])", text)
    assert (
        read == value
        or (one_group and numbers.decimal != other.decimal)
        or (one_group and {numbers.thousands, other.thousands} & {".", ","})
    )


@settings(max_examples=500)
@given(formats(), st.text(alphabet="0123456789.,' -+()$€%\u2212\u00a0_", max_size=12))
def test_whatever_is_read_has_all_digits_of_its_text(numbers: NumberFormat, text: str) -> None:
    try:
        value, _ = numbers.read(text)
    except DataError:
        return
    assert abs(value) == float(re.sub(f"[^0-9{numbers.decimal}]", "", text).replace(",", "."))
    assert (value < 0) == (value != 0 and any(sign in text for sign in f"-{MINUS}("))


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-fA-F.,]{1,12}[ %a-z]{0,3}", fullmatch=True))
def test_any_text_is_a_number_or_an_error_of_its_cell(text: str) -> None:
    result = find_number_format({text: 1, "1.5": 500, "2.5": 500})
    assert result is not None
    numbers, fit = result
    try:
        numbers.read(text)
    except DataError:
        assert fit.strange == (text,)
    else:
        assert fit.strange == ()


# Speed


def _distinct(write: Callable[[float], str]) -> dict[str, int]:
    generator = random.Random(5)
    return dict.fromkeys((write(generator.gauss(0, 1e6)) for _ in range(200_000)), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [
        repr,
        lambda v: f"{v:,.2f} EUR",
        lambda v: f"(${-v:,.2f})" if v < 0 else f"${v:,.2f}",
        lambda v: f"{v:.0f} m2 of the floor",
        lambda v: f"{hash(v):x}",
        lambda v: f"{v:.8e}",
    ],
)
def test_the_format_of_200_000_texts_is_found_in_a_second(write: Callable[[float], str]) -> None:
    counts = _distinct(write)
    start = time.process_time()
    find_number_format(counts)
    assert time.process_time() - start < 1
