"""Facts of the monitor in words that a person says."""

import math

SUBJECTS = {
    "estimated_error": "the estimated error",
    "features": "all features together",
    "prediction": "the predictions",
}
DIGITS_MAX = 6  # odds beyond a million are told as a power of ten


def subject_words(subject: str) -> str:
    """What a drift is about, as people call it.

    >>> subject_words("feature:nswprice"), subject_words("score:1"), subject_words("error")
    ('nswprice', 'the score of class 1', 'error')
    """
    kind, _, rest = subject.partition(":")
    if kind == "feature" and rest:
        return rest
    if kind == "score" and rest:
        return f"the score of class {rest}"
    return SUBJECTS.get(subject, subject)


def message_words(message: str, subject: str) -> str:
    """The monitor's sentence with its subject in words.

    >>> message_words("feature:nswprice of version 2 rose", "feature:nswprice")
    'nswprice of version 2 rose'
    """
    return message.replace(subject, subject_words(subject))


def odds(log_e_value: float) -> str:
    """An e-value, given as its natural logarithm, as odds of two digits.

    >>> odds(13.6), odds(0.7), odds(230.0)
    ('about 810,000 to 1', 'about 2 to 1', 'about 10^99 to 1')
    """
    tens = log_e_value / math.log(10)
    if tens >= DIGITS_MAX:
        return f"about 10^{math.floor(tens)} to 1"
    value = math.exp(log_e_value)
    return f"about {float(f'{value:.2g}'):,.0f} to 1" if value >= 1 else f"less than 1 to 1 ({value:.2g})"
