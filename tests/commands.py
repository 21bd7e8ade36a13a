"""Commands as a test runs them, in its own process."""

from nst_jax.cli import main


def run(*argv) -> int:
    try:
        return main.main(main.parse(["nst-jax", *map(str, argv)]))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def refusal(capfd, *argv) -> str:
    """The one line with which a command is refused, and code 2."""
    assert run(*argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("nst-jax: ")
    assert not any(word in err for word in ("Traceback", "Errno", "object at 0x"))
    return err
