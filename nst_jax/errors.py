"""The one exception that means: what was given cannot be used, and the message says what to do."""

import re

_LONGEST = 3000  # characters


class InputError(ValueError):
    """Bad input, told in a sentence: what was given, what was expected, what to do.

    The command line prints the sentence alone and exits with code 2.
    """

    def __init__(self, sentence: object = ""):
        super().__init__(printable(str(sentence)))


def printable(sentence: str) -> str:
    """A sentence as one line that a terminal may print.

    Parts of it may come from the file that it is about. Characters that a terminal would obey are
    escaped, and a very long middle is left out.
    """
    text = re.sub(r"\s*[\r\n]\s*", " ", sentence)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return text
