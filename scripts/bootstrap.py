#!/usr/bin/env python3
"""Make the environment in .venv: find a fit Python, install uv into it, then the pinned requirements.

    python3 scripts/bootstrap.py runtime|dev|bench

Runs on any Python 3.6 or later, with nothing installed, and does nothing when the environment is already
as the
requirements say. Everything comes from the package registry that pip is set up for; nothing else is fetched.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
OLDEST, NEWEST = (3, 12), (3, 14)
GROUPS = ("runtime", "dev", "bench")  # each contains the one before


def say(text):
    print("bootstrap: " + text, flush=True)


def fail(text):
    print("bootstrap: " + text, file=sys.stderr, flush=True)
    sys.exit(1)


def version_of(executable):
    """(major, minor) of an interpreter that really runs, else None (a version manager's shim may not)."""
    try:
        code = "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1])"
        out = subprocess.run(
            [executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if out.returncode != 0:
        return None
    major, minor = out.stdout.decode().split()
    return int(major), int(minor)


def candidates():
    """Interpreters in order of preference: the version of .python-version, the one that runs this, newer,
    older.
    """
    with open(os.path.join(ROOT, ".python-version")) as f:
        wanted = f.read().strip()
    names = [wanted] + [v for v in ("3.14", "3.12") if v != wanted]
    for name in names:
        found = shutil.which("python" + name)
        if found:
            yield found
        base = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions")
        if os.path.isdir(base):
            for folder in sorted(os.listdir(base), reverse=True):
                if re.match(re.escape(name) + r"(\.|$)", folder):
                    yield os.path.join(base, folder, "bin", "python3")
        if sys.version_info[:2] == tuple(int(x) for x in name.split(".")):
            yield sys.executable


def find_python():
    for executable in candidates():
        version = version_of(executable)
        if version and OLDEST <= version <= NEWEST:
            return executable, version
    fail(
        "needs Python 3.12, 3.13 or 3.14 with the venv module (this is %d.%d, and none was found on the "
        "PATH). "
        "Install Python 3.13, e.g. `apt-get install python3.13 python3.13-venv` or `pyenv install 3.13`, "
        "and run again." % sys.version_info[:2]
    )


def run(command, **kwargs):
    environment = dict(os.environ, UV_NO_PROGRESS="1")
    # The matching-engine peer of the benchmarks pins an older PyO3; the stable ABI lets it build on newer
    # Pythons.
    environment.setdefault("PYO3_USE_ABI3_FORWARD_COMPATIBILITY", "1")
    if subprocess.call(command, cwd=ROOT, env=environment, **kwargs) != 0:
        fail("this command failed: " + " ".join(command))


def fingerprint(group):
    """Changes when what is to be installed changes."""
    digest = hashlib.sha256()
    for name in [
        "pyproject.toml",
        ".python-version",
        "requirements/bootstrap.txt",
        "requirements/%s.txt" % group,
    ]:
        with open(os.path.join(ROOT, name), "rb") as f:
            digest.update(f.read() + b"\0")
    digest.update(ROOT.encode())
    return digest.hexdigest()


def stamp_path(group):
    return os.path.join(VENV, "apex-%s.stamp" % group)


def is_fresh(group):
    for g in GROUPS[GROUPS.index(group) :]:
        try:
            with open(stamp_path(g)) as f:
                if f.read() == fingerprint(g) and version_of(PYTHON):
                    return True
        except OSError:
            continue
    return False


@contextlib.contextmanager
def lock():
    """One bootstrap at a time in a checkout; a second one waits."""
    import fcntl

    with open(os.path.join(ROOT, ".bootstrap.lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def main():
    group = sys.argv[1] if len(sys.argv) > 1 else "runtime"
    if group not in GROUPS:
        fail("unknown group %r (one of %s)" % (group, ", ".join(GROUPS)))
    with lock():
        if is_fresh(group):
            return
        began = time.time()
        have = version_of(PYTHON)
        if have is None or not OLDEST <= have <= NEWEST:
            executable, version = find_python()
            say("making .venv with Python %d.%d" % version)
            run([executable, "-m", "venv", "--clear", VENV])
        say("installing the pinned requirements (%s)" % group)
        run(
            [
                PYTHON,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "-r",
                "requirements/bootstrap.txt",
            ]
        )
        uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "-q", "-p", PYTHON]
        run(uv + ["-r", "requirements/%s.txt" % group])
        run(uv + ["--no-deps", "-e", "."])
        with open(stamp_path(group) + ".tmp", "w") as f:
            f.write(fingerprint(group))
        os.replace(stamp_path(group) + ".tmp", stamp_path(group))
        say("ready after %.0f s" % (time.time() - began))


if __name__ == "__main__":
    main()
