"""Puts together the root filesystems of the images: what the programs need to run, and nothing else.

    python3 root.py VENV FOLDER

Runs in the build stage, with the interpreter that VENV was made with, and writes three folders:

    FOLDER/run      the interpreter, its libraries, and the packages that both images share
    FOLDER/device   cxldevd, and cramctl without the commands that need hosts and devices in one place
    FOLDER/agent    cram-agent

No shell, no package manager, no installer. Python is compiled: of others' packages and the standard library
the bytecode alone, of ours the source as well, for the sake of tracebacks. Licences of all that is there come
along; /var/lib/dpkg/status.d tells vulnerability scanners which Debian packages the libraries are from.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SHARED = (
    *("cramwire", "click", "google", "grpc", "grpc_status", "numpy", "numpy.libs", "prometheus_client"),
    *("typing_extensions.py", "xxhash", "zstandard"),
)
OF_EXTRA = ("opentelemetry", "requests", "urllib3", "certifi", "charset_normalizer", "idna")
"""Shared, too, if VENV has them: it was made with the extra `otel`."""
OF_IMAGE = {
    "device": ("cxldev", "cxldevd", "cramctl", "grpc_health", "grpc_reflection", "rich"),
    "agent": ("cramagent", "elftools"),
}
PROGRAMS = {"device": ("cxldevd", "cramctl"), "agent": ("cram-agent",)}
OURS = ("cramwire", "cxldev", "cxldevd", "cramctl", "cramagent")

NOT_OF_PACKAGES = (
    *("numpy/f2py", "numpy/distutils", "numpy/_core/include", "numpy/_pyinstaller", "numpy/typing"),
    *("numpy/_core/lib", "numpy/random/lib", "numpy/random/_examples", "numpy/testing", "numpy/conftest.py"),
    *("numpy/_core/_simd.*", "numpy/_core/_*_tests.*"),
    # Another way to call the same library, for interpreters that are not CPython.
    *("zstandard/_cffi.*", "zstandard/backend_cffi.py"),
)
"""Of no use to a program that runs. Besides, everywhere: tests, headers, and what only type checkers read."""
NOT_OF_PYTHON = (
    *("__phello__", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "msilib", "pydoc_data"),
    *("site-packages", "sqlite3", "test", "tkinter", "turtledemo", "unittest/test", "venv", "xmlrpc"),
    *("config-*", "turtle.py", "pydoc.py", "doctest.py", "lib-dynload/_codecs_*", "lib-dynload/_curses*"),
    *("lib-dynload/_dbm*", "lib-dynload/_gdbm*", "lib-dynload/_sqlite3*", "lib-dynload/_test*"),
    *("lib-dynload/_tkinter*", "lib-dynload/_xx*", "lib-dynload/ossaudiodev*", "lib-dynload/readline*"),
    *("lib-dynload/xx*", "lib-dynload/_ctypes_test*", "lib-dynload/nis.*", "lib-dynload/spwd*"),
)
LOADED_BY_NAME = ("libgcc_s.so.1", "libzstd.so.1")
"""By libc, when a thread ends; by the device, to read faster. No program is linked with them."""

NOBODY = 65532
PASSWD = f"root:x:0:0::/:/nologin\ncramulator:x:{NOBODY}:{NOBODY}::/tmp:/nologin\n"
GROUP = f"root:x:0:\ncramulator:x:{NOBODY}:\n"


class Root:
    """One folder that becomes `/`. What is added to it keeps its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def inside(self, path: Path) -> Path:
        """Where a path of this machine is in it."""
        return self.folder / path.relative_to("/")

    def add(self, path: Path) -> Path:
        """A file or a folder, with all links on the way to it; where it is now."""
        for link in reversed([path, *path.parents]):
            if link.is_symlink() and link != path:
                self._link(link)
        target = self.inside(path.parent.resolve() / path.name)
        if target.exists() or target.is_symlink():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(path.readlink())
            self.add(Path(path.parent, path.readlink()))
        elif path.is_dir():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target)
        return target

    def write(self, path: str, text: str) -> None:
        """A file of ours."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def _link(self, link: Path) -> None:
        """A folder that is a link, as /lib is one to /usr/lib."""
        target = self.inside(link.parent.resolve() / link.name)
        if not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(link.readlink())


def remove(folder: Path, patterns: tuple[str, ...]) -> None:
    """What matches, files and folders."""
    for pattern in patterns:
        for found in [*folder.glob(pattern)]:
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()


def compile_all(folder: Path, shown: Path, *, keep_source: bool) -> None:
    """Bytecode of all modules, which nobody checks against their source. `shown`: their path in tracebacks.

    Packages look for data of theirs beside `__file__`: that stays where it is.
    """
    remove(folder, ("**/__pycache__",))
    done = compileall.compile_dir(
        folder,
        maxlevels=20,
        ddir=str(shown),
        quiet=2,
        legacy=not keep_source,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        sys.exit(f"{shown}: not all of it could be compiled")
    if not keep_source:
        remove(folder, ("**/*.py",))


def add_packages(root: Root, packages: Path, names: tuple[str, ...]) -> None:
    """Packages of the environment."""
    into = root.inside(packages)
    for name in names:
        root.add(packages / name)
    remove(into, NOT_OF_PACKAGES)
    remove(into, ("**/tests", "**/*.pyi", "**/*.pxd", "**/*.pyx", "**/*.h", "**/*.a", "**/py.typed"))
    for name in names:
        path = into / name
        if path.is_dir():
            compile_all(path, packages / name, keep_source=name in OURS)
    for about in packages.glob("*.dist-info"):
        of_it = {line.partition("/")[0].partition(",")[0] for line in (about / "RECORD").open()}
        if of_it.intersection(names):
            remove(root.add(about), ("RECORD", "INSTALLER", "REQUESTED"))


def add_python(root: Root, venv: Path) -> None:
    """The interpreter, the standard library, and the environment around them."""
    root.add(venv / "pyvenv.cfg")
    for name in ("python", "python3"):
        root.add(venv / "bin" / name)
    paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_prefix})
    for library in {Path(paths["stdlib"]), Path(paths["platstdlib"])}:
        inside = root.add(library)
        remove(inside, NOT_OF_PYTHON)
        compile_all(inside, library, keep_source=False)


def objects(folder: Path) -> list[Path]:
    """Programs and shared objects."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if path.open("rb").read(4) == b"\x7fELF"]


def add_libraries(root: Root, venv: Path, needed_by: list[Path]) -> list[Path]:
    """All that these are linked with and that does not come with a package; as they were found."""
    output = subprocess.run(["ldd", *needed_by], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"(/\S+) \(0x", output)}
    places = {path.parent for path in found}
    found |= {place / name for name in LOADED_BY_NAME for place in places if (place / name).exists()}
    libraries = sorted(path for path in found if not path.is_relative_to(venv))
    for path in libraries:
        root.add(path)
    return libraries


def add_origins(root: Root, libraries: list[Path]) -> None:
    """Which Debian packages these are from, and the packages' licences."""
    for library in libraries:
        for path in (
            library,
            library.resolve(),
            Path(*library.resolve().parts[:1], *library.resolve().parts[2:]),
        ):
            owner = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False)
            if owner.returncode == 0:
                break
        else:
            continue  # none of Debian's
        package = owner.stdout.partition(": ")[0]
        name = package.partition(":")[0]
        told = subprocess.run(["dpkg-query", "-s", package], capture_output=True, text=True, check=True)
        root.write(f"var/lib/dpkg/status.d/{name}", told.stdout)
        licence = Path("/usr/share/doc", name, "copyright")
        if licence.exists():
            root.write(str(licence.relative_to("/")), licence.read_text())


def strip(folder: Path) -> None:
    """Without symbols that only a debugger reads: they are a fifth of it all.

    Not numpy: its libraries were edited when they went into the wheel, and strip breaks them.
    """
    if shutil.which("strip") is None:
        sys.stderr.write("no strip here: symbols for debuggers stay in the images\n")
        return
    for path in objects(folder):
        if not {"numpy", "numpy.libs"}.intersection(path.parts):
            subprocess.run(["strip", "--strip-unneeded", path], check=True)


def main(venv: Path, folder: Path) -> None:
    """All three."""
    (packages,) = venv.glob("lib/python3.*/site-packages")
    run = Root(folder / "run")
    add_python(run, venv)
    extra = tuple(name for name in OF_EXTRA if (packages / name).exists())
    add_packages(run, packages, SHARED + extra)
    needed_by = [Path("/", path.relative_to(run.folder)) for path in objects(run.folder)]
    for image, names in OF_IMAGE.items():
        root = Root(folder / image)
        add_packages(root, packages, names)
        for program in PROGRAMS[image]:
            root.add(venv / "bin" / program)
        needed_by += [Path("/", path.relative_to(root.folder)) for path in objects(root.folder)]
    libraries = add_libraries(run, venv, needed_by)
    add_origins(run, libraries)
    run.write("etc/passwd", PASSWD)
    run.write("etc/group", GROUP)
    run.write("etc/nsswitch.conf", "hosts: files dns\n")
    for image in ("run", *OF_IMAGE):
        strip(folder / image)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
