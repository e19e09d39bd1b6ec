from __future__ import annotations

from reconciler.remote.scrub import SHOWN_CHARS, Scrubber


def test_a_known_secret_is_taken_out_wherever_it_stands() -> None:
    scrubber = Scrubber()
    scrubber.learn("canary-upstream-key-1")

    assert scrubber.clean("bad key 'canary-upstream-key-1'!") == "bad key '[redacted]'!"


def test_what_looks_like_a_credential_is_taken_out_unknown() -> None:
    text = "Bearer abc.def and admin-0123456789abcdef, sk-live_0123456789, eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln"

    assert Scrubber().clean(text) == "Bearer [redacted] and [redacted], [redacted], [redacted]"


def test_the_words_bearer_token_are_no_credential() -> None:
    assert Scrubber().clean("a valid bearer token is needed") == "a valid bearer token is needed"
    assert Scrubber().clean("Bearer tokenish-value") == "Bearer [redacted]"


def test_a_longer_secret_goes_before_one_that_is_part_of_it() -> None:
    scrubber = Scrubber()
    scrubber.learn("canary", "canary-long")

    assert scrubber.clean("canary-long") == "[redacted]"


def test_words_too_short_to_be_secrets_are_not_hunted() -> None:
    scrubber = Scrubber()
    scrubber.learn("", "a", "abc")

    assert scrubber.clean("an abc of tests") == "an abc of tests"


def test_control_and_direction_characters_become_spaces() -> None:
    assert Scrubber().clean("a\x1b[31m\r\nb\u202ec") == "a [31m b c"


def test_long_text_is_cut() -> None:
    cleaned = Scrubber().clean("x" * 5000)

    assert len(cleaned) == SHOWN_CHARS
    assert cleaned.endswith("…")


def test_it_does_not_show_what_it_knows() -> None:
    scrubber = Scrubber()
    scrubber.learn("canary-upstream-key-1")

    assert "canary" not in repr(scrubber)
