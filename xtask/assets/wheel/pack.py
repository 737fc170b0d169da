"""Packs a folder with a `.dist-info` as a wheel: `pack.py FOLDER WHEEL LEVEL`, LEVEL of compression 0 to 9. The same folder gives the same bytes."""

import base64
import hashlib
import os
import sys
import zipfile

EPOCH = (1980, 1, 1, 0, 0, 0)


def files_below(folder):
    for at, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(at, name)
            yield path, os.path.relpath(path, folder).replace(os.sep, "/")


def main(folder, wheel, level):
    # The record comes last, as the specification recommends, and has no hash of itself.
    files = sorted(files_below(folder), key=lambda file: (".dist-info/" in file[1], file[1]))
    info = next(name.split("/")[0] for _, name in files if ".dist-info/" in name)
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=int(level)) as archive:

        def add(name, content, mode):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=int(level))

        for path, name in files:
            with open(path, "rb") as file:
                content = file.read()
            add(name, content, 0o755 if os.access(path, os.X_OK) else 0o644)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}\n")
        own = f"{info}/RECORD"
        add(own, "".join(record) + f"{own},,\n", 0o644)


if __name__ == "__main__":
    main(*sys.argv[1:])
