"""The word that was probably meant."""

from collections.abc import Iterable


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The most similar choice without regard to case, None when nothing is near."""
    import difflib  # nobody who makes no mistake needs it

    spelled = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.6)
    return spelled[found[0]] if found else None


def hint(word: str, choices: Iterable[str]) -> str:
    """The tail of a complaint about `word`: `; did you mean "metadata"?`, or nothing."""
    found = closest(word, choices)
    return f'; did you mean "{found}"?' if found else ""
