"""Distribution functions that the standard library lacks."""

import math

_STEPS = 500
_TINY = 1e-300


def student_above(t: float, degrees: float) -> float:
    """Chance that Student's t with so many degrees of freedom is above ``t``.

    >>> round(student_above(1.812, 10), 3), round(student_above(-1.812, 10), 3)
    (0.05, 0.95)

    References:
        M. Abramowitz, I. A. Stegun: Handbook of Mathematical Functions. 1964, 26.7.1.
    """
    tail = beta_below(degrees / (degrees + t * t), degrees / 2, 0.5) / 2
    return tail if t >= 0 else 1 - tail


def student_quantile(tail: float, degrees: float) -> float:
    """The t that is exceeded with the chance ``tail``, at most 0.5; by halving.

    >>> round(student_quantile(0.05, 10), 3)
    1.812
    """
    low, high = 0.0, 1.0
    while student_above(high, degrees) > tail and high < 1e9:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_above(middle, degrees) > tail else (low, middle)
    return (low + high) / 2


def beta_below(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function: chance that Beta(a, b) is at most ``x``; by its continued fraction.

    >>> round(beta_below(0.5, 2, 2), 6), round(beta_below(0.25, 1, 3), 6)
    (0.5, 0.578125)

    References:
        W. J. Lentz: Generating Bessel Functions in Mie Scattering Calculations Using Continued Fractions. Applied
        Optics 15(3), 1976, pp. 668-671. The fraction: NIST Digital Library of Mathematical Functions, 8.17.22.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # there it converges slowly; the mirror image does not
        return 1 - beta_below(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    d = 1 / _apart(1 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    for m in range(1, _STEPS):
        before = value
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _apart(1 + part * d), _apart(1 + part / c)
            value *= d * c
        if abs(value - before) <= 1e-15 * abs(value):
            break
    return value


def _apart(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
