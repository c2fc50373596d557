"""Numbers as a reader wants them: rounded, with their interval, p-values and counts in one form."""

import math


def digits_for(values: list[float]) -> int:
    """Return decimals that suit a column: 3 for shares and scores up to 1, 1 for scores up to 100, else 0."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 3 if largest <= 1.5 else 1 if largest < 1000 else 0


def show(value: float | None, digits: int = 3) -> str:
    """Return a rounded number with a real minus sign; an absent one is a dash, minus zero is zero."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not a number"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def show_interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return ``value [low, high]``, or the value alone where there is no interval."""
    if value is None or low is None or high is None:
        return show(value, digits)
    return f"{show(value, digits)} [{show(low, digits)}, {show(high, digits)}]"


def show_p(value: float | None) -> str:
    """Return a p-value in two significant digits; below 0.001 only that it is below."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def show_count(value: float | None) -> str:
    """Return a whole number with thin spaces between thousands."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def show_time(seconds: float) -> str:
    """Return a duration as seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
