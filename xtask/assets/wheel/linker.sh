#!/bin/sh
# The linker of rustc for the wheel's program: the compiler's, but with the start of the program, the libraries of the
# machine and the run path replaced. Written by `cargo xtask wheel`.
set -eu

# The folders of this machine, which .cargo/config.toml and the build scripts add.
left=$#
while [ "$left" -gt 0 ]; do
    case $1 in
    -Wl,-rpath,*) ;;
    *) set -- "$@" "$1" ;;
    esac
    shift
    left=$((left - 1))
done

# DT_RPATH, as torch's own libraries have it: DT_RUNPATH would come after LD_LIBRARY_PATH, which on a cluster often leads
# to another torch.
exec cc -nostartfiles '@FOLDER@/start.o' '@CRTI@' '@CRTBEGIN@' \
    '-L@FOLDER@' -Wl,--exclude-libs,libstdc++.a "$@" \
    -Wl,--no-as-needed -lpthread -ldl -Wl,--as-needed \
    -Wl,--disable-new-dtags,-rpath,'@RUN_PATH@' '@CRTEND@' '@CRTN@'
