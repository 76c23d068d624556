import pytest

from tusd_py.pipeline.verdicts import CLEAN, Finding, NoVerdict, Verdict, read_answer


@pytest.mark.parametrize("answer", ["stream: OK", "fd[12]: OK", "OK"])
def test_only_ok_is_clean(answer: str) -> None:
    assert read_answer(answer) == CLEAN


@pytest.mark.parametrize(
    ("answer", "signature"),
    [
        ("fd[12]: Eicar-Test-Signature.UNOFFICIAL FOUND", "Eicar-Test-Signature.UNOFFICIAL"),
        ("stream: Win.Test.EICAR_HDB-1 FOUND", "Win.Test.EICAR_HDB-1"),
        ("stream: Heuristics.Phishing.Email.SpoofedDomain FOUND", "Heuristics.Phishing.Email.SpoofedDomain"),
        ("stream: a: b OK FOUND", "a: b OK"),
        ("stream: " + "x" * 1000 + " FOUND", "x" * 200),
    ],
)
def test_what_is_found_is_named(answer: str, signature: str) -> None:
    assert read_answer(answer) == Verdict(Finding.INFECTED, signature)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("fd[12]: Heuristics.Limits.Exceeded.MaxFileSize FOUND", "beyond a limit of the scanner (MaxFileSize)"),
        ("fd[12]: Heuristics.Limits.Exceeded FOUND", "beyond a limit of the scanner"),
        ("fd[12]: Heuristics.XZ.DicSizeLimit FOUND", "beyond a limit of the scanner"),
        ("fd[12]: Heuristics.Encrypted.Zip FOUND", "encrypted (Zip)"),
        ("stream: (null) FOUND", "beyond a limit of the scanner"),
        ("INSTREAM size limit exceeded. ERROR", "larger than the scanner's StreamMaxLength"),
        ("stream: Exceeded time limit ERROR", "beyond a limit of the scanner (MaxScanTime)"),
    ],
)
def test_what_nobody_looked_into_is_no_infection(answer: str, reason: str) -> None:
    assert read_answer(answer) == Verdict(Finding.UNSCANNABLE, reason)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "OK!",
        "stream: ok",
        "stream: not OK",
        "stream: Can't allocate memory ERROR",
        "stream:  FOUND",
        "FOUND",
        "ERROR",
        "UNKNOWN COMMAND",
        "stream: OK\nstream: OK",
        "stream: OK\n",
    ],
)
def test_everything_else_is_no_verdict(answer: str) -> None:
    with pytest.raises(NoVerdict):
        read_answer(answer)
