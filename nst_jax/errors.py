"""The one exception that means: what was given cannot be used, and the message says what to do."""


class InputError(ValueError):
    """Bad input, told in a sentence: what was given, what was expected, what to do.

    The command line prints the sentence alone and exits with code 2.
    """
