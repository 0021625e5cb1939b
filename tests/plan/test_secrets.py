"""Secrets come late, from where only their owner reads, and never show in what went wrong."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.exits import Exit, Failure
from monitor.plan import secrets
from monitor.plan.secrets import resolve

VALUE = "hünter 2#"


@pytest.fixture
def private(tmp_path: Path) -> Callable[[bytes, int], Path]:
    def write(content: bytes, mode: int = 0o600) -> Path:
        file = tmp_path / "secret"
        file.write_bytes(content)
        file.chmod(mode)
        return tmp_path

    return write


def refused(reference: str, base: Path, code: Exit) -> str:
    with pytest.raises(Failure) as failure:
        resolve(reference, base)
    error: BaseException | None = failure.value
    while error is not None:  # nor in what the failure came from
        assert VALUE not in repr(error) and "hunter" not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert failure.value.code == code and "\n" not in str(failure.value)
    return str(failure.value)


@pytest.mark.parametrize("content", [VALUE, f"{VALUE}\n", f"{VALUE}\r\nnote\n", f"\ufeff{VALUE}\n"])
def test_a_file_s_first_line_is_the_secret(private: Callable[..., Path], content: str) -> None:
    base = private(content.encode())
    assert resolve("file:secret", base).reveal() == VALUE
    assert resolve(f"file:{base}/secret", Path("/")).reveal() == VALUE


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601])
def test_a_file_that_others_reach_is_refused(private: Callable[..., Path], mode: int) -> None:
    assert "chmod 600" in refused("file:secret", private(VALUE.encode(), mode), Exit.BAD_PLAN)


@pytest.mark.parametrize("content", [b"", b"\n", b"\nhunter", b"hunter\xff"])
def test_a_file_without_a_line_of_text_is_refused(private: Callable[..., Path], content: bytes) -> None:
    assert "first line" in refused("file:secret", private(content), Exit.BAD_PLAN)


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in refused("file:pipe", tmp_path, Exit.BAD_PLAN)
    assert "No such file" in refused("file:none", tmp_path, Exit.BAD_PLAN)
    assert "cannot be read" in refused("file:a\0b", tmp_path, Exit.BAD_PLAN)
    refused("hunter2", tmp_path, Exit.BAD_PLAN)
    refused("hunter:2", tmp_path, Exit.BAD_PLAN)


def test_a_command_s_first_line_is_the_secret_and_no_shell_reads_it(tmp_path: Path) -> None:
    assert resolve("command:printf '%s\\nnote' 'a $HOME;b'", tmp_path).reveal() == "a $HOME;b"
    many = f"command:{sys.executable} -c \"print('x' * 9); print('y' * 900000)\""
    assert resolve(many, tmp_path).reveal() == "x" * 9


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        ("sh -c 'echo hunter; echo hunter >&2; exit 3'", r"sh failed \(exit 3\)", Exit.UNAVAILABLE),
        ("/nowhere/tool hunter", "cannot be run: No such file", Exit.UNAVAILABLE),
        ("'hunter", "cannot be split", Exit.BAD_PLAN),
        ("true", "first line is empty", Exit.BAD_PLAN),
        ("", "is empty", Exit.BAD_PLAN),
    ],
)
def test_a_command_that_fails_is_one_line_without_its_output(
    tmp_path: Path, command: str, said: str, code: Exit
) -> None:
    with pytest.raises(Failure, match=said):
        resolve(f"command:{command}", tmp_path)
    refused(f"command:{command}", tmp_path, code)


@pytest.mark.parametrize("command", ["sleep 60", "sh -c 'sleep 60 & exec cat'", "sh -c 'exec >&-; sleep 60'"])
def test_a_command_is_bounded_in_time_and_ended_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(secrets, "COMMAND_SECONDS", 0.3)
    assert "took longer" in refused(f"command:{command}", tmp_path, Exit.UNAVAILABLE)


def test_a_credential_is_read_from_systemd_s_directory_alone(
    private: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = private(VALUE.encode(), 0o440)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "is not set" in refused("credential:secret", base, Exit.UNAVAILABLE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(base))
    assert resolve("credential:secret", Path("/")).reveal() == VALUE
    assert "is not a credential's name" in refused("credential:../secret", base, Exit.BAD_PLAN)


def test_a_keyring_is_asked_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "mxcutover[keyring]" in refused("keyring:mail/suga", tmp_path, Exit.UNAVAILABLE)
    fake = types.ModuleType("keyring")
    kept = {("mail", "suga"): VALUE}
    fake.get_password = lambda service, user: kept.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", fake)
    assert resolve("keyring:mail/suga", tmp_path).reveal() == VALUE
    assert "no password for mail/sato" in refused("keyring:mail/sato", tmp_path, Exit.UNAVAILABLE)
    kept.clear()
    fake.get_password = lambda service, user: 1 / 0  # type: ignore[attr-defined]
    assert "ZeroDivisionError" in refused("keyring:mail/suga", tmp_path, Exit.UNAVAILABLE)
    assert "keyring:SERVICE/USER" in refused("keyring:suga", tmp_path, Exit.BAD_PLAN)


def test_nobody_is_asked_without_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert "no terminal" in refused("prompt", tmp_path, Exit.UNAVAILABLE)
