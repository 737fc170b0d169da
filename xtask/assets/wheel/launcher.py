"""Starts the program with the libtorch of torch: the package beside this one, or the one that Python imports.

torch is looked up, not imported (that takes seconds), and Python is gone when the program starts: signals, standard streams and
the exit code are the program's own.
"""

import os
import re
import sys

SERIES = "@SERIES@"
HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAM = os.path.join(HERE, "bin", "sonotune")
LIBRARY = "libtorch_cpu.so"

OF_ITS_OWN = f"""An environment of its own leaves this one as it is, with any of
    python3 -m venv ~/sonotune && ~/sonotune/bin/pip install WHEEL
    pipx install WHEEL
    uv tool install WHEEL
where WHEEL is Sonotune's file, sonotune-...whl; each brings torch {SERIES}."""


def fail(message):
    print(f"sonotune: {message}", file=sys.stderr)
    sys.exit(1)


def install():
    """The command that installs torch into this environment."""
    from importlib import util

    # The environments of uv have no pip of their own.
    pip = f"{sys.executable} -m pip install"
    if util.find_spec("pip") is None:
        pip = f"uv pip install --python {sys.executable}"
    return f"{pip} 'torch=={SERIES}.*'"


def torch_package():
    """The folder of torch; of two that Python would find, the one beside this package."""
    beside = os.path.join(os.path.dirname(HERE), "torch")
    if os.path.isfile(os.path.join(beside, "version.py")):
        return beside
    from importlib import util

    # With `python -m` the working directory comes first; a folder named torch there is not the package.
    here = os.path.realpath(os.getcwd())
    sys.path = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]
    spec = util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        fail(f"{sys.executable} has no torch, whose libtorch Sonotune computes with. Install it:\n    {install()}")
    return next(iter(spec.submodule_search_locations))


def version_of(package):
    path = os.path.join(package, "version.py")
    try:
        with open(path, encoding="utf-8") as file:
            found = re.search(r"""^__version__(?: *: *\w+)? *= *["']([^"']+)""", file.read(), re.MULTILINE)
    except OSError as error:
        fail(f"cannot tell the version of torch: {path}: {error.strerror}. Install it anew:\n    {install()}")
    return found.group(1) if found else "of an unknown version"


def environment():
    """What the program is started with: this environment, and where libtorch is unless it is beside the program."""
    package = torch_package()
    version = version_of(package)
    if version != SERIES and not version.startswith(SERIES + "."):
        fail(f"the torch in {package} is {version}; Sonotune needs {SERIES}. {OF_ITS_OWN}")
    # Packages of conda keep it in the environment's own folder.
    places = [os.path.join(package, "lib"), os.path.join(sys.prefix, "lib")]
    place = next((folder for folder in places if os.path.exists(os.path.join(folder, LIBRARY))), None)
    if place is None:
        fail(f"torch {version} is incomplete: {LIBRARY} is in none of {', '.join(places)}. Install it anew:\n"
             f"    {install()} --force-reinstall")
    variables = dict(os.environ)
    # Where the program's own run path leads. A torch elsewhere (user site, system packages, conda, an editable
    # install) can be named by the environment alone; the loader offers nothing else to a program that is linked.
    own = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(PROGRAM))), "..", "torch", "lib")
    if os.path.realpath(own) != os.path.realpath(place):
        rest = variables.get("LD_LIBRARY_PATH")
        variables["LD_LIBRARY_PATH"] = place + (os.pathsep + rest if rest else "")
    return variables


def main():
    variables = environment()
    try:
        os.execve(PROGRAM, ["sonotune", *sys.argv[1:]], variables)
    except OSError as error:
        fail(f"cannot start {PROGRAM}: {error.strerror}. Install the wheel anew; a file system mounted with `noexec` does "
             "not start programs.")


if __name__ == "__main__":
    main()
