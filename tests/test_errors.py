"""Messages that help: the known names and the nearest one."""

from regrow.errors import MissingExtraError, UnknownNameError


def test_unknown_name_lists_and_suggests() -> None:
    error = UnknownNameError("initialiser", "kaimin_normal", ["kaiming_normal[:fan_in]", "match"])
    assert str(error) == (
        "unknown initialiser 'kaimin_normal' (did you mean 'kaiming_normal'?); "
        "known: kaiming_normal[:fan_in], match"
    )
    assert "did you mean" not in str(UnknownNameError("recipe", "zzz", ["none"], where="a.toml"))
    assert str(UnknownNameError("recipe", "zzz", ["none"], where="a.toml")).startswith("a.toml: ")


def test_missing_extra_names_the_extra() -> None:
    assert str(MissingExtraError("scipy", extra="lab")).endswith("pip install 'regrow[lab]'")
