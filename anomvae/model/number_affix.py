"""What stands beside the numbers of a column: currencies, percent signs, units; and which of them go together."""

import re
from functools import lru_cache
from typing import NamedTuple

LONGEST_NAME = 12  # characters of an affix on one side of the number
LETTER = r"[^\W\d_]"
CURRENCY_SIGNS = (
    "$\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db\u20a0-\u20c0\ua838\ufdfc\ufe69\uff04"
    "\uffe0\uffe1\uffe5\uffe6"
)


def _words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_CURRENCY_CODES = _words(  # ISO 4217 without codes that are words (ALL, TOP, PEN, CUP); and what else people write
    "AED AFN AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK "
    "MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR "
    "SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TRY TTD TWD TZS UAH UGX USD UYU UZS VES "
    "VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL BTC ETH RMB DEM FRF HRK LTL LVL EEK SKK SIT "
    "Rs Rs. Re Re. Fr Fr. SFr SFr. kr kr. Kr Kr. zł zl Kč Ft lei Lei DM TL S/ S/. B/. Bs Bs. Rp Rp. Tk Tk. "
    "KSh Ksh TSh USh Nu. din din. лв лв. р р. руб руб. грн грн. дин дин. ден 元 円"
)
_signed_currency = re.compile(f"[A-Za-z]{{0,3}}[{CURRENCY_SIGNS}][A-Za-z]{{0,3}}").fullmatch
_LETTER_CURRENCIES = frozenset({"R", "RM", "Q", "L", "K"})  # glued to whole numbers they are identifiers: R101
# Words that say how a number is to be taken. Where only some cells have them, a value without them would be wrong.
_MEANINGS = _words(
    "k m b mn bn tn mio mrd mia lakh lakhs lac crore crores thousand million billion trillion thsd dozen "
    "тыс млн млрд cr dr c d n s e w °n °s °e °w bc ad bce ce"
)
_NEVER = _words(  # they make hours and days
    "am pm a.m p.m jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july "
    "august september october november december"
)


class Affix(NamedTuple):
    """What stands before and behind the numbers of a column, literally, with its spaces."""

    prefix: str = ""
    suffix: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Both sides without the spaces around them."""
        return " ".join(self.prefix.split()), " ".join(self.suffix.split())

    def __str__(self) -> str:
        """What a person calls it: `$`, `EUR`; both sides where there are two, as in `$…%`."""
        return "…".join(name for name in self.names if name)


def go_together(names: tuple[str, str], usual: tuple[str, str]) -> bool:
    """Whether any number of cells may have this affix beside the usual one: currencies, and none where it is a unit."""
    if names == usual or all(not name or is_currency(name) for name in (*names, *usual)):
        return True
    return not any(names) and not _meanings(usual) and "%" not in usual


@lru_cache(maxsize=4096)
def strangeness(affix: Affix, usual: Affix) -> str | None:
    """What is strange about an affix where another is usual: "" for nothing; None where a value would be misread."""
    if str(affix) == str(usual):
        return ""
    names, expected = affix.names, usual.names
    changed = [(name, other) for name, other in zip(names, expected, strict=True) if name != other]
    if any(_meanings(pair) for pair in changed) or not can_be_usual(affix):
        return None
    prefix, suffix = names
    if prefix not in ("", expected[0]) and not is_currency(prefix):
        return None
    known = suffix in ("", expected[1]) or is_currency(suffix) or not any(map(str.isalpha, suffix))
    if not known and not expected[1] and (not affix.suffix[0].isspace() or " " in suffix):
        return None  # among numbers without a unit, 12A is a code and 12 Main Street an address
    return str(affix) or f"no {usual}"


def _meanings(names: tuple[str, str]) -> bool:
    """Whether a word among these changes the value or its sign, as k, million, CR or S do."""
    return any(name.lower().rstrip(".") in _MEANINGS for name in names)


def is_currency(name: str) -> bool:
    """Whether a name is that of a currency: a code, an abbreviation, or a sign with letters beside it."""
    return name in _CURRENCY_CODES or bool(_signed_currency(name))


@lru_cache(maxsize=4096)
def can_be_usual(affix: Affix) -> bool:
    """Whether a whole column may have this affix; letters glued before a number are those of an identifier: A123."""
    prefix, suffix = affix.names
    glued = prefix and not affix.prefix[-1].isspace()
    if glued and any(map(str.isalpha, prefix)) and not is_currency(prefix) and prefix not in _LETTER_CURRENCIES:
        return False
    if suffix and not affix.suffix[0].isspace() and (re.search("[0-9]", suffix) or suffix in ("e", "E")):
        return False  # 5a3 is a code, and 5e what is left of an exponent
    return all(map(_is_name, affix.names))


def needs_measures(affix: Affix) -> bool:
    """Whether whole numbers behind this prefix are labels: `Store 12`, but not `EUR 12`; `Depth 12.5` is a measure."""
    prefix = affix.names[0]
    return any(map(str.isalpha, prefix)) and not is_currency(prefix)


def _is_name(name: str) -> bool:
    """Whether one side of an affix is neither too long nor a part of a number or date, such as ½, 万 or PM."""
    numeric = any(char.isnumeric() and not char.isascii() for char in re.sub(rf"(?<={LETTER})[\u00b2\u00b3]", "", name))
    return len(name) <= LONGEST_NAME and not numeric and name.lower().rstrip(".") not in _NEVER
