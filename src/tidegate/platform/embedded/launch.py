"""Start one program so that it cannot outlive its supervisor: run as a script, replaced by the program with exec.

Run as `python -I -S launch.py OPTIONS -- PROGRAM ARGUMENTS`; only the standard library is imported, since every child
pays for it. The program gets a session and process group of its own (Ctrl-C reaches the whole foreground group), an
empty signal mask, the account that was asked for and, on Linux, a signal at its supervisor's death. Where the kernel
has no such signal (macOS), the launcher stays as a guard that waits for the end of a pipe which only that one holds.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import select
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

REFUSED = 97
"""Exit code: the account or folder could not be used; the program was not started."""

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CLONE_NEWUSER = 0x10000000
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522

GUARD_POLL_S = 0.2
GUARD_GRACE_S = 15.0

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> None:
    """Do what the options say, then become the program."""
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--parent", type=int, required=True, help="process id of the supervisor")
    parser.add_argument("--death-signal", type=int, default=int(signal.SIGTERM), help="what its death sends")
    parser.add_argument("--account", default="", help="`namespace`, or `UID:GID` to give up root for")
    parser.add_argument("--folder", default="", help="working folder of the program")
    parser.add_argument("--guard", type=int, default=-1, help="stay, and end the program when this pipe ends")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args(arguments)
    if os.getpid() != os.getsid(0):
        os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if options.guard >= 0:
        _guard(options.guard, options.death_signal)
    try:
        if options.account:
            take_account(options.account)
        if options.folder:
            os.chdir(options.folder)
        if options.guard < 0:
            die_with(options.parent, options.death_signal)
        os.execv(options.program[0], options.program)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot start {options.program[0]}: {error}\n")
        sys.exit(REFUSED)


def die_with(parent: int, death_signal: int) -> None:
    """Ask the kernel for `death_signal` when `parent` dies; leave at once if it has died already.

    Comes last before exec: a change of credentials clears it.
    """
    if not sys.platform.startswith("linux"):
        return
    _check(_libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0))
    if os.getppid() != parent:
        sys.exit(REFUSED)


def take_account(account: str) -> None:
    """Stop being root: in a user namespace of our own where its name is another, or as another user for good.

    Raises: OSError when the kernel refuses.
    """
    if account == "namespace":
        _enter_namespace()
    else:
        uid, gid = (int(part) for part in account.split(":"))
        _become(uid, gid)


def _enter_namespace() -> None:
    """A user namespace in which our user is one that the system knows (initdb looks it up) and that is not root."""
    uid, gid = os.geteuid(), os.getegid()
    known = sorted((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid > 0), key=lambda one: (one == 65534, one))
    inside = known[0] if known else 1000
    _check(_libc.unshare(CLONE_NEWUSER))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityWord(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _become(uid: int, gid: int) -> None:
    """Be `uid` from now on, but still reach folders below closed ones (such as /root) where the kernel lets us."""
    linux = sys.platform.startswith("linux")
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    words = (_CapabilityWord * 2)()
    if linux:
        _check(_libc.capget(ctypes.byref(header), words))
        _check(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not linux:
        return
    kept = words[0].permitted & (1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    words[0] = _CapabilityWord(kept, kept, kept)
    words[1] = _CapabilityWord(0, 0, 0)
    _check(_libc.capset(ctypes.byref(header), words))
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if kept & 1 << capability:
            _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _guard(pipe: int, death_signal: int) -> None:
    """Return in a child that is to become the program; stay here and leave with its exit status.

    Signals that end programs are passed on. The end of `pipe` is the supervisor's death.
    """
    child = os.fork()
    if child == 0:
        os.close(pipe)
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, pass_on)
    watched = [pipe]
    kill_at = float("inf")
    while True:
        if watched and select.select(watched, [], [], GUARD_POLL_S)[0]:
            watched = []
            kill_at = time.monotonic() + GUARD_GRACE_S
            os.kill(child, death_signal)
        elif not watched:
            time.sleep(GUARD_POLL_S)
        if time.monotonic() > kill_at:
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
