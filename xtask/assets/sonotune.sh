#!/bin/sh
# Starts Sonotune with the libtorch of a Python's torch package; no build, no CUDA toolkit needed.
#
#   SONOTUNE_PYTHON   Python whose torch is used (else PYTHON, else python3)
#   LIBTORCH          a libtorch @SERIES@ of your own (the folder that holds lib/); no Python needed then
set -eu

fail() {
    echo "sonotune: $1" >&2
    exit 1
}

here=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd -P)

# The C library first: without it, every later message would be the dynamic linker's.
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || echo none)
[ "$glibc" = none ] && fail "this is a program for Linux with the GNU C library @GLIBC@ or newer"
lowest=$(printf '%s\n@GLIBC@\n' "${glibc#glibc }" | sort -V | head -n 1)
[ "$lowest" = "@GLIBC@" ] || fail "this machine has $glibc; @GLIBC@ or newer is needed"

if [ -n "${LIBTORCH:-}" ]; then
    [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] ||
        fail "LIBTORCH is '$LIBTORCH', but $LIBTORCH/lib/libtorch_cpu.so is missing"
    libraries=$LIBTORCH/lib
else
    python=${SONOTUNE_PYTHON:-${PYTHON:-python3}}
    command -v -- "$python" >/dev/null 2>&1 ||
        fail "there is no Python '$python'. Sonotune uses the libtorch of Python's torch package:
set SONOTUNE_PYTHON to a Python that has torch @SERIES@, or LIBTORCH to a libtorch @SERIES@"
    # torch is looked up, not imported: that would take seconds.
    libraries=$("$python" -c '
import glob, importlib.util, os, re, sys

wanted = sys.argv[1]
sys.path = [entry for entry in sys.path if entry]  # a folder named torch here is not the package
spec = importlib.util.find_spec("torch")
if spec is None or not spec.submodule_search_locations:
    sys.exit(f"""sonotune: {sys.executable} has no torch. Install it there:
    {sys.executable} -m pip install torch=={wanted}.0
or set SONOTUNE_PYTHON to a Python that has torch {wanted}""")
package = spec.submodule_search_locations[0]
try:
    with open(os.path.join(package, "version.py"), encoding="utf-8") as file:
        found = re.search(r"""^__version__ = ["\x27]([^"\x27]+)""", file.read(), re.MULTILINE)
except OSError as error:
    sys.exit(f"sonotune: cannot determine the version of torch in {package}: {error}")
version = found.group(1) if found else "unknown"
if not version.startswith(wanted + "."):
    sys.exit(f"""sonotune: the torch of {sys.executable} is {version}; Sonotune needs {wanted}.
Set SONOTUNE_PYTHON to a Python that has torch {wanted}, e.g. a virtual environment with
    pip install torch=={wanted}.0""")
places = [os.path.join(package, "lib"), os.path.join(sys.prefix, "lib")]
place = next((p for p in places if os.path.exists(os.path.join(p, "libtorch_cpu.so"))), None)
if place is None:
    sys.exit("sonotune: torch %s is there, but libtorch_cpu.so is in none of %s"
             % (version, ", ".join(places)))
# torch finds the libraries of NVIDIA beside itself; these are for packages split over two folders.
nvidia = [lib for entry in sys.path for lib in sorted(glob.glob(os.path.join(entry, "nvidia/*/lib")))]
print(os.pathsep.join([place, *nvidia]))
' @SERIES@) || exit 1
fi

LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "$here/bin/sonotune" "$@"
