# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that stand where the engine should be: recorders and wrecks."""

import os
import subprocess
from pathlib import Path


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def recorder(directory, status=0, verdict=None, stderr=""):
    """Notes what it was called with in DIRECTORY, then ends with STATUS and, unless
    VERDICT is None, says VERDICT on the verdict descriptor."""
    say = f"printf '\\{verdict:03o}' >&\"$ICN_HOOK_VERDICT_FD\"\n" if verdict is not None else ""
    complain = f"printf '%s\\n' '{stderr}' >&2\n" if stderr else ""
    return script(
        Path(directory) / "recorder",
        f'for argument; do printf "%s\\n" "$argument"; done > "{directory}/arguments"\n'
        f'printf "%s" "$0" > "{directory}/argument0"\n'
        f'cat > "{directory}/stdin"\n'
        f'tr "\\0" "\\n" < /proc/$$/environ > "{directory}/environment"\n'
        f"{complain}{say}exit {status}\n",
    )


def was_called(directory):
    return (Path(directory) / "arguments").exists()


def compiler():
    return os.environ.get("CC", "cc").split()


def compile_c(path, source, *options):
    subprocess.run([*compiler(), "-x", "c", "-", "-o", str(path), *options], input=source.encode(), check=True)
    return path


# Each makes a program that no answer can be had from.  With it: what the hook
# must say about it, where {path} is the program.


def missing(directory):
    return directory / "missing", "cannot be run: No such file or directory"


def not_executable(directory):
    path = script(directory / "not-executable", "exit 0\n")
    path.chmod(0o644)
    return path, "cannot be run: Permission denied"


def a_directory(directory):
    path = directory / "a-directory"
    path.mkdir()
    return path, "cannot be run: Permission denied"


def empty(directory):
    path = directory / "empty"
    path.touch(0o755)
    return path, "cannot be run: Exec format error"


def junk(directory):
    path = directory / "junk"
    path.write_bytes(b"\x7fELF" + bytes(range(256)))
    path.chmod(0o755)
    return path, "cannot be run: Exec format error"


def missing_interpreter(directory):
    path = directory / "missing-interpreter"
    path.write_text(f"#!{directory}/no/interpreter\n")
    path.chmod(0o755)
    return path, "cannot be run: No such file or directory"


def missing_library(directory):
    """exec works; the dynamic loader ends it with 127 before main()."""
    library = compile_c(directory / "libicntest.so", "int icn_test(void) { return 0; }", "-shared", "-fPIC")
    source = "int icn_test(void); int main(void) { return icn_test(); }"
    path = compile_c(directory / "missing-library", source, f"-L{directory}", "-Wl,--no-as-needed", "-licntest")
    library.unlink()
    return path, (
        "cannot be run: exit status 127: {path}: error while loading shared libraries: libicntest.so: "
        "cannot open shared object file: No such file or directory"
    )


def wrong_library(directory):
    """exec works; the library is there in a wrong version, and the loader's exit
    status is 1."""
    versions = directory / "versions"
    versions.write_text("ICN_2 { global: icn_test; };")
    library = directory / "libicnversion.so"
    build = ["-shared", "-fPIC", f"-Wl,-soname,libicnversion.so,--version-script={versions}"]
    compile_c(library, "int icn_test(void) { return 0; }", *build)
    source = "int icn_test(void); int main(void) { return icn_test(); }"
    path = compile_c(
        directory / "wrong-library", source, f"-L{directory}", f"-Wl,--no-as-needed,-rpath,{directory}", "-licnversion"
    )
    versions.write_text("ICN_1 { global: icn_test; };")
    compile_c(library, "int icn_test(void) { return 0; }", *build)
    return path, (
        "cannot be run: exit status 1: {path}: " + f"{library}: version `ICN_2' not found (required by {{path}})"
    )


def crashing(directory):
    return script(directory / "crashing", "kill -SEGV $$\n"), "was killed by signal 11 (Segmentation fault)"


def crashing_late(directory):
    """It wrote something first."""
    text = "cat > /dev/null\necho one >&2\nprintf 'two\\tthree' >&2\nkill -KILL $$\n"
    return script(directory / "crashing-late", text), "was killed by signal 9 (Killed): two\\x09three"


def exit_126(directory):
    return script(directory / "exit-126", "exit 126\n"), "cannot be run: exit status 126"


def exit_1_without_verdict(directory):
    return script(directory / "exit-1", "exit 1\n"), "cannot be run: exit status 1"


def exit_1_with_another_verdict(directory):
    path = script(directory / "exit-1-verdict-0", "printf '\\000' >&\"$ICN_HOOK_VERDICT_FD\"\nexit 1\n")
    return path, "cannot be run: exit status 1"


WRECKS = [
    missing,
    not_executable,
    a_directory,
    empty,
    junk,
    missing_interpreter,
    missing_library,
    wrong_library,
    crashing,
    crashing_late,
    exit_126,
    exit_1_without_verdict,
    exit_1_with_another_verdict,
]
