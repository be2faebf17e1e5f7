"""How the pages write money, times and small parts. Three precisions, never mixed in a column: cents, micro, exact."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from faces.lib.money import NANO_PER_USD

register = template.Library()

CENT_NANOUSD: Final = NANO_PER_USD // 100
SMALL_NANOUSD: Final = 10 * CENT_NANOUSD
MICRO_NANOUSD: Final = NANO_PER_USD // 1_000_000
MINUS: Final = "−"


def _value(nanousd: int) -> str:
    return f"{Decimal(nanousd).scaleb(-9):.9f}"


def cents_text(nanousd: int, *, up: bool = False) -> str:
    """`1,234.56`: what is left rounds down, what is spent rounds up, so that a page never promises more than there is. Below
    ten cents a cent says too little: there it is six decimals, `0.000600`, unless it is a whole number of cents."""
    if abs(nanousd) < SMALL_NANOUSD and nanousd % CENT_NANOUSD:
        micros = -(-nanousd // MICRO_NANOUSD) if up else nanousd // MICRO_NANOUSD
        return f"{MINUS if micros < 0 else ''}0.{abs(micros):06d}"
    cents = -(-nanousd // CENT_NANOUSD) if up else nanousd // CENT_NANOUSD
    sign = MINUS if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def _with_sign(text: str, sign: str) -> str:
    """`−$1.50`: the minus before the currency."""
    return f"{MINUS}{sign}{text[1:]}" if text.startswith(MINUS) else f"{sign}{text}"


def micro_text(nanousd: int) -> str:
    """`0.003720`, rounded up; a charge under a millionth shows as such, never as zero."""
    if 0 < nanousd < MICRO_NANOUSD:
        return "<0.000001"
    micros = -(-nanousd // MICRO_NANOUSD)
    return f"{micros // 1_000_000:,}.{micros % 1_000_000:06d}"


@register.simple_tag
def cents(nanousd: int, up: bool = False, sign: str = "$") -> SafeString:
    """Cents, for caps, top-ups and totals."""
    text = _with_sign(cents_text(nanousd, up=bool(up)), sign)
    return format_html('<data class="money" value="{}">{}</data>', _value(nanousd), text)


@register.simple_tag
def micro(nanousd: int) -> SafeString:
    """Six decimals, for a call, a day or a model; under a head that says USD."""
    return format_html('<data class="money" value="{}">{}</data>', _value(nanousd), micro_text(nanousd))


@register.simple_tag
def exact(nanousd: int, sign: str = "", signed: bool = False, big: bool = False) -> SafeString:
    """Nine decimals, the tail quieter: balance, statement, a key's own sum. `signed` writes + or − before it."""
    whole, part = divmod(abs(nanousd), NANO_PER_USD)
    mark = (MINUS if nanousd < 0 else "+") if signed else (MINUS if nanousd < 0 else "")
    digits = f"{part:09d}"
    currency = format_html('<span class="cur">{}</span>', sign) if big else sign
    return format_html(
        '<data class="money{}" value="{}">{}{}{}.{}<span class="tail">{}</span></data>',
        " fig" if big else "",
        _value(nanousd),
        mark,
        currency,
        f"{whole:,}",
        digits[:2],
        digits[2:],
    )


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html('<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@register.simple_tag
def moment(at: datetime | None, short: bool = False) -> SafeString | str:
    """`24 Nov 2026, 14:07 UTC`; short, for tables under a head that says UTC: `24 Nov, 14:07:27`."""
    if at is None:
        return ""
    if short:  # on a phone the day stands above the time
        day, time = f"{at.day} {at:%b}", f"{at:%H:%M:%S}"
        return format_html('<time datetime="{}"><span class="d">{}, </span>{}</time>', at.isoformat(), day, time)
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), f"{at.day} {at:%b %Y, %H:%M} UTC")


@register.simple_tag
def last_used(at: datetime | None) -> SafeString | str:
    """Relative within a day, else the day."""
    if at is None:
        return "Never"
    age = timezone.now() - at
    if age < timedelta(minutes=1):
        text = "just now"
    elif age < timedelta(hours=1):
        text = f"{age.seconds // 60} min ago"
    elif age < timedelta(days=1):
        text = f"{age.seconds // 3600} h ago"
    else:
        text = f"{at.day} {at:%b %Y}"
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), text)


@register.inclusion_tag("_measure.html")
def measure(
    spent: int, held: int, cap: int | None, frozen: bool = False, big: bool = False, label: str = ""
) -> dict[str, Any]:
    """The measure: spent solid, held hatched, the cap a wall at the end. Held shows at least 0.8 % wide."""
    if not cap:
        share, held_share = (100.0 if cap == 0 else 0.0), 0.0
    else:
        share = min(100.0, spent * 100 / cap)
        held_share = 0.0 if held == 0 else min(100.0 - share, max(0.8, held * 100 / cap))
    state = "off" if frozen else "full" if share >= 100 else ""
    return {
        "spent": f"{share:.2f}",
        "held": f"{held_share:.2f}" if held_share else "",
        "state": state,
        "big": big,
        "label": label,
        "top": 3 if big else 2,
        "bar": 14 if big else 8,
        "wall": 20 if big else 12,
    }


@register.filter
def count(number: int) -> str:
    return f"{number:,}"


@register.filter
def short_address(address: str) -> str:
    """`0x8f3C…41bE`."""
    return f"{address[:6]}…{address[-4:]}" if len(address) > 12 else address


@register.simple_tag
def dollars(nanousd: int, up: bool = False) -> str:
    """Cents as plain text, for sentences and labels."""
    return _with_sign(cents_text(nanousd, up=bool(up)), "$")


@register.simple_tag
def change(now_nanousd: int, before_nanousd: int) -> str:
    """What is more or less than before, as `+$140.00` or `−$0.07`: the difference of both in cents, rounded to nearest."""
    cents = (abs(now_nanousd - before_nanousd) + CENT_NANOUSD // 2) // CENT_NANOUSD
    sign = MINUS if now_nanousd < before_nanousd else "+"
    return f"{sign}${cents_text(cents * CENT_NANOUSD)}"


@register.simple_tag
def tick(nanousd: int) -> str:
    """A grid line's label: as few decimals as it needs."""
    whole, _, part = f"{Decimal(nanousd).scaleb(-9).normalize():f}".partition(".")
    return f"${int(whole):,}.{part.ljust(2, '0')}" if part else f"${int(whole):,}"


@register.simple_tag
def reading(chart: Any, column: Any) -> str:
    """One day of a chart as a sentence: `Mon 26 Oct: $3.01 for 11,829 calls (…)`."""
    calls = column.total.calls
    text = f"{column.day:%a} {column.day.day} {column.day:%b}: ${cents_text(column.total.cost_nanousd, up=True)}"
    text += f" for {calls:,} call{'' if calls == 1 else 's'}"
    parts = [
        f"{name} ${cents_text(cell.cost_nanousd, up=True)}"
        for name, cell in zip(chart.series, column.cells, strict=True)
        if cell.cost_nanousd
    ]
    return f"{text} ({', '.join(parts)})" if len(chart.series) > 1 and parts else text
